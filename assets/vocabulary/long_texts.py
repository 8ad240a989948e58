"""Encoding texts of any length: it takes memory for each character, so long ones are cut where no token crosses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice
from typing import Any

import regex
from tokenizers import Tokenizer

from assets.vocabulary.patterns import CHARACTER_PATTERN, GPT2, PEERS, known_patterns, word_patterns

LONGEST_PIECE = 1 << 16
"""Characters after which a text is cut where it may be."""

# Behind the last line end of several. A piece may hold many of them, and spaces before them.
_BEHIND_LINE_ENDS = regex.compile(r"(?<=\n)(?![\r\n])")
# The last line end before a word is a piece of its own in GPT-2's pattern; in its successors it closes a piece.
_BEFORE_A_LINE_END = regex.compile(r"(?=\n\S)")
_BEHIND_A_LINE_END = regex.compile(r"(?<=\n)(?=\S)")


def encode_texts(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Ids of each text, those of the whole text, whatever its length; without special tokens."""
    longest = max(map(len, texts), default=0)
    boundary = text_boundary(tokenizer) if longest > LONGEST_PIECE else None
    cut = [list(pieces(text, LONGEST_PIECE, boundary)) for text in texts]
    encoded = iter(tokenizer.encode_batch_fast(list(chain.from_iterable(cut)), add_special_tokens=False))
    return [[token for encoding in islice(encoded, len(parts)) for token in encoding.ids] for parts in cut]


def pieces(text: str, limit: int, boundary: regex.Pattern[str] | None) -> Iterator[str]:
    """A text cut into parts that encode to the same tokens as the whole.

    Args:
        text: Any text.
        limit: Characters after which the next boundary is a cut.
        boundary: See ``text_boundary``; a text without any, or in which there is none, stays in one part.
    """
    start = 0
    while boundary is not None and len(text) - start > limit:
        match = boundary.search(text, start + limit)
        if match is None:
            break
        yield text[start : match.end()]
        start = match.end()
    if start < len(text):
        yield text[start:]


def text_boundary(tokenizer: Tokenizer) -> regex.Pattern[str] | None:
    """Places that no token crosses and that part what is before from what is behind; None if nothing is known of it.

    Nothing is known of a tokenizer that changes texts, as SentencePiece's put a space before each, or cuts them by a
    pattern that is none of ours or of ``patterns.PEERS``.
    """
    if tokenizer.normalizer is not None or tokenizer.pre_tokenizer is None:
        return None
    state: dict[str, Any] = json.loads(tokenizer.pre_tokenizer.__getstate__())
    first, *others = state.get("pretokenizers", [state])
    if first["type"] == "ByteLevel":
        return _BEFORE_A_LINE_END if first["use_regex"] and not first["add_prefix_space"] and not others else None
    if first["type"] != "Split" or any(
        step["type"] != "ByteLevel" or step["use_regex"] or step["add_prefix_space"] for step in others
    ):
        return None
    return _boundaries().get((first["pattern"].get("Regex"), first["behavior"], first["invert"]))


@lru_cache(maxsize=1)
def _boundaries() -> dict[tuple[Any, str, bool], regex.Pattern[str]]:
    """By pattern, and by whether its matches are pieces (Isolated) or all that is one (Removed, inverted)."""
    found = {(pattern, "Isolated", False): _BEHIND_A_LINE_END for pattern in PEERS.values()}
    found |= {(pattern, "Isolated", False): _BEHIND_LINE_ENDS for pattern in (CHARACTER_PATTERN, *known_patterns())}
    found |= {(pattern, "Removed", True): _BEHIND_LINE_ENDS for pattern in word_patterns()}
    return found | {(GPT2, "Isolated", False): _BEFORE_A_LINE_END}
