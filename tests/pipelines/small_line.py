"""A configuration that trains in seconds, and texts for it in two languages."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Jobs = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]

CONFIGURATION: dict[str, Any] = {
    "vocabulary": {"size": 400},
    "token_shards": {"validation_share": 0.2},
    "language_model": {
        "training": {
            "steps": 6,
            "batch": 4,
            "log_every": 1,
            "validate_every": 3,
            "checkpoint_every": 3,
            "model": {
                "width": 32,
                "layers": 1,
                "heads": 2,
                "key_value_heads": 2,
                "feed_forward_width": 64,
                "context": 32,
            },
            "parallel": {"micro_batch": 4, "compile": False},
        }
    },
    "evaluation": {"samples": 2, "sampling": {"tokens": 10}, "prompts": {"en": ["The "], "zh": ["我"]}},
}


def run_configuration(**training: Any) -> dict[str, Any]:
    """The configuration above as Dagster takes it, with changed training settings."""
    assets = json.loads(json.dumps(CONFIGURATION))
    assets["language_model"]["training"] |= training
    return {"ops": {asset: {"config": settings} for asset, settings in assets.items()}}


def text_configuration() -> dict[str, Any]:
    """The part of it that the job text_stages has."""
    whole = run_configuration()
    return {"ops": {asset: whole["ops"][asset] for asset in ("vocabulary", "token_shards")}}


def tale(number: int) -> str:
    """A short English document, different for each number."""
    places = ("harbour", "orchard", "market", "library", "mill")
    return (
        f"The keeper of the {places[number % 5]} counted {number} lanterns before the evening bell, and wrote the "
        f"number down. On day {number * 7} somebody had taken one away, so he counted them again, slowly, by hand."
    )


def review(number: int) -> str:
    """A short Chinese document, different for each number."""
    things = ("书", "手机", "房间", "茶", "衣服")
    thing = things[number % 5]
    return f"这是我第{number}次买{thing}，质量不错，送货也快。用了{number * 3}天以后，我觉得还可以再便宜一点。"
