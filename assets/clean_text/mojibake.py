"""UTF-8 that was read as a single-byte encoding, found fast and repaired by ftfy.

ftfy asks of each line whether a regular expression, its test for mojibake, matches somewhere. With Python's engine that
takes longer than the rest of the normalisation, so RE2 looks first, by the same expression, for lines where it may.
"""

from __future__ import annotations

from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import regex
from ftfy import fix_encoding
from ftfy.badness import BADNESS_RE

from assets.clean_text.arrays import string_array, strings

# A class or an escaped character; a comment; white space, which stands for nothing in a verbose expression.
_VERBOSE = regex.compile(r"(?P<kept>\[(?:\\.|[^\]\\])+\]|\\.)|#[^\n]*|\s+")
_CLASSES = regex.compile(r"\[(?:\\.|[^\]\\])+\]|\\[sw]|\^")
# RE2's own are of ASCII alone. These are larger than Python's.
_IN_RE2 = {r"\s": r"[\s\v\x1c-\x1f\x{85}\pZ]", r"\w": r"[\pL\pM\pN_]", "^": "(?m:^)"}


def _re2(verbose: str) -> str:
    """Python's verbose expression as RE2 writes it: where a line of a text matches, the text matches."""
    plain = _VERBOSE.sub(lambda part: part["kept"] or "", verbose)
    return _CLASSES.sub(lambda part: _IN_RE2.get(part[0], part[0]), plain)


MOJIBAKE = _re2(BADNESS_RE.pattern)
"""An RE2 expression; ``repair_mojibake`` changes no text in which it matches nowhere."""


def repair_mojibake(texts: pa.StringArray) -> pa.StringArray:
    """Repair texts line by line, so that one bad line does not decide for the others."""
    split: Any = pc.split_pattern(texts, pattern="\n")
    lines: Any = split.flatten()
    bad = pc.match_substring_regex(lines, MOJIBAKE)
    lines = pc.replace_with_mask(lines, bad, string_array([fix_encoding(line) for line in strings(lines.filter(bad))]))
    joined: Any = pc.binary_join(pa.ListArray.from_arrays(split.offsets, lines), "\n")
    return cast(pa.StringArray, joined)
