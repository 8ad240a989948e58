"""Which share of the samples each source gets: by weight, size or temperature, or evenly up to a number of passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from training.permutation import SampleOrderError
from training.settings import Settings

# Weights are written with few digits.
_TOLERANCE = 1.01
# Of the budget: what is left of a source after earlier runs is not worth a share, and may be the error of a sum.
_LEAST_LEFT = 1e-6


class MixtureSettings(Settings):
    """How the sources are mixed."""

    by: Literal["weight", "tokens", "temperature", "unimax"] = Field(
        "weight",
        description="weight: shares are the weights; tokens: weights times tokens, so that a weight says how often a "
        "source is read relative to others; temperature: (weight times tokens) to the power of 1 / temperature; "
        "unimax: as even as max_epochs lets it be.",
    )
    temperature: float = Field(2.0, ge=1, description="1 is by tokens; the larger, the more even.")
    max_epochs: float | None = Field(
        None, gt=0, description="Most passes over a source; more is refused, or for unimax given to other sources."
    )


@dataclass(frozen=True)
class MixedSource:
    """What a share depends on.

    Attributes:
        name: Name of the dump.
        weight: Its weight.
        tokens: Training tokens of one pass.
        read: Tokens that earlier runs, which this one continues, have read of it in all their passes.
    """

    name: str
    weight: float
    tokens: int
    read: float = 0.0


def mixture_shares(sources: Sequence[MixedSource], settings: MixtureSettings, *, budget: int) -> list[float]:
    """Each source's share of the samples; they add up to 1.

    Temperature is that of Conneau and Lample 2019 (arXiv:1901.07291, section 3.1, where alpha is 1 / temperature);
    unimax is algorithm 1 of Chung et al. 2023 (arXiv:2304.09151), which has no weights; in a run that continues others
    it is even in that run, up to what they have left of each source.

    Args:
        sources: At least one.
        settings: How they are mixed.
        budget: Tokens of the whole training.

    Raises:
        SampleOrderError: If a weight is not a positive number, or unimax lacks ``max_epochs`` or finds every source
            read so often.
    """
    if not sources:
        raise SampleOrderError("there is no source to mix: name one in 'data'")
    for source in sources:
        if not 0 < source.weight < float("inf"):
            raise SampleOrderError(
                f"source '{source.name}' has weight {source.weight}: weights are greater than 0; leave it out instead"
            )
    if settings.by == "weight":
        amounts = [source.weight for source in sources]
    elif settings.by == "tokens":
        amounts = [source.weight * source.tokens for source in sources]
    elif settings.by == "temperature":
        amounts = [(source.weight * source.tokens) ** (1 / settings.temperature) for source in sources]
    else:
        amounts = _unimax(sources, settings.max_epochs, budget)
    total = sum(amounts)
    return [amount / total for amount in amounts]


def check_epochs(names: Sequence[str], epochs: Sequence[float], settings: MixtureSettings) -> None:
    """Refuse a training that reads a source more often than it may.

    Raises:
        SampleOrderError: Naming the source.
    """
    if settings.max_epochs is None:
        return
    for name, passes in zip(names, epochs, strict=True):
        if passes > settings.max_epochs * _TOLERANCE:
            raise SampleOrderError(
                f"source '{name}' would be read {passes:.2f} times, more than 'max_epochs' = {settings.max_epochs:g}: "
                "lower its weight or 'steps', add text to it, or raise the limit"
            )


def _unimax(sources: Sequence[MixedSource], max_epochs: float | None, budget: int) -> list[float]:
    if max_epochs is None:
        raise SampleOrderError("'mixture.by' = 'unimax' needs 'max_epochs': how often a source may be read at most")
    amounts = [0.0] * len(sources)
    left = float(budget)
    most = [source.tokens * max_epochs - source.read for source in sources]
    for number, source in enumerate(sources):
        if source.read and most[number] < budget * _LEAST_LEFT:
            most[number] = 0.0
    ascending = sorted(range(len(sources)), key=lambda number: (most[number], number))
    for done, number in enumerate(ascending):
        amounts[number] = min(left / (len(sources) - done), most[number])
        left -= amounts[number]
    if not any(amounts):
        raise SampleOrderError(
            f"the runs before have read {', '.join(source.name for source in sources)} 'max_epochs' = {max_epochs:g} "
            "times already: raise the limit, or add a source"
        )
    return amounts
