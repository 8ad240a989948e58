"""The job that Slurm runs: a script for sbatch, queued again by itself before its time is over."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from assets.language_model.launchers.programs import NODE_CHECK, TRAINER, check_arguments, moved
from assets.language_model.launchers.settings import LaunchSettings, SlurmSettings

# The time limit is told by another signal than SIGTERM, which a cancelled job gets, too: that is not queued again.
_BODY = """\
set -u
run={run}
mkdir -p "$run"
rm -f "$run/slurm-$SLURM_JOB_ID.exit"

again= interrupted=
# Before the time limit.
trap 'again=1 interrupted=1; scancel --signal=TERM "$SLURM_JOB_ID"' USR1
# Cancelled: ranks get the same signal, and their checkpoint is waited for.
trap 'interrupted=1' TERM

# Tasks of which each node has so many, with the variables that PyTorch takes.
tasks() {{
    export here=$1
    shift
    srun --kill-on-bad-exit=1 --nodes={nodes} --ntasks=$(({nodes} * here)) --ntasks-per-node="$here" bash -c '
        export RANK=$SLURM_PROCID WORLD_SIZE=$SLURM_NTASKS LOCAL_RANK=$SLURM_LOCALID LOCAL_WORLD_SIZE=$here
        export MASTER_ADDR=$SLURM_LAUNCH_NODE_IPADDR OMP_NUM_THREADS=${{OMP_NUM_THREADS:-${{SLURM_CPUS_PER_TASK:-1}}}}
        exec "$@"' task "$@" &
    step=$!
    # A signal interrupts waiting, not the tasks.
    while interrupted=; wait "$step"; code=$?; [ -n "$interrupted" ]; do :; done
    return "$code"
}}

names=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | paste --serial --delimiters=,)
port={port}
export MASTER_PORT=$port
tasks 1 {python} {check} --nodes "$names"
code=$?
if [ "$code" -eq 0 ] && [ -z "$again" ]; then
    export MASTER_PORT=$((port + 1))
    tasks {processes} {python} {train}
    code=$?
fi
if [ -n "$again" ] && [ ! -e "$run/report.json" ]; then
    echo "the time limit is near: job $SLURM_JOB_ID is queued again and goes on from its checkpoint"
    scontrol requeue "$SLURM_JOB_ID" && sleep 60
fi
echo "$code" > "$run/slurm-$SLURM_JOB_ID.exit"
exit "$code"
"""


def training_script(config: Path, settings: LaunchSettings, *, run: Path, log: Path) -> str:
    """A script for sbatch that trains.

    Args:
        config: The trainer's configuration file.
        settings: Nodes, ranks, and what is asked for.
        run: The training's folder, on storage that all nodes share.
        log: File for the output of all ranks, to which every start appends.
    """
    slurm = settings.slurm
    options = [
        # Slurm reads these lines with a shell's quotes.
        f"--job-name={shlex.quote(f'corpusline-{run.name[:12]}')}",
        f"--nodes={settings.nodes}",
        f"--ntasks-per-node={settings.processes}",
        f"--output={shlex.quote(str(log))}",
        "--open-mode=append",
        "--requeue",
        f"--signal=B:USR1@{slurm.before_limit_seconds}",
        *([f"--gpus-per-node={slurm.gpus}"] if slurm.gpus else []),
        *asked_for(slurm),
    ]
    python = slurm.python or sys.executable
    # Jobs that share a node do not meet at the same port.
    port = str(settings.port or "$((20000 + SLURM_JOB_ID % 5000 * 2))")
    check = [moved(NODE_CHECK, slurm.code), *check_arguments(config, processes=settings.processes)]
    body = _BODY.format(
        run=shlex.quote(str(run)),
        nodes=settings.nodes,
        processes=settings.processes,
        port=port,
        python=shlex.quote(python),
        check=shlex.join(check),
        train=shlex.join([moved(TRAINER, slurm.code), "--config", str(config)]),
    )
    return header(options) + "".join(f"{line}\n" for line in setup(settings)) + body


def asked_for(slurm: SlurmSettings) -> list[str]:
    """Options of sbatch for what any job of this project asks for."""
    values = {
        "partition": slurm.partition,
        "account": slurm.account,
        "qos": slurm.qos,
        "time": slurm.time,
        "cpus-per-task": slurm.cpus,
        "mem": slurm.memory,
    }
    return [f"--{name}={value}" for name, value in values.items() if value is not None] + slurm.options


def header(options: Sequence[str]) -> str:
    """The first lines of a script: options of sbatch."""
    return "#!/bin/bash\n" + "".join(f"#SBATCH {option}\n" for option in options) + "\n"


def setup(settings: LaunchSettings) -> list[str]:
    """Lines of shell before anything runs."""
    lines = list(settings.slurm.setup)
    if settings.interface:
        lines += [f"export {name}_SOCKET_IFNAME={settings.interface}" for name in ("GLOO", "NCCL")]
    return lines
