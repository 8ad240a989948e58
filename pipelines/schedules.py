"""Scheduled retraining: off until somebody turns it on, since it takes accelerators."""

from __future__ import annotations

import os

import dagster as dg

from assets.home import catalogue_path
from assets.raw_text.catalogue import load_catalogue
from pipelines.jobs import range_of, raw_to_model
from pipelines.presets import load_preset


@dg.schedule(
    job=raw_to_model,
    cron_schedule="0 3 * * 0",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Sunday at 03:00: bring every stage up to date and train if anything changed. The environment "
    "variable CORPUSLINE_PRESET names the preset or a YAML file, 'small' by default.",
)
def weekly_retraining() -> dg.RunRequest:
    """One run of the whole line; stages with unchanged inputs and settings are reused."""
    # The run's process reads the catalogue anew, and trains on dumps that this one may not have known when it started.
    names = [source.name for source in load_catalogue(catalogue_path()).sources]
    return dg.RunRequest(run_config=load_preset(os.environ.get("CORPUSLINE_PRESET", "small")), tags=range_of(names))
