"""Where the ranks of a training run, and what is done when they end too early."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from training.settings import Settings


class LaunchSettings(Settings):
    """How ranks are started, stopped, and started again."""

    launcher: Literal["local"] = Field("local", description="Where they run: local is this machine.")
    processes: int = Field(1, ge=1, description="Ranks: one an accelerator, or a share of the CPU's cores each.")
    port: int = Field(0, ge=0, le=65535, description="TCP port of the ranks' rendezvous; 0 takes a free one.")
    grace_seconds: float = Field(
        120.0, gt=0, description="Time for the ranks to write a checkpoint when the run is cancelled."
    )
    restarts: int = Field(
        3,
        ge=0,
        description="Times that a training which fails is started again from its newest checkpoint, until it has made "
        "a newer one, from where they are counted anew; 0 is never.",
    )
