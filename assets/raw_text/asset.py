"""The asset that turns each dump of the catalogue into documents."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.home import catalogue_path, downloads_folder, outputs_folder
from assets.lineage import materialize_dumps
from assets.partitions import dumps, one_run_a_dump
from assets.plots import histogram
from assets.raw_text.catalogue import load_catalogue
from assets.raw_text.errors import CatalogueError, RawTextError
from assets.raw_text.fetch import locate, source_identity
from assets.raw_text.reader import read_source
from training.artifact import Artifact, build_artifact

CODE_VERSION = "4"
FILES_SHOWN = 50
BARS = 40


@dg.asset(
    partitions_def=dumps,
    backfill_policy=one_run_a_dump,
    group_name="raw_text",
    kinds={"parquet", "arrow"},
    code_version=CODE_VERSION,
    description="Documents as they were delivered: each with its file, byte range, licence and language.",
)
def raw_text(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Fetch and read."""
    catalogue = load_catalogue(catalogue_path())

    def build(dump: str) -> tuple[Artifact, Mapping[str, Any]]:
        source = catalogue[dump]
        places = {"folder": catalogue.folder, "downloads": downloads_folder()}

        def produce(folder: Path) -> dict[str, int]:
            return read_source(source, locate(source, **places), out=folder).counts

        artifact = build_artifact(
            outputs_folder("raw_text", dump),
            kind="raw_text",
            inputs={"source": source_identity(source, **places)},
            settings=source.document_settings(),
            code_version=CODE_VERSION,
            produce=produce,
        )
        return artifact, {
            "dagster/partition_row_count": artifact.manifest.counts["documents"],
            "uri": source.uri,
            "licence": source.licence,
            "language": source.language,
            "files_read": _file_table(artifact.folder),
            "document_lengths": _length_plot(artifact.folder),
        }

    materialize_dumps(context, build, (RawTextError, CatalogueError, OSError))
    return dg.MaterializeResult()


def _file_table(folder: Path) -> dg.TableMetadataValue:
    files = pq.read_table(folder / "files.parquet").slice(0, FILES_SHOWN)
    return dg.MetadataValue.table(
        [dg.TableRecord(row) for row in files.to_pylist()],
        schema=dg.TableSchema([dg.TableColumn(field.name, str(field.type)) for field in files.schema]),
    )


def _length_plot(folder: Path) -> dg.MarkdownMetadataValue:
    edges = np.logspace(0, 7, BARS + 1)
    counts = np.zeros(BARS, dtype=np.int64)
    for path in sorted(folder.glob("documents-*.parquet")):
        with pq.ParquetFile(path, pre_buffer=False) as file:
            for batch in file.iter_batches(columns=["text"]):
                texts: Any = batch["text"]
                lengths = pc.utf8_length(texts).to_numpy(zero_copy_only=False)
                counts += np.histogram(np.clip(lengths, 1, edges[-1]), edges)[0]
    shown = np.flatnonzero(counts)
    first, last = (int(shown[0]), int(shown[-1]) + 1) if shown.size else (0, 1)
    return histogram(counts[first:last].tolist(), edges[first : last + 1].tolist(), label="characters in a document")
