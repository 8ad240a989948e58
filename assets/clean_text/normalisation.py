"""Text normalisation: one form for what looks the same, without changing what was written.

In this order, until nothing changes:

1. Mojibake is repaired line by line by ``ftfy.fix_encoding`` (UTF-8 that was read as a single-byte encoding). Only this
   part of ftfy runs: curly quotes, full-width forms, ligatures and HTML entities stay.
2. Line ends (CR LF, CR, vertical tab, form feed, FS/GS/RS, NEL, U+2028) become a line feed, U+2029 becomes two.
3. Unicode canonical composition (NFC). Of more than 1,024 marks on one character that are not in canonical order the
   first 1,024 stay: the time to order them grows with the square of their number.
4. Removed: control characters but tab and line feed, byte order marks, soft hyphens, zero-width spaces and word
   joiners, marks and overrides of text direction, annotation and object placeholders, noncharacters, tag characters
   outside of flag emoji.
5. ZERO WIDTH JOINER and NON-JOINER change how Arabic and Indic words and emoji are written, so they stay behind a
   character which is neither ASCII, nor Han, nor white space; one of a run is enough.
6. No-break and typographic spaces become a space. The ideographic space (U+3000) stays: it indents Chinese paragraphs.
7. White space at line ends, blank lines at both ends of the text, and blank lines beyond ``blank_lines`` in a row go.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import regex

from assets.clean_text.arrays import string_array, strings
from assets.clean_text.characters import Array
from assets.clean_text.mojibake import MOJIBAKE, repair_mojibake

_REMOVED_CLASS = (
    r"\x00-\x08\x0e-\x1b\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    r"\ufdd0-\ufdef\ufeff\ufff9-\ufffc\ufffe\uffff" + "".join(rf"\U{p:04x}fffe\U{p:04x}ffff" for p in range(1, 17))
)
_SPACES_CLASS = r"\u00a0\u1680\u2000-\u200a\u202f\u205f"
_LINE_END_CLASS = r"\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029"
_JOINER_CLASS = r"\u200c\u200d"
_TAG_CLASS = r"\U000e0000-\U000e007f"

_TAGS = regex.compile(rf"(?P<flag>\U0001f3f4)?[{_TAG_CLASS}]++")
_CROWD_OF_MARKS = regex.compile(r"(?<!\p{M})(\p{M}{1024})\p{M}++")
_IDLE_JOINER = regex.compile(rf"(?<![^\x00-\x7f\s\p{{Han}}{_JOINER_CLASS}])[{_JOINER_CLASS}]+")


def _re2(characters: str) -> str:
    """A class of characters as RE2 writes it, with code points as \\x{...}."""
    escaped = characters.encode("ascii", "backslashreplace").decode()
    return "[" + regex.sub(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))", r"\\x{\1\2\3}", escaped) + "]"


_CHANGED_CLASS = _REMOVED_CLASS + _SPACES_CLASS + _LINE_END_CLASS + _JOINER_CLASS + _TAG_CLASS
_NEEDS_REPAIR = f"{_re2(_CHANGED_CLASS)}|{MOJIBAKE}"
_MOST_ROUNDS = 8


def normalise(text: str, *, blank_lines: int = 1) -> str:
    """One text in normal form; see the module's description. Applying it again changes nothing."""
    return str(normalise_batch(string_array([text]), blank_lines=blank_lines)[0].as_py())


def normalise_batch(texts: pa.StringArray, *, blank_lines: int = 1) -> pa.StringArray:
    """Texts in normal form, in the same order.

    Args:
        texts: Any texts; no nulls.
        blank_lines: Most blank lines kept in a row inside a text.
    """
    result = _tidy(_compose(texts), blank_lines)
    suspicious = np.flatnonzero(pc.match_substring_regex(result, _NEEDS_REPAIR).to_numpy(zero_copy_only=False))
    for _ in range(_MOST_ROUNDS):
        if not len(suspicious):
            break
        before = result.take(suspicious)
        after = _tidy(_repair(before), blank_lines)
        changed = pc.not_equal(before, after).to_numpy(zero_copy_only=False)
        result = _replace(result, suspicious[changed], after.filter(pa.array(changed)))
        suspicious = suspicious[changed]
    return result


def _repair(texts: pa.StringArray) -> pa.StringArray:
    texts = _where(texts, MOJIBAKE, repair_mojibake)
    for pattern, replacement in (
        (r"\r\n?|" + _re2(_LINE_END_CLASS.replace(r"\r", "").replace(r"\u2029", "")), "\n"),
        (r"\x{2029}", "\n\n"),
    ):
        texts = pc.replace_substring_regex(texts, pattern=pattern, replacement=replacement)
    texts = pc.replace_substring_regex(_compose(texts), pattern=_re2(_REMOVED_CLASS) + "+", replacement="")
    texts = _each(texts, _re2(_TAG_CLASS), lambda text: _TAGS.sub(_flag, text))
    texts = _each(texts, _re2(_JOINER_CLASS), lambda text: _IDLE_JOINER.sub("", text))
    return _compose(pc.replace_substring_regex(texts, pattern=_re2(_SPACES_CLASS), replacement=" "))


def _each(texts: pa.StringArray, pattern: str, change: Callable[[str], str]) -> pa.StringArray:
    """The texts, those that match changed one by one."""
    return _where(texts, pattern, lambda matching: string_array([change(text) for text in strings(matching)]))


def _where(texts: pa.StringArray, pattern: str, change: Callable[[pa.StringArray], pa.StringArray]) -> pa.StringArray:
    """The texts, those that match changed together."""
    rows: Array = np.flatnonzero(pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False))
    return _replace(texts, rows, change(texts.take(pa.array(rows, pa.int64())))) if len(rows) else texts


def _flag(tags: regex.Match[str]) -> str:
    return tags[0] if tags["flag"] else ""


def _compose(texts: pa.StringArray) -> pa.StringArray:
    return string_array(
        [
            text if text.isascii() or unicodedata.is_normalized("NFC", text) else _composed(text)
            for text in strings(texts)
        ]
    )


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", _CROWD_OF_MARKS.sub(r"\1", text))


def _tidy(texts: pa.StringArray, blank_lines: int) -> pa.StringArray:
    line_feeds = "\n" * (blank_lines + 1)
    steps: Iterable[tuple[str, str]] = (
        (r"[ \t\x{3000}]+(\n|$)", r"\1"),
        (rf"\n{{{blank_lines + 2},}}", line_feeds),
        (r"^\n+|\n+$", ""),
    )
    for pattern, replacement in steps:
        texts = pc.replace_substring_regex(texts, pattern=pattern, replacement=replacement)
    return texts


def _replace(texts: pa.StringArray, rows: Array, values: pa.StringArray) -> pa.StringArray:
    mask = np.zeros(len(texts), dtype=bool)
    mask[rows] = True
    replaced: pa.StringArray = pc.replace_with_mask(texts, pa.array(mask), values)
    return replaced
