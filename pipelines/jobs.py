"""The jobs. Each runs every dump of the catalogue in one run: its tags name the whole range of partitions."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from assets.partitions import dumps

TEXT_STAGES = [
    "raw_text",
    "filtered_text",
    "duplicates",
    "clean_text",
    "vocabulary",
    "vocabulary_report",
    "token_shards",
]


def range_of(names: Sequence[str]) -> dict[str, str]:
    """Tags of a run of all these dumps, which are in the catalogue's order."""
    return {"dagster/asset_partition_range_start": names[0], "dagster/asset_partition_range_end": names[-1]}


raw_to_model = dg.define_asset_job(
    "raw_to_model",
    # The text index is several times as large as the text, and no model needs it.
    selection=dg.AssetSelection.all() - dg.AssetSelection.assets("text_index"),
    tags=range_of(dumps.get_partition_keys()),
    description="From the catalogue's raw text to an evaluated, registered language model.",
)

text_stages = dg.define_asset_job(
    "text_stages",
    selection=dg.AssetSelection.assets(*TEXT_STAGES),
    tags=range_of(dumps.get_partition_keys()),
    description="From raw text to token shards, without training.",
)
