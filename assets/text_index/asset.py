"""The asset that indexes the text of each dump."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets.clean_text.errors import CleanTextError
from assets.clean_text.progress import log_progress
from assets.launchpad import launchpad_schema
from assets.lineage import materialize_dumps, upstream
from assets.partitions import dumps, one_run_a_dump
from assets.text_index.errors import TextIndexError
from assets.text_index.settings import TextIndexSettings
from assets.text_index.stored import CODE_VERSION, build_stored_index
from assets.vocabulary.errors import VocabularyError
from training.artifact import Artifact
from training.shards import ShardError


@dg.asset(
    partitions_def=dumps,
    backfill_policy=one_run_a_dump,
    deps=["token_shards", "vocabulary"],
    group_name="text_index",
    kinds={"numpy"},
    code_version=CODE_VERSION,
    config_schema=launchpad_schema(TextIndexSettings),
    description="Suffix arrays over the text of the token shards: where any phrase occurs in the training data. "
    "Several times as large as the text, so no job includes it: materialize it when you want to search.",
)
def text_index(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Sort the text's suffixes."""
    settings = TextIndexSettings.parse(context.op_config, origin="text_index")
    entries = upstream(context, "vocabulary")

    def build(dump: str) -> tuple[Artifact, Mapping[str, Any]]:
        artifact = build_stored_index(
            upstream(context, "token_shards", dump).folder,
            entries.folder,
            settings=settings,
            progress=log_progress("text_index", context.log.info),
        )
        return artifact, {"dagster/partition_row_count": artifact.manifest.counts["documents"]}

    materialize_dumps(context, build, (TextIndexError, ShardError, VocabularyError, CleanTextError, OSError))
    return dg.MaterializeResult()
