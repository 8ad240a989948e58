"""Which encoding a text file is in: told by its byte order mark or by what its first bytes would say in each."""

from __future__ import annotations

import codecs
import re
from functools import cache

import charset_normalizer

_MARKS = (
    # UTF-32 first: its little-endian mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_BY_MARK = {"utf-8-sig": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}

# Share of a text's non-ASCII characters that must be common ones before a reading of its bytes is believed.
_COMMON_SHARE = 0.9
_GUESS_BYTES = 1 << 16
_GUESS_CONTEXT_BYTES = 1 << 10
_ACCENTS_IN_A_ROW = 3

_SIGNS = frozenset("“”„‚‘’«»‹›–—…·•°§©®™£€¥¢½¼¾×÷±²³¹¶†‡ªº¿¡¬¤")
_RUN = re.compile(r"[^\x00-\x7f]+")
# A byte of a Western language's letter or sign, perhaps behind what opens a quotation, a question or a call.
_LONE_BYTES = re.compile(rb"[\x80-\xff]|[\x84\x91\x93\xa1\xab\xbf][\xc0-\xff]")
_HIGH_RUN = re.compile(rb"[\x80-\xff]+")


def byte_order_mark(head: bytes) -> tuple[str, int] | None:
    """The encoding named by the mark at the beginning of a file, and the mark's length in bytes."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding, len(mark)
    return None


def plain_codec(encoding: str, head: bytes) -> str:
    """The codec without a mark of its own for an encoding set by the user.

    UTF-16 and UTF-32 without their byte order follow the file's mark, and are little-endian without one.
    """
    name = codecs.lookup(encoding).name
    mark = byte_order_mark(head)
    if name in ("utf-16", "utf-32") and mark and mark[0].startswith(name):
        return mark[0]
    return _BY_MARK.get(name, name)


def detect(sample: bytes) -> str | None:
    """Name the codec of a text from a piece of it that begins at a character.

    Known are UTF-8, UTF-16 and UTF-32 (with a mark at the beginning, UTF-16 also without), GB18030 (with GBK and
    GB2312), Big5 (with Microsoft's and Hong Kong's additions) and Windows-1252 (with Latin-1); what is none of these is
    left to charset-normalizer. A text that is UTF-8 but for a few damaged bytes is UTF-8.

    Args:
        sample: Some bytes; the last character may be cut.

    Returns:
        None if the sample is ASCII, which says nothing of what follows it, or if no encoding fits.
    """
    mark = byte_order_mark(sample)
    if mark:
        return mark[0]
    if b"\0" not in sample and sample.isascii():
        return None
    if b"\0" not in sample and _is_utf8(sample):
        return "utf-8"
    wide = _utf16(sample)
    if wide:
        return wide
    if b"\0" in sample:
        # A few NUL bytes are damage in a text; many mean that it is none.
        return "utf-8" if sample.count(0) <= 0.01 * len(sample) and _is_utf8(sample) else None
    chinese = {codec: _decode(sample, codec) for codec in ("gb18030", "big5")}
    scores = {codec: _common_share(text) for codec, text in chinese.items()}
    best = max(scores, key=lambda codec: scores[codec])
    if scores[best] >= _COMMON_SHARE and _is_double_byte(chinese[best], sample):
        # cp950 and Big5-HKSCS assign what Big5 leaves free; of the three the first that reads every byte is taken.
        variants = ("big5", "cp950", "big5hkscs") if best == "big5" else (best,)
        return next((codec for codec in variants if _decode(sample, codec) is not None), best)
    if _is_utf8(sample, right_to_wrong=1):
        # It is no Chinese, and UTF-8 is half of it: a short text with a damaged byte, which is not to pass for Western.
        return "utf-8"
    if _is_western(sample):
        return "cp1252" if _decode(sample, "cp1252") is not None else "latin-1"
    return _guess(sample)


def _guess(sample: bytes) -> str | None:
    """What charset-normalizer says of the surroundings of the first byte that is not ASCII."""
    first = _HIGH_RUN.search(sample)
    assert first is not None
    begin = max(0, first.start() - _GUESS_CONTEXT_BYTES)
    guess = charset_normalizer.from_bytes(sample[begin : begin + _GUESS_BYTES]).best()
    return guess.encoding if guess and guess.encoding != "ascii" else None


def _is_double_byte(text: str | None, sample: bytes) -> bool:
    """Whether characters of two bytes stand side by side, as in no text where they are an accent and a letter."""
    runs = _HIGH_RUN.findall(sample)
    lone = sum(_LONE_BYTES.fullmatch(run) is not None for run in runs)
    if lone < 0.5 * len(runs):
        return True
    if lone == len(runs) and _is_western(sample):
        return False
    lengths = [len(run) for run in _RUN.findall(text or "")]
    return sum(length for length in lengths if length > 1) >= 0.5 * sum(lengths)


def _decode(sample: bytes, codec: str) -> str | None:
    """The sample's text, without a last character that is cut; None if a byte is wrong."""
    try:
        return codecs.getincrementaldecoder(codec)("strict").decode(sample)
    except UnicodeDecodeError:
        return None


def _is_utf8(sample: bytes, *, right_to_wrong: int = 20) -> bool:
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(sample)
    wrong = text.count("\ufffd") - sample.count("\ufffd".encode())
    if wrong == 0:
        return True
    # Other encodings hardly ever make a valid sequence of UTF-8 by chance; twenty to one are damage in UTF-8.
    right = sum(not character.isascii() for character in text) - wrong
    return right >= right_to_wrong * wrong


def _utf16(sample: bytes) -> str | None:
    even = sample[: len(sample) & ~1]
    if not even:
        return None
    # Chinese in UTF-16 has a high bit in about every other byte; ASCII read as UTF-16 would look Chinese without this.
    if b"\0" not in even and sum(byte >= 0x80 for byte in even) < 0.15 * len(even):
        return None
    for codec in ("utf-16-le", "utf-16-be"):
        text = _decode(even, codec)
        if text and "\0" not in text and _common_share(text, ascii_counts=True) >= _COMMON_SHARE:
            return codec
    return None


def _common_share(text: str | None, *, ascii_counts: bool = False) -> float:
    """Share of common characters among the non-ASCII ones, or among all if printable ASCII counts as common."""
    if not text:
        return 0.0
    if ascii_counts:
        common = _common_characters()
        good = sum(
            character in common or (character.isprintable() and ord(character) < 0x250) or character in "\t\r\n"
            for character in text
        )
        return good / len(text)
    characters = [character for character in text if not character.isascii()]
    if not characters:
        return 0.0
    common = _common_characters()
    return sum(character in common for character in characters) / len(characters)


def _is_western(sample: bytes) -> bool:
    """Whether bytes above ASCII are few and mostly letters and signs, as accents in a Western language."""
    high = sum(byte >= 0x80 for byte in sample)
    good = 0
    for run in _RUN.findall(sample.decode("cp1252", "replace")):
        letters = sum(character.isalpha() and character not in _SIGNS for character in run)
        # Words of nothing else are Cyrillic or Greek.
        good += sum(character in _SIGNS for character in run) + (letters if letters <= _ACCENTS_IN_A_ROW else 0)
    return high <= 0.25 * len(sample) and good >= 0.8 * high


@cache
def _common_characters() -> frozenset[str]:
    """The 3,755 characters of GB 2312's first level, the 5,401 of Big5's, and the punctuation of both."""
    characters: set[str] = set()
    for codec, lead_bytes, trail_bytes in (
        ("gb2312", [0xA1, 0xA3, *range(0xB0, 0xD8)], range(0xA1, 0xFF)),
        ("big5", [0xA1, 0xA2, *range(0xA4, 0xC7)], [*range(0x40, 0x7F), *range(0xA1, 0xFF)]),
    ):
        for lead in lead_bytes:
            for trail in trail_bytes:
                characters.update(bytes([lead, trail]).decode(codec, "ignore"))
    return frozenset(characters - set(map(chr, range(128))))
