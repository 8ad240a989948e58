"""A configuration that trains in seconds, and texts for it in two languages."""

from __future__ import annotations

import json
import random
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
    "evaluation": {"samples": 2, "sampling": {"tokens": 10}},
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


_WORDS = (
    "lantern harbour orchard keeper market library mill bell river stone bread winter summer garden letter paper "
    "candle window bridge forest meadow silver copper kettle basket ladder engine whistle pepper sugar wagon horse "
    "sparrow raven turtle mountain valley thunder feather needle thread button pocket mirror cushion blanket pillow"
).split()
_PHRASES = (
    "质量不错 送货很快 颜色好看 价格合适 包装结实 味道一般 服务热情 房间干净 声音清楚 屏幕明亮 电池耐用 衣服舒服 "
    "书页发黄 故事感人 早餐丰富 位置方便 手机轻薄 茶叶清香 孩子喜欢 朋友推荐 老板客气 说明简单 配件齐全 下次再来"
).split()


def tale(number: int) -> str:
    """A short English document, unlike that of any other number."""
    words = random.Random(number).choices(_WORDS, k=24)
    return (
        f"The keeper counted {number} lanterns before the evening bell, and saw a {' and a '.join(words[:10])}. On day "
        f"{number * 7} somebody took the {' from the '.join(words[10:])}."
    )


def review(number: int) -> str:
    """A short Chinese document, unlike that of any other number."""
    phrases = random.Random(number).choices(_PHRASES, k=9)
    return f"这是我第{number}次买，{'，'.join(phrases)}。用了{number * 3}天以后，我觉得还可以。"
