"""The jobs. Each runs every dump of the catalogue in one run: its tags name the whole range of partitions."""

from __future__ import annotations

import dagster as dg

from assets.partitions import dumps

_keys = dumps.get_partition_keys()
ALL_DUMPS = {
    "dagster/asset_partition_range_start": _keys[0],
    "dagster/asset_partition_range_end": _keys[-1],
}

TEXT_STAGES = [
    "raw_text",
    "filtered_text",
    "duplicates",
    "clean_text",
    "vocabulary",
    "vocabulary_report",
    "token_shards",
]

raw_to_model = dg.define_asset_job(
    "raw_to_model",
    # The text index is several times as large as the text, and no model needs it.
    selection=dg.AssetSelection.all() - dg.AssetSelection.assets("text_index"),
    tags=ALL_DUMPS,
    description="From the catalogue's raw text to an evaluated, registered language model.",
)

text_stages = dg.define_asset_job(
    "text_stages",
    selection=dg.AssetSelection.assets(*TEXT_STAGES),
    tags=ALL_DUMPS,
    description="From raw text to token shards, without training.",
)
