"""The share of useful time in the long run without spikes, and the interval that makes it largest."""

from __future__ import annotations

import math

from benchmarks.goodput.inputs import Inputs


def useful_share(inputs: Inputs, *, interval: float, failures_per_second: float) -> float:
    """Share of the time that goes into steps which stay.

    After each failure everything begins anew, so it is the useful time between two failures over all time between them
    (renewal-reward). With ``whole`` = ``cost`` and nothing to notice it is the complete model of Daly 2006 (Future
    Generation Computer Systems 22): interval / (M exp(R / M) (exp((interval + cost) / M) - 1)).

    Args:
        inputs: Spikes are not counted.
        interval: Seconds of computation between two checkpoints.
        failures_per_second: Of all GPUs together; 1 / M.
    """
    cycle = max(interval + inputs.cost, inputs.whole)
    rate = failures_per_second
    if not rate:
        return interval / cycle
    kept = interval * math.exp(-rate * (interval + inputs.whole)) / -math.expm1(-rate * cycle)
    notice = (1 - inputs.hang_share) * inputs.notice + inputs.hang_share * inputs.hang_notice
    # A start that fails itself is noticed, and done again.
    down = (notice - math.expm1(-rate * inputs.restart) / rate) * math.exp(rate * inputs.restart)
    return kept / (1 / rate + down)


def best_interval(inputs: Inputs, *, failures_per_second: float) -> float:
    """Seconds of computation between two checkpoints that waste the least: sqrt(2 cost M) in the first order.

    Young 1974 (Communications of the ACM 17) with the higher order of Daly 2006. Only what a checkpoint
    takes from the training counts; the time until it is whole costs the same at every interval that is longer.
    """
    least = max(inputs.whole - inputs.cost, 0.0)
    if not failures_per_second:
        return math.inf
    between, cost = 1 / failures_per_second, inputs.cost
    if cost >= 2 * between:
        return max(between, least)
    ratio = cost / (2 * between)
    return max(math.sqrt(2 * cost * between) * (1 + math.sqrt(ratio) / 3 + ratio / 9) - cost, least)
