"""What the share of useful time depends on: figures measured here, and assumptions of a large cluster."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

HANG = "a rank is stopped for good (SIGSTOP)"
"""``benchmarks.survival``'s name of the fault that only the watchdog notices."""

RATES = {
    "Meta's RSC-2": 2.34 / (1000 * 24 * 8),
    "Llama 3": 419 / (54 * 24 * 16_384),
    "Meta's RSC-1": 6.50 / (1000 * 24 * 8),
    "three times that": 3 * 6.50 / (1000 * 24 * 8),
}
"""Failures a GPU-hour. Llama 3's training: 419 unexpected interruptions (of 466) in 54 days on 16,384 GPUs
(arXiv:2407.21783, section 3.3.4). Meta's research clusters: 6.50 and 2.34 failures a thousand node-days, with nodes of
8 GPUs (Kokolis et al., arXiv:2410.21680). The last one is no report but a bad month."""


@dataclass(frozen=True)
class Inputs:
    """All times are in seconds.

    Attributes:
        notice: From a failure until the launcher or another rank notices it.
        hang_notice: Likewise from a hang until the watchdog does.
        restart: From there until the next new step begins: processes, rendezvous, loading, warming up.
        wait: That a checkpoint stops the training.
        whole: From its taking until it is whole; the next one is taken when it is.
        drag: Share of the computing that is lost while a checkpoint is written beside it.
        rollback: From a spike until the training goes on before it; no process ends for it.
        hang_share: Of the failures that are hangs.
        spikes_per_day: Of the computation that is new.
    """

    notice: float
    hang_notice: float
    restart: float
    wait: float
    whole: float
    drag: float
    rollback: float
    hang_share: float = 0.1
    spikes_per_day: float = 0.1

    @property
    def cost(self) -> float:
        """Seconds of computation that a checkpoint takes away."""
        return self.wait + self.drag * self.whole


MEASURED = Inputs(notice=2.9, hang_notice=300.0, restart=20.0, wait=0.009, whole=1.2, drag=0.47, rollback=20.0)
"""Two cores without a GPU: ``notice`` and ``restart`` of the demo's model on two ranks by ``benchmarks.survival``
(2026-11-29, the middle one of three seeds); ``wait``, ``whole`` and ``drag`` of ten times its size by
``benchmarks.checkpoint_cost`` (2026-11-25). A rollback, which starts no process, is counted as a restart. Not measured:
``hang_notice`` is the watchdog's default for steps of ten seconds (30 times the median); the shares of hangs and spikes
are assumed."""

CLUSTER = replace(MEASURED, notice=30.0, restart=600.0, wait=1.0, whole=120.0, drag=0.01, rollback=120.0)
"""Assumed for a model of tens of billions of parameters on a thousand GPUs: a new node, the rendezvous and the loading
take ten minutes, a copy to host memory a second, storage two minutes, and processors beside GPUs have time to write."""


def from_survival(path: Path, defaults: Inputs) -> Inputs:
    """The figures that a run of ``benchmarks.survival --json`` has measured, in place of the defaults.

    Raises:
        ValueError: If it is no such file; named with the measure that it lacks.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    try:
        measures = {row["name"]: float(row["value"]) for row in content["measures"]}
        hangs = _noticed(content["runs"])
        return replace(
            defaults,
            notice=measures["time to notice, median"],
            restart=measures["time to the next new step, median"],
            rollback=measures["time to the next new step, median"],
            wait=measures["seconds that a checkpoint stops the training"],
            whole=measures["seconds until a checkpoint is whole"],
            hang_notice=median(hangs) if hangs else defaults.hang_notice,
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} was not written by benchmarks.survival --json: it lacks {error}") from error


def _noticed(runs: list[dict[str, Any]]) -> list[float]:
    return [run["notice_seconds"] for run in runs if run["fault"] == HANG and run["notice_seconds"] is not None]
