"""Which encoding a text file is in: told by its byte order mark or by what its first bytes would say in each."""

from __future__ import annotations

import codecs
import re
from functools import cache

import charset_normalizer

from assets.raw_text.alphabets import FREQUENT_HANGUL, SIGNS, alphabet

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
# Of a Japanese text about half is kana; Chinese that is read as Japanese has hardly any.
_KANA_SHARE = 0.2
_FREQUENT_HANGUL_SHARE = 0.4
# Fewer characters that look Korean or Japanese may be so by chance.
_FEWEST = 4
_JOINED_SHARE = 0.5
_GUESS_BYTES = 1 << 16
_GUESS_CONTEXT_BYTES = 1 << 10
_ACCENTS_IN_A_ROW = 3

_RUN = re.compile(r"[^\x00-\x7f]+")
_JOINED_RUN = re.compile(r"(?<=[A-Za-z])[^\x00-\x7f]+|[^\x00-\x7f]+(?=[A-Za-z])")
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


def detect(sample: bytes, language: str | None = None) -> str | None:
    """Name the codec of a text from a piece of it that begins at a character.

    Known are UTF-8, UTF-16 and UTF-32 (with a mark at the beginning, UTF-16 also without), GB18030 (with GBK and
    GB2312), Big5 (with Microsoft's and Hong Kong's additions), EUC-JP, Shift-JIS, EUC-KR (with Microsoft's additions)
    and Windows-1252 (with Latin-1); those of ``alphabets`` where the language is given; what is none of these is left
    to charset-normalizer. A text that is UTF-8 but for a few damaged bytes is UTF-8.

    Args:
        sample: Some bytes; the last character may be cut.
        language: Code of the language it is thought to be in, which decides where the bytes leave a choice.

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
    half_utf8 = _is_utf8(sample, right_to_wrong=1)
    found = (None if half_utf8 else _of_language(sample, language)) or _east_asian(sample, language)
    if found:
        return found
    if half_utf8:
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


def _of_language(sample: bytes, language: str | None) -> str | None:
    """The encoding of the language's own in which the sample is made of the language's letters, if there is one."""
    known = alphabet(language)
    if known is None:
        return None
    best, most = None, (0.0, 0.0)
    for codec in known.codecs:
        text = _decode(sample, codec)
        if text is None or _share(text, known.letters | SIGNS) < _COMMON_SHARE:
            continue
        if not known.latin and _joined_share(text) > _JOINED_SHARE:
            continue
        letters = _share(text, known.frequent), _share(text, known.letters)
        if letters > most:
            best, most = codec, letters
    return best


def _east_asian(sample: bytes, language: str | None) -> str | None:
    """The encoding of Chinese, Japanese or Korean that the sample is in, if it is in one."""
    language = (language or "").partition("-")[0]
    korean = _decode(sample, "cp949")
    if (
        _share(_letters(korean), _hangul()) >= _COMMON_SHARE
        and (language == "ko" or _has(_letters(korean), FREQUENT_HANGUL, _FREQUENT_HANGUL_SHARE))
        and _is_double_byte(korean, sample)
    ):
        return "cp949"
    japanese = {codec: _decode(sample, codec) for codec in ("euc_jp", "cp932")}
    for codec, text in japanese.items():
        if (
            _share(text, _japanese_characters()) >= _COMMON_SHARE
            and (language == "ja" or _has(text, _kana(), _KANA_SHARE))
            and _is_double_byte(text, sample)
        ):
            return codec
    chinese = {codec: _decode(sample, codec) for codec in ("gb18030", "big5")}
    scores = {codec: _share(text, _common_characters()) for codec, text in chinese.items()}
    best = max(scores, key=lambda codec: scores[codec])
    if scores[best] < _COMMON_SHARE or not _is_double_byte(chinese[best], sample):
        return None
    # cp950 and Big5-HKSCS assign what Big5 leaves free; of the three the first that reads every byte is taken.
    variants = ("big5", "cp950", "big5hkscs") if best == "big5" else (best,)
    return next((codec for codec in variants if _decode(sample, codec) is not None), best)


def _has(text: str | None, characters: frozenset[str], share: float) -> bool:
    """Whether several of these characters, and such a share of the ones that are not ASCII, are in the text."""
    count = sum(character in characters for character in text or "")
    return count >= _FEWEST and _share(text, characters) >= share


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
        if text and "\0" not in text and _readable_share(text) >= _COMMON_SHARE:
            return codec
    return None


def _readable_share(text: str) -> float:
    """Share of common Chinese characters and of letters and signs of Western languages."""
    common = _common_characters()
    good = sum(
        character in common or (character.isprintable() and ord(character) < 0x250) or character in "\t\r\n"
        for character in text
    )
    return good / len(text)


def _share(text: str | None, characters: frozenset[str]) -> float:
    """Share of these characters among the ones that are not ASCII; 0 if there is none."""
    found = [character for character in text or "" if not character.isascii()]
    return sum(character in characters for character in found) / len(found) if found else 0.0


def _joined_share(text: str) -> float:
    """Share of runs of characters that are not ASCII which touch an ASCII letter, as accents do in a word."""
    return len(_JOINED_RUN.findall(text)) / len(_RUN.findall(text))


def _letters(text: str | None) -> str:
    return "".join(filter(str.isalpha, text or ""))


def _is_western(sample: bytes) -> bool:
    """Whether bytes above ASCII are few and mostly letters and signs, as accents in a Western language."""
    high = sum(byte >= 0x80 for byte in sample)
    good = 0
    for run in _RUN.findall(sample.decode("cp1252", "replace")):
        letters = sum(character.isalpha() and character not in SIGNS for character in run)
        # Words of nothing else are Cyrillic or Greek.
        good += sum(character in SIGNS for character in run) + (letters if letters <= _ACCENTS_IN_A_ROW else 0)
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


@cache
def _hangul() -> frozenset[str]:
    """The 2,350 syllables of KS X 1001, and the others of Unicode, which Microsoft added."""
    return frozenset(map(chr, range(0xAC00, 0xD7A4)))


@cache
def _kana() -> frozenset[str]:
    return frozenset(map(chr, [*range(0x3041, 0x3097), *range(0x30A1, 0x30FD)]))


@cache
def _japanese_characters() -> frozenset[str]:
    """Kana, the 2,965 characters of JIS X 0208's first level, and its punctuation."""
    rows = [*range(0xA1, 0xA4), *range(0xB0, 0xD0)]
    characters = {bytes([row, cell]).decode("euc_jp", "ignore") for row in rows for cell in range(0xA1, 0xFF)}
    return frozenset(characters - {""}) | _kana()
