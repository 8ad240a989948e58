"""The assets that train the vocabulary on all dumps, and report on it."""

import hashlib
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq

from assets.clean_text.errors import CleanTextError
from assets.clean_text.row_groups import row_groups
from assets.home import catalogue_path, downloads_folder, outputs_folder, proofs_folder
from assets.launchpad import launchpad_schema
from assets.lineage import artifact_metadata, upstream
from assets.partitions import dumps
from assets.raw_text.catalogue import load_catalogue
from assets.vocabulary.encoders.choice import choose_encoder
from assets.vocabulary.errors import VocabularyError
from assets.vocabulary.imports.importing import read_import
from assets.vocabulary.peers import open_peers
from assets.vocabulary.report import REPORT, write_report
from assets.vocabulary.settings import VocabularyReportSettings, VocabularySettings
from assets.vocabulary.tokenizer import open_vocabulary
from assets.vocabulary.training import train_vocabulary
from training.artifact import build_artifact

CODE_VERSION = "3"
REPORT_VERSION = "1"


@dg.asset(
    deps=["clean_text"],
    group_name="vocabulary",
    kinds={"huggingface"},
    code_version=CODE_VERSION,
    config_schema=launchpad_schema(VocabularySettings),
    description="One vocabulary for all languages of the mixture; its tokenizer.json opens in tokenizers and "
    "transformers.",
)
def vocabulary(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Train on the clean text of every dump."""
    settings = VocabularySettings.parse(context.op_config, origin="vocabulary")
    catalogue = load_catalogue(catalogue_path())
    clean = {dump: upstream(context, "clean_text", dump) for dump in dumps.get_partition_keys()}
    weights = {dump: catalogue[dump].weight for dump in clean}

    def produce(folder: Path) -> dict[str, int]:
        folders = {dump: artifact.folder for dump, artifact in clean.items()}
        return train_vocabulary(folders, weights=weights, settings=settings, out=folder).counts

    try:
        artifact = build_artifact(
            outputs_folder("vocabulary"),
            kind="vocabulary",
            inputs={
                "clean_text": [[dump, artifact.manifest.digest] for dump, artifact in clean.items()],
                "weights": weights,
                **({} if settings.import_from is None else {"imported": _content_hash(settings.import_from)}),
            },
            settings=settings.model_dump(mode="json"),
            code_version=CODE_VERSION,
            produce=produce,
        )
        groups = [group for dump in clean.values() for group in row_groups(dump.folder)]
        trusted = choose_encoder(artifact.folder, open_vocabulary(artifact.folder), groups, proofs=proofs_folder())
    except (VocabularyError, CleanTextError) as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    context.log.info(f"{'unchanged, reused' if artifact.reused else 'written to'} {artifact.folder}")
    return dg.MaterializeResult(metadata=artifact_metadata(artifact) | {"encoder": trusted.note})


@dg.asset(
    deps=["clean_text", "vocabulary"],
    group_name="vocabulary",
    kinds={"html"},
    code_version=REPORT_VERSION,
    config_schema=launchpad_schema(VocabularyReportSettings),
    description="How the vocabulary cuts each source, beside the vocabularies that the catalogue names, and what its "
    "entries are: a page, and a table.",
)
def vocabulary_report(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Measure the vocabulary on a sample of every dump."""
    settings = VocabularyReportSettings.parse(context.op_config, origin="vocabulary_report")
    catalogue = load_catalogue(catalogue_path())
    entries = upstream(context, "vocabulary")
    clean = {dump: upstream(context, "clean_text", dump) for dump in dumps.get_partition_keys()}

    def produce(folder: Path) -> dict[str, int]:
        peers = open_peers(catalogue.tokenizers, folder=catalogue.folder, downloads=downloads_folder())
        folders = {dump: artifact.folder for dump, artifact in clean.items()}
        details = write_report(
            entries.folder,
            folders,
            settings=VocabularySettings.model_validate(entries.manifest.settings),
            sample_bytes=settings.sample_bytes,
            peers=peers,
            out=folder,
        )
        return {"unused": details.entries.unused, "under_trained": details.entries.under_trained}

    try:
        artifact = build_artifact(
            outputs_folder("vocabulary_report"),
            kind="vocabulary_report",
            inputs={
                "vocabulary": entries.manifest.digest,
                "clean_text": [[dump, artifact.manifest.digest] for dump, artifact in clean.items()],
                "peers": [tokenizer.model_dump(mode="json") for tokenizer in catalogue.tokenizers],
            },
            settings=settings.model_dump(mode="json"),
            code_version=REPORT_VERSION,
            produce=produce,
        )
    except (VocabularyError, CleanTextError) as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    context.log.info(f"{'unchanged, reused' if artifact.reused else 'written to'} {artifact.folder}")
    return dg.MaterializeResult(
        metadata=artifact_metadata(artifact)
        | {
            "fertility": _fertility_table(artifact.folder),
            "report": dg.MetadataValue.url((artifact.folder / REPORT).as_uri()),
        }
    )


def _content_hash(uri: str) -> str:
    return hashlib.sha256(read_import(uri)).hexdigest()


def _fertility_table(folder: Path) -> dg.TableMetadataValue:
    table = pq.read_table(folder / "fertility.parquet")
    records = [
        {name: round(value, 3) if isinstance(value, float) else value for name, value in row.items()}
        for row in table.to_pylist()
    ]
    return dg.MetadataValue.table(
        [dg.TableRecord(record) for record in records],
        schema=dg.TableSchema([dg.TableColumn(field.name, str(field.type)) for field in table.schema]),
    )
