"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math

from training.run_settings import ScheduleSettings


def learning_rate_share(step: int, *, steps: int, settings: ScheduleSettings) -> float:
    """The learning rate of a step as a share of its peak.

    Args:
        step: Counted from 0.
        steps: Steps of the whole training.
        settings: Shape, warm-up and end. Linear and cosine: Loshchilov and Hutter 2017 (arXiv:1608.03983);
            warm-up, stable, decay: Hu et al. 2024 (arXiv:2404.06395), section 4; inverse square root: Vaswani et al.
            2017 (arXiv:1706.03762), section 5.3, with its peak at the end of the warm-up; step: He et al. 2016
            (arXiv:1512.03385), section 3.4.
    """
    warmup = round(settings.warmup * steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if settings.shape == "constant":
        return 1.0
    if settings.shape == "inverse_square_root":
        return max(settings.final, math.sqrt(max(1, warmup) / max(1, step)))
    if settings.shape == "step":
        return settings.final ** sum(step >= round(drop * steps) for drop in settings.drops)
    start = warmup
    if settings.shape == "warmup_stable_decay":
        start = max(warmup, steps - round(settings.decay * steps))
        if step < start:
            return 1.0
    progress = (step - start) / max(1, steps - 1 - start)
    fall = (1 + math.cos(math.pi * progress)) / 2 if settings.shape == "cosine" else 1 - progress
    return settings.final + (1 - settings.final) * fall
