"""The asset that encodes each dump."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from assets.clean_text.errors import CleanTextError
from assets.clean_text.progress import log_progress
from assets.home import catalogue_path, outputs_folder, proofs_folder
from assets.launchpad import launchpad_schema
from assets.lineage import materialize_dumps, upstream
from assets.partitions import dumps, one_run_a_dump
from assets.raw_text.catalogue import load_catalogue
from assets.token_shards.encoding import encode_dump
from assets.token_shards.errors import TokenShardError
from assets.token_shards.parts import remove_parts
from assets.token_shards.settings import TokenShardSettings
from assets.vocabulary.errors import VocabularyError
from training.artifact import Artifact, build_artifact
from training.shards import SPLITS, ShardError

CODE_VERSION = "3"


@dg.asset(
    partitions_def=dumps,
    backfill_policy=one_run_a_dump,
    deps=["clean_text", "vocabulary"],
    group_name="token_shards",
    kinds={"numpy", "parquet"},
    code_version=CODE_VERSION,
    config_schema=launchpad_schema(TokenShardSettings),
    description="Documents as token ids, split into training and validation by their content, with an index from "
    "every token back to its document.",
)
def token_shards(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Encode and split."""
    settings = TokenShardSettings.parse(context.op_config, origin="token_shards")
    catalogue = load_catalogue(catalogue_path())
    entries = upstream(context, "vocabulary")

    def build(dump: str) -> tuple[Artifact, Mapping[str, Any]]:
        source = catalogue[dump]
        clean = upstream(context, "clean_text", dump)
        root = outputs_folder("token_shards", dump)
        parts = root / ".parts"

        metadata: dict[str, Any] = {}

        def produce(folder: Path) -> dict[str, int]:
            report = encode_dump(
                clean.folder,
                entries.folder,
                dump=dump,
                language=source.language,
                source=source.source_name,
                settings=settings,
                out=folder,
                parts=parts,
                proofs=proofs_folder(),
                progress=log_progress("token_shards", context.log.info),
            )
            metadata["encoder"] = report.encoder
            if not report.shards.documents["validation"]:
                context.log.warning(
                    f"{dump}: none of its {report.shards.documents['train']} documents was chosen for validation, so "
                    "all are learned from, and this dump has no part in how good a model is said to be"
                )
            return report.counts

        artifact = build_artifact(
            root,
            kind="token_shards",
            inputs={"clean_text": clean.manifest.digest, "vocabulary": entries.manifest.digest},
            settings={
                "dump": dump,
                "language": source.language,
                "source": source.source_name,
                **settings.model_dump(mode="json", exclude={"workers"}),
            },
            code_version=CODE_VERSION,
            produce=produce,
        )
        remove_parts(parts)
        counts = artifact.manifest.counts
        return artifact, metadata | {
            "dagster/partition_row_count": sum(counts[f"{split}_documents"] for split in SPLITS),
            "bytes_per_token": round(counts["train_bytes"] / counts["train_tokens"], 3),
        }

    materialize_dumps(context, build, (TokenShardError, CleanTextError, VocabularyError, ShardError, OSError))
    return dg.MaterializeResult()
