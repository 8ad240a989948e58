"""Each claim of speed as a command that prints a ratio against a peer."""

import assets  # noqa: F401  # switches telemetry off before MLflow is imported
