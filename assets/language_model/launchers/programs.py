"""The trainer's programs, which run on every node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import training

CODE = Path(training.__file__).parents[1]
TRAINER = CODE / "training" / "train.py"
NODE_CHECK = CODE / "training" / "node_check.py"
STOP_RUN = CODE / "training" / "stop_run.py"
TORCHRUN = CODE / "training" / "torchrun.py"


def moved(program: Path, code: str | None) -> str:
    """A program's path on nodes where Corpusline lies in another folder."""
    return str(program if code is None else Path(code) / program.relative_to(CODE))


def check_arguments(config: Path, *, processes: int, nodes: Sequence[str] = ()) -> list[str]:
    """Arguments of ``training/node_check.py``.

    Args:
        config: The trainer's configuration file.
        processes: Ranks of each node.
        nodes: Their names, in order, where they are known.
    """
    arguments = ["--config", str(config), "--processes", str(processes)]
    return [*arguments, "--nodes", ",".join(nodes)] if nodes else arguments
