"""The one Definitions object; everything hangs off it."""

from __future__ import annotations

import dagster as dg

from assets.clean_text.asset import clean_text, duplicates, filtered_text
from assets.language_model.asset import evaluation, language_model, model_version
from assets.raw_text.asset import raw_text
from assets.text_index.asset import text_index
from assets.token_shards.asset import token_shards
from assets.vocabulary.asset import vocabulary, vocabulary_report
from pipelines.jobs import raw_to_model, text_stages
from pipelines.schedules import weekly_retraining
from pipelines.sensors import catalogue_changes

defs = dg.Definitions(
    assets=dg.with_source_code_references(
        [
            raw_text,
            filtered_text,
            duplicates,
            clean_text,
            vocabulary,
            vocabulary_report,
            token_shards,
            text_index,
            language_model,
            evaluation,
            model_version,
        ]
    ),
    jobs=[raw_to_model, text_stages],
    schedules=[weekly_retraining],
    sensors=[catalogue_changes],
    # Each step is a process of its own, forked from one that has imported everything: a step starts at once.
    executor=dg.multiprocess_executor.configured(
        {"start_method": {"forkserver": {"preload_modules": ["pipelines.definitions"]}}}, name="process_a_step"
    ),
)
