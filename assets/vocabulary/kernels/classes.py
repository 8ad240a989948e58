"""Class bits of every code point, as the regular expressions of ``tokenizers`` tell them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from tokenizers import Regex, pre_tokenizers

from assets.vocabulary.patterns import UNSPACED

LETTER = 1 << 0
MARK = 1 << 1
NUMBER = 1 << 2
SPACE = 1 << 3
LINE_END = 1 << 4
UNSPACED_SCRIPT = 1 << 5  # Chinese characters and kana, whatever else they are
WORD = 1 << 7  # letters and marks of other scripts

_CODE_POINTS = 0x110000
# Beyond these ranges nothing is assigned but for private use, which has none of the classes.
_RANGES = ((0, 0xD800), (0xE000, 0x34000), (0xE0000, 0xE1000))
_PATTERNS = {
    LETTER: r"\p{L}",
    MARK: r"\p{M}",
    NUMBER: r"\p{N}",
    SPACE: r"\s",
    LINE_END: r"[\r\n]",
    UNSPACED_SCRIPT: f"[{UNSPACED}]",
}


@lru_cache(maxsize=1)
def code_point_classes() -> npt.NDArray[np.uint8]:
    """Bits by code point, uint8 [1114112]; half a second the first time.

    The engine is asked, since its tables are of another version of Unicode than Python's.
    """
    everything = "".join(chr(code) for start, end in _RANGES for code in range(start, end))
    classes = np.zeros(_CODE_POINTS, dtype=np.uint8)
    for bit, pattern in _PATTERNS.items():
        splitter = pre_tokenizers.Split(Regex(f"{pattern}+"), behavior="removed")
        others = "".join(piece for piece, _ in splitter.pre_tokenize_str(everything))
        inside = np.ones(_CODE_POINTS, dtype=np.bool_)
        inside[np.frombuffer(others.encode("utf-32-le"), dtype="<u4")] = False
        for start, end in _RANGES:
            classes[start:end] |= np.where(inside[start:end], np.uint8(bit), np.uint8(0))
    classes[(classes & (LETTER | MARK) > 0) & (classes & UNSPACED_SCRIPT == 0)] |= WORD
    return classes
