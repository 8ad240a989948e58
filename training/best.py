"""The best validation so far."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Best:
    """The best validation so far.

    Attributes:
        step: When it was; 0 before the first one.
        loss: Nats a token.
        since: Validations after it.
    """

    step: int = 0
    loss: float = math.inf
    since: int = 0

    def after(self, step: int, loss: float) -> Best:
        """After one more validation; an equal loss is no better."""
        return Best(step, loss) if loss < self.loss else Best(self.step, self.loss, self.since + 1)

    @classmethod
    def of(cls, records: Iterable[Mapping[str, Any]], step: int) -> Self:
        """By the records of validations up to a step."""
        best = Best()
        for record in records:
            if "validation_loss" in record and record["step"] <= step:
                best = best.after(record["step"], record["validation_loss"])
        return cls(best.step, best.loss, best.since)
