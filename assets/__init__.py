"""What exists: one folder a stage, in the order the data flows."""

from pathlib import Path

from assets.compiled_cache import set_compiled_cache
from assets.telemetry import switch_off_telemetry

set_compiled_cache(Path(__file__).parent)
switch_off_telemetry()
