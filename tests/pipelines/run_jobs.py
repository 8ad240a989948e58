"""Runs jobs of the real definitions one after another in one process, since the catalogue is read when they load.

Argument: a JSON file with a list of steps. A step is ``{"write": {path: text}}`` or
``{"job": name, "config": run configuration}``, with ``"assets": [names]`` for these of the job alone. Printed at the
end: a JSON list with, for each job, whether it succeeded, its failures' messages, its checks, and the plain metadata of
each materialization, by ``asset`` or ``asset[dump]``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import dagster as dg

from pipelines.definitions import defs


def run(job: str, config: dict[str, Any], instance: dg.DagsterInstance, assets: list[str] | None) -> dict[str, Any]:
    result = defs.resolve_job_def(job).execute_in_process(
        instance=instance,
        run_config=config,
        raise_on_error=False,
        asset_selection=None if assets is None else [dg.AssetKey(name) for name in assets],
    )
    made: dict[str, Any] = {}
    # From the instance: those that a failed step logged are not among the result's own events.
    for entry in instance.all_logs(result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
        materialization = entry.get_dagster_event().step_materialization_data.materialization
        partition = f"[{materialization.partition}]" if materialization.partition else ""
        values = {key: value.value for key, value in materialization.metadata.items()}
        made[f"{materialization.asset_key.to_user_string()}{partition}"] = {
            key: value for key, value in values.items() if isinstance(value, bool | int | float | str)
        }
    failures = []
    for event in result.get_step_failure_events():
        data = event.step_failure_data
        failures.append((data.user_failure_data and data.user_failure_data.description) or data.error_display_string)
    checks = {evaluation.check_name: evaluation.passed for evaluation in result.get_asset_check_evaluations()}
    return {"success": result.success, "made": made, "failures": failures, "checks": checks}


def main() -> None:
    results = []
    with dg.DagsterInstance.ephemeral() as instance:
        for step in json.loads(Path(sys.argv[1]).read_text()):
            for path, text in step.get("write", {}).items():
                Path(path).write_text(text)
            if "job" in step:
                results.append(run(step["job"], step["config"], instance, step.get("assets")))
    Path(sys.argv[2]).write_text(json.dumps(results))


if __name__ == "__main__":
    main()
