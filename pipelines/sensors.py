"""Sensors: what starts a run without a clock."""

from __future__ import annotations

import json
import os

import dagster as dg

from assets.home import catalogue_path
from assets.raw_text.catalogue import load_catalogue
from assets.raw_text.errors import CatalogueError
from pipelines.jobs import TEXT_STAGES, range_of, text_stages
from pipelines.presets import load_preset
from training.artifact import fingerprint


@dg.sensor(
    job=text_stages,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Watches the catalogue: when an entry is new or changed, runs the text stages of every dump in one "
    "run; unchanged dumps are reused. A new dump appears on the assets' pages after 'Reload definitions'.",
)
def catalogue_changes(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Compare each entry's fingerprint with the one seen at the last tick."""
    try:
        sources = load_catalogue(catalogue_path()).sources
    except CatalogueError as error:
        return dg.SkipReason(str(error))
    now = {source.name: fingerprint(source.model_dump(mode="json")) for source in sources}
    before = json.loads(context.cursor) if context.cursor else {}
    changed = [name for name in now if now[name] != before.get(name)]
    cursor = json.dumps(now)
    if not changed:
        return dg.SensorResult(skip_reason="no entry of the catalogue is new or changed", cursor=cursor)
    # The run's process loads the definitions anew, so it knows dumps that this process has never heard of.
    # Without a run key, by which a catalogue that is again as it was once would not be run again.
    request = dg.RunRequest(
        run_config=load_preset(os.environ.get("CORPUSLINE_PRESET", "small"), assets=TEXT_STAGES),
        tags=range_of(list(now)) | {"corpusline/changed": ",".join(changed)},
    )
    return dg.SensorResult(run_requests=[request], cursor=cursor)
