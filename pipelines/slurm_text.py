"""The text stages as jobs of Slurm: an array over the dumps where a stage works by dump, else one job."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from assets.language_model.launchers.programs import CODE
from assets.language_model.launchers.settings import SlurmSettings
from assets.language_model.launchers.slurm_script import asked_for

# In the order of the data; each waits for the one before it. True: an array over the dumps.
STAGES: Mapping[str, bool] = {
    "raw_text,filtered_text": True,
    "duplicates": False,
    "clean_text": True,
    "vocabulary,vocabulary_report": False,
    "token_shards": True,
}

_SCRIPT = """\
#!/bin/bash
# Text stages of {count} dump(s): `bash` this file, and it submits a job for each stage, which runs this file again.
# Several jobs write to Dagster's instance at once: on a cluster it needs Postgres (docs/cluster.md).
set -euo pipefail
dumps=({dumps})

settings() {{
    case "$1" in
{settings}
    esac
}}

if [ -z "${{CORPUSLINE_ASSETS:-}}" ]; then
    # Jobs that make the instance's tables at the same moment are in each other's way.
    (cd {code} && {python} -m dagster instance migrate)
    script=$(realpath "$0")
    before=
    submit() {{
        assets=$1
        shift
        before=$(CORPUSLINE_ASSETS=$assets sbatch --parsable --export=ALL --requeue --open-mode=append \\
            --job-name="corpusline-${{assets%%,*}}" --output="$PWD/%x-%j.log" \\
            ${{before:+--dependency=afterok:$before --kill-on-invalid-dep=yes}} {options} "$@" "$script")
        echo "$before: $assets"
    }}
{submissions}
    exit
fi

cd {code}
{setup}partition=()
if [ -n "${{SLURM_ARRAY_TASK_ID:-}}" ]; then
    partition=(--partition "${{dumps[$SLURM_ARRAY_TASK_ID]}}")
fi
exec {python} -m dagster asset materialize -m pipelines.definitions --select "$CORPUSLINE_ASSETS" \\
    ${{partition[@]+"${{partition[@]}}"}} --config-json "$(settings "$CORPUSLINE_ASSETS")"
"""


def text_script(
    dumps: Sequence[str], configuration: Mapping[str, Any], slurm: SlurmSettings, *, at_once: int | None = None
) -> str:
    """A script that submits the text stages, and is what each of their jobs runs.

    Args:
        dumps: Partitions.
        configuration: A run configuration; what it says of other assets is left out.
        slurm: What each job asks for; its GPUs are not asked for.
        at_once: Most jobs of an array that run at the same time; None is no limit.
    """
    ops = configuration.get("ops", {})

    def settings(assets: str) -> str:
        return json.dumps(
            {"ops": {asset: ops[asset] for asset in assets.split(",") if asset in ops}}, ensure_ascii=False
        )

    limit = f"%{at_once}" if at_once else ""
    array = f" --array=0-{len(dumps) - 1}{limit}"
    return _SCRIPT.format(
        count=len(dumps),
        dumps=shlex.join(dumps),
        settings="\n".join(f"        {assets}) echo {shlex.quote(settings(assets))} ;;" for assets in STAGES),
        options=shlex.join(asked_for(slurm)),
        submissions="\n".join(f"    submit {assets}{array if each else ''}" for assets, each in STAGES.items()),
        code=shlex.quote(slurm.code or str(CODE)),
        setup="".join(f"{line}\n" for line in slurm.setup),
        python=shlex.quote(slurm.python or sys.executable),
    )
