"""SIGTERM and SIGINT: a training ends after the step it is in, with a checkpoint."""

from __future__ import annotations

import signal
from typing import Any

import torch


class StopSignal:
    """Remembers SIGTERM and SIGINT, and lets all ranks agree on it."""

    def __init__(self) -> None:
        self.received = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._receive)

    def _receive(self, number: int, frame: Any) -> None:
        self.received = True

    def agreed(self, ranks: int, device: torch.device) -> bool:
        """Whether any rank was asked to stop; called by all together."""
        if ranks == 1:
            return self.received
        flag = torch.tensor([float(self.received)], device=device)
        torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
        return bool(flag.item())
