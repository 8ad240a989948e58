from __future__ import annotations

import dataclasses
import io
import itertools
import re
from typing import Any

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.raw_text.catalogue import DocumentSettings
from assets.raw_text.splitting import (
    BLANK_LINE,
    LINE,
    LINE_WITH_END,
    DocumentSplitter,
    InexactEncodingError,
    Piece,
    Separator,
    UndetectedEncodingError,
    separator,
)
from tests.assets.raw_text.samples import CHINESE, ENGLISH, FRENCH, TRADITIONAL

ENCODINGS = ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "gb18030", "gbk", "big5", "cp1252", "latin-1"]
SEPARATORS = [
    None,
    LINE,
    LINE_WITH_END,
    BLANK_LINE,
    Separator(regex.compile(r"(?m)^#+ ?")),
    Separator(regex.compile(r"(?m)^#+ ?"), belongs_to="next"),
    Separator(regex.compile(r"(?=好)"), belongs_to="next"),
    Separator(regex.compile(r"(?<=。)\s*")),
]
# What separators and stripping are about, and characters of one to four bytes.
texts = st.text(st.sampled_from("ab \n\n\n\r\t#\u3000\u00a0\x85é€好。繁𠀀𝄞\0"), max_size=60)


class Trickle(io.RawIOBase):
    """Bytes that come in parts of the given sizes, over and over."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._data = io.BytesIO(data)
        self._sizes = itertools.cycle(sizes)

    def read(self, size: int = -1, /) -> bytes:
        return self._data.read(min(size, next(self._sizes)))


def cut(
    data: bytes,
    kind: Separator | None,
    *,
    encoding: str | None = "utf-8",
    sizes: list[int] | None = None,
    maximum_bytes: int = 1 << 20,
    strip: bool = True,
    **more: Any,
) -> list[Piece]:
    stream = Trickle(data, sizes) if sizes else io.BytesIO(data)
    splitter = DocumentSplitter(stream, kind, encoding=encoding, maximum_bytes=maximum_bytes, strip=strip, **more)
    pieces = list(splitter.pieces())
    assert splitter.size == len(data)
    return pieces


def shown(pieces: list[Piece]) -> list[tuple[str, int, int, int]]:
    assert not any(piece.invalid for piece in pieces)
    return [(piece.text, piece.byte_start, piece.byte_end, piece.number) for piece in pieces]


def by(kind: str, **more: Any) -> Separator | None:
    return separator(DocumentSettings.parse({"by": kind} | more, origin="test"))


def reference(text: str, kind: Separator | None) -> list[str]:
    """What the texts should be, from the whole text at once."""
    borders = [(0, 0)]
    for match in kind.pattern.finditer(text) if kind else []:
        start, end = match.span()
        borders.append({"neither": (start, end), "next": (start, start), "previous": (end, end)}[kind.belongs_to])
    borders.append((len(text), len(text)))
    parts = [text[start:end] for (_, start), (end, _) in itertools.pairwise(borders)]
    stripped = [re.sub(r"\A(?:[^\S\n]*\n)+", "", part.rstrip()) for part in parts]
    return [part for part in stripped if part]


def test_a_file_is_a_document() -> None:
    data = "\n \n  缩进的诗句\n\n第二行 \n\n".encode()
    assert shown(cut(data, by("file"))) == [("  缩进的诗句\n\n第二行", 3, 31, 1)]


def test_lines() -> None:
    data = "one\n\n \t\n  two \r\n三\u3000\nlast".encode()
    assert shown(cut(data, by("line"))) == [
        ("one", 0, 3, 1),
        ("  two", 8, 13, 4),
        ("三", 16, 19, 5),
        ("last", 23, 27, 6),
    ]


def test_lines_as_they_are() -> None:
    data = b" a,b \r\n\n1"
    assert shown(cut(data, LINE_WITH_END, strip=False)) == [(" a,b \r\n", 0, 7, 1), ("\n", 7, 8, 2), ("1", 8, 9, 3)]


def test_blank_lines() -> None:
    data = b"\n\na\nb\n\n  c\n \t\r\n\nd\n"
    assert shown(cut(data, by("blank_line"))) == [("a\nb", 2, 5, 2), ("  c", 7, 10, 3), ("d", 16, 17, 4)]


def test_a_document_starts_where_the_pattern_matches() -> None:
    data = "前言\n第一章\n雨\n第二章\n风\n".encode()
    pieces = cut(data, by("regex", pattern=r"(?m)^第\p{Han}章"))
    assert shown(pieces) == [("前言", 0, 6, 1), ("第一章\n雨", 7, 20, 2), ("第二章\n风", 21, 34, 3)]


def test_what_matches_may_belong_to_neither() -> None:
    data = "前言\n第一章\n雨\n第二章\n风\n".encode()
    pieces = cut(data, by("regex", pattern=r"(?m)^第\p{Han}章\n", drop_match=True))
    assert [piece.text for piece in pieces] == ["前言", "雨", "风"]
    assert [data[piece.byte_start : piece.byte_end].decode() for piece in pieces] == ["前言", "雨", "风"]


def test_a_file_of_nothing_has_no_document() -> None:
    for data in (b"", b"\n\n", b" \t\r\n", "\u3000\n".encode()):
        for kind in SEPARATORS:
            assert cut(data, kind) == []


@settings(max_examples=300, deadline=None)
@given(text=texts, encoding=st.sampled_from(ENCODINGS), kind=st.sampled_from(SEPARATORS))
def test_byte_ranges_decode_to_the_texts(text: str, encoding: str, kind: Separator | None) -> None:
    data = text.encode(encoding, "ignore")
    pieces = cut(data, kind, encoding=encoding)
    for piece in pieces:
        assert piece.invalid is None
        assert piece.raw == data[piece.byte_start : piece.byte_end]
        assert piece.raw.decode(encoding) == piece.text
    assert [piece.text for piece in pieces] == reference(data.decode(encoding), kind)
    assert all(first.byte_end <= second.byte_start for first, second in itertools.pairwise(pieces))


@settings(max_examples=300, deadline=None)
@given(
    text=texts,
    encoding=st.sampled_from(ENCODINGS),
    kind=st.sampled_from(SEPARATORS),
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    strip=st.booleans(),
)
def test_documents_do_not_depend_on_how_the_bytes_arrive(
    text: str, encoding: str, kind: Separator | None, sizes: list[int], strip: bool
) -> None:
    data = text.encode(encoding, "ignore")
    whole = cut(data, kind, encoding=encoding, strip=strip)
    if kind:
        longest = max((len(match.group()) for match in kind.pattern.finditer(data.decode(encoding))), default=0)
        kind = dataclasses.replace(kind, reach=longest + 1)
    assert cut(data, kind, encoding=encoding, strip=strip, sizes=sizes) == whole


@settings(max_examples=300, deadline=None)
@given(
    data=st.binary(max_size=60) | st.lists(st.sampled_from([*"好é€a\n".encode(), 0xFF, 0xD8, 0x81, 0x30])).map(bytes),
    encoding=st.sampled_from(ENCODINGS[:3] + ENCODINGS[4:]),
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4),
)
def test_wrong_bytes_are_found_wherever_the_blocks_end(data: bytes, encoding: str, sizes: list[int]) -> None:
    pieces = cut(data, LINE, encoding=encoding)
    # The text of what is invalid is never used.
    known = [piece._replace(text="") if piece.invalid else piece for piece in pieces]
    parts = cut(data, LINE, encoding=encoding, sizes=sizes)
    assert [piece._replace(text="") if piece.invalid else piece for piece in parts] == known
    for piece in pieces:
        if piece.invalid is None:
            assert data[piece.byte_start : piece.byte_end].decode(encoding) == piece.text
        else:
            with pytest.raises(UnicodeDecodeError):
                data[piece.byte_start : piece.byte_end].decode(encoding)


@settings(max_examples=100, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 1500), max_size=4),
    sizes=st.lists(st.integers(10, 900), min_size=1, max_size=3),
    mark=st.sampled_from(["\n", "#", None]),
)
def test_too_large_is_too_large_wherever_the_blocks_end(lengths: list[int], sizes: list[int], mark: str | None) -> None:
    data = (mark or "-").join(" \r\n" + "好" * (length // 3) + "x" * (length % 3) for length in lengths).encode()
    kind = Separator(re.compile(mark), reach=1) if mark else None
    # In one block the documents are cut before they are measured, in many small ones they are given up early.
    found = [
        [(piece.text, piece.byte_start, piece.number, piece.invalid) for piece in pieces]
        for pieces in (cut(data, kind, maximum_bytes=1024), cut(data, kind, maximum_bytes=1024, sizes=sizes))
    ]
    assert found[0] == found[1]
    if mark:
        assert [text == "" for text, *_ in found[0]] == [length > 1024 for length in lengths if length]
        assert all(reason == "the document is larger than 1,024 bytes" for text, _, _, reason in found[0] if not text)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (CHINESE, "utf-8"),
        (CHINESE, "gb18030"),
        (CHINESE, "utf-16-be"),
        (TRADITIONAL, "big5"),
        (FRENCH, "cp1252"),
        (ENGLISH, "utf-16-le"),
    ],
)
def test_the_encoding_is_found_after_much_ascii(text: str, encoding: str) -> None:
    content = text if encoding.startswith("utf-16") else "# plain words\n" * 50 + text
    data = content.encode(encoding)
    splitter = DocumentSplitter(io.BytesIO(data), LINE, encoding=None, maximum_bytes=1 << 20, block_bytes=400)
    pieces = list(splitter.pieces())
    assert splitter.encoding == encoding
    assert [piece.text for piece in pieces] == [line.rstrip() for line in content.split("\n") if line]
    assert all(data[piece.byte_start : piece.byte_end].decode(encoding) == piece.text for piece in pieces)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("given_encoding", [True, False])
@pytest.mark.parametrize("sizes", [[1], [2], [1 << 16]])
def test_the_mark_belongs_to_no_document(encoding: str, given_encoding: bool, sizes: list[int]) -> None:
    data = "好\nb".encode(encoding)
    pieces = cut(data, LINE, encoding=encoding if given_encoding else None, sizes=sizes)
    assert [piece.text for piece in pieces] == ["好", "b"]
    assert pieces[0].byte_start == len("".encode(encoding))
    assert pieces[-1].byte_end == len(data)


def test_a_mark_of_another_encoding_is_text() -> None:
    data = b"\xef\xbb\xbfa"
    assert [piece.text for piece in cut(data, LINE, encoding="latin-1")] == ["ï»¿a"]


def test_ascii_needs_no_encoding() -> None:
    splitter = DocumentSplitter(io.BytesIO(b"a\nb"), LINE, encoding=None, maximum_bytes=1 << 20)
    assert [piece.text for piece in splitter.pieces()] == ["a", "b"]
    assert (splitter.encoding, splitter.unit) == (None, 1)


def test_wrong_bytes_name_their_place() -> None:
    good, bad, last = cut("好\n".encode() + b"b\xe5\xa5\nc", LINE)
    assert (good.invalid, last.invalid) == (None, None)
    assert (last.text, last.byte_start, last.number) == ("c", 8, 3)
    assert (bad.invalid, bad.byte_start, bad.byte_end, bad.number) == ("byte 5 cannot be decoded as utf-8", 4, 7, 2)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_a_file_that_ends_inside_a_character(encoding: str) -> None:
    data = "好\nbc".encode(encoding)
    good, bad = cut(data[:-1], LINE, encoding=encoding)
    unit = len("a".encode(encoding))
    assert (good.text, good.invalid) == ("好", None)
    assert (bad.byte_start, bad.invalid) == (2 * unit, f"byte {3 * unit} cannot be decoded as {encoding}")


def test_a_file_that_ends_inside_a_surrogate_pair() -> None:
    data = "好\n𝄞".encode("utf-16-le")
    for length, end in ((5, 6), (6, 6), (7, 8)):
        good, bad = cut(data[:length], LINE, encoding="utf-16-le")
        assert (good.text, bad.byte_start, bad.byte_end) == ("好", 4, end)
        assert bad.invalid == "byte 4 cannot be decoded as utf-16-le"


def test_what_is_no_character_in_utf32() -> None:
    wrong = [(0x110000).to_bytes(4, "little"), b"\xff" * 4, (0xD800).to_bytes(4, "little")]
    lines = ["好".encode("utf-32-le"), *("a".encode("utf-32-le") + unit for unit in wrong), "b".encode("utf-32-le")]
    good, *bad, last = cut("\n".encode("utf-32-le").join(lines), LINE, encoding="utf-32-le")
    assert (good.text, last.text, last.invalid) == ("好", "b", None)
    assert [(piece.byte_start, piece.invalid) for piece in bad] == [
        (start, f"byte {start + 4} cannot be decoded as utf-32-le") for start in (8, 20, 32)
    ]


def test_half_a_surrogate_pair() -> None:
    data = "a\n".encode("utf-16-le") + b"\x34\xd8" + "b\n𝄞".encode("utf-16-le")
    first, bad, last = cut(data, LINE, encoding="utf-16-le")
    assert (first.text, last.text, last.byte_end) == ("a", "𝄞", len(data))
    assert bad.invalid == "byte 4 cannot be decoded as utf-16-le"


@pytest.mark.parametrize("data", [bytes(range(128, 256)) * 20, bytes(3000), b"\x89PNG\r\n\x1a\n" + bytes(range(256))])
def test_no_encoding_fits(data: bytes) -> None:
    with pytest.raises(UndetectedEncodingError, match="no encoding fits its bytes from byte 0"):
        cut(data, LINE, encoding=None)


@pytest.mark.parametrize(("encoding", "data"), [("utf-7", b"a+AGI-b"), ("iso2022_jp", b"\x1b(B\x1b(Babc")])
def test_an_encoding_without_byte_ranges_is_refused(encoding: str, data: bytes) -> None:
    with pytest.raises(InexactEncodingError, match="does not map its characters to bytes one to one"):
        cut(data, LINE, encoding=encoding)


def test_a_long_file_in_blocks_of_any_size() -> None:
    """Longer than a separator may reach, so that documents end before the file does."""
    paragraphs = [f"段落 {number}。" + "风雨" * (number % 50) + "\n" * (number % 3) for number in range(3000)]
    data = "\n\n".join(paragraphs).encode()
    assert len(data.decode()) > 2 * (1 << 16)
    for kind in (BLANK_LINE, by("regex", pattern=r"(?m)^段落 \d+0。"), None):
        whole = cut(data, kind)
        assert cut(data, kind, block_bytes=5000) == whole
        assert cut(data, kind, sizes=[9973, 1, 50_000]) == whole
        assert [piece.text for piece in whole] == reference(data.decode(), kind)


def test_memory_is_bounded_by_a_document() -> None:
    class Endless(io.RawIOBase):
        """Sixty-four mebibytes of one line."""

        left = 64 << 20
        most = 0

        def read(self, size: int = -1, /) -> bytes:
            self.most = max(self.most, size)
            size = min(size, self.left)
            self.left -= size
            return b"x" * size

    stream = Endless()
    splitter = DocumentSplitter(stream, LINE, encoding=None, maximum_bytes=1 << 16)
    (piece,) = splitter.pieces()
    assert (piece.text, piece.raw, piece.byte_end) == ("", b"", 64 << 20)
    assert stream.most <= 2 << 20
