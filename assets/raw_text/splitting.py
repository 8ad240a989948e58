"""Text files become documents: a stream of bytes is decoded and cut, with the bytes that each document came from.

Memory is bounded by one document and a block. Where a document ends does not depend on how the bytes arrive.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import regex

from assets.raw_text.catalogue import DocumentSettings
from assets.raw_text.compression import ByteStream
from assets.raw_text.encoding import byte_order_mark, detect, plain_codec

BLOCK_BYTES = 1 << 20

# How far from where it starts a separator may reach (a pattern may look), and how far a pattern may look behind.
_REACH = 1 << 16
_CONTEXT = 1 << 10

_LEADING_BLANK_LINES = re.compile(r"(?:[^\S\n]*\n)+")
_ESCAPED = 0xDC00
_ESCAPE = "corpusline-escape"
_ESCAPE_WIDE = "corpusline-escape-wide"
_WIDEST_UNIT = 4
_pass_surrogates = codecs.lookup_error("surrogatepass")


class UndetectedEncodingError(ValueError):
    """No encoding fits the bytes of a file."""


class InexactEncodingError(ValueError):
    """The encoding does not map characters to bytes one to one, so that documents have no byte range."""


class Piece(NamedTuple):
    """A document cut from a file, or the place of one that cannot be read.

    Attributes:
        text: The document; with a lone surrogate for each byte that cannot be decoded; empty if it is too large.
        raw: Its bytes in the file; empty if it is too large.
        byte_start: Where it begins in the file.
        byte_end: Where it ends.
        number: 1 and the separators before it: where lines are cut, its line.
        invalid: Why it cannot be read; None for a document.
    """

    text: str
    raw: bytes
    byte_start: int
    byte_end: int
    number: int
    invalid: str | None = None


@dataclass(frozen=True)
class Separator:
    """What stands between documents.

    Attributes:
        pattern: Compiled regular expression.
        belongs_to: Which document has what matches.
        reach: Most characters from the start of a match that it covers or looks at; what it covers beyond may be cut.
        counts_lines: A match counts for as many separators as it has line ends.
    """

    pattern: re.Pattern[str] | regex.Pattern[str]
    belongs_to: Literal["neither", "next", "previous"] = "neither"
    reach: int = _REACH
    counts_lines: bool = False


# A run of empty lines at once: there may be millions.
LINE = Separator(re.compile(r"\n(?:\r?\n)*"), reach=1, counts_lines=True)
LINE_WITH_END = Separator(re.compile("\n"), belongs_to="previous", reach=1)
BLANK_LINE = Separator(re.compile(r"\n(?:[^\S\n]*\n)+"))


def separator(settings: DocumentSettings) -> Separator | None:
    """What separates documents by these settings; None if a file is one document."""
    if settings.by == "regex":
        return Separator(regex.compile(settings.pattern or ""), belongs_to="neither" if settings.drop_match else "next")
    return {"file": None, "line": LINE, "blank_line": BLANK_LINE}[settings.by]


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Codec error handler: a byte that cannot be decoded becomes a lone surrogate, and that surrogate the byte."""
    if isinstance(error, UnicodeDecodeError):
        return "".join(chr(_ESCAPED + byte) for byte in error.object[error.start : error.end]), error.end
    assert isinstance(error, UnicodeEncodeError)
    codes = [ord(character) - _ESCAPED for character in error.object[error.start : error.end]]
    if any(not 0 <= code < 256 for code in codes):
        raise error
    return bytes(codes), error.end


def _escape_wide(error: UnicodeError) -> tuple[str | bytes, int]:
    """The same for UTF-16 and UTF-32: a unit that is no character becomes a lone surrogate, which has as many bytes."""
    if isinstance(error, UnicodeDecodeError) and error.end - error.start == _WIDEST_UNIT:
        return chr(_ESCAPED), error.end
    return _pass_surrogates(error)


codecs.register_error(_ESCAPE, _escape)
codecs.register_error(_ESCAPE_WIDE, _escape_wide)


class DocumentSplitter:
    """Cuts one file.

    Attributes:
        encoding: Its encoding, once known; None while all is ASCII.
        unit: Bytes of an ASCII character in it.
        size: Bytes read so far.
    """

    def __init__(
        self,
        stream: ByteStream,
        separator: Separator | None,
        *,
        encoding: str | None,
        maximum_bytes: int,
        language: str | None = None,
        strip: bool = True,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        """Begin a file.

        Args:
            stream: Its bytes.
            separator: What stands between documents; None: the file is one document.
            encoding: Its encoding; None: detected from the first block that is not ASCII.
            maximum_bytes: Largest document.
            language: Code of the language it is thought to be in, by which ``detect`` decides.
            strip: Leave leading blank lines and trailing white space out of documents, and blank documents out.
            block_bytes: How much is read at a time.
        """
        self.encoding = encoding
        self.size = 0
        self._stream = stream
        self._separator = separator
        self._maximum_bytes = maximum_bytes
        self._language = language
        self._strip = strip
        self._block_bytes = block_bytes
        self._decoder: codecs.IncrementalDecoder | None = None
        self._codec = "ascii"
        self._errors = _ESCAPE
        self.unit = 1
        # The window: some context, then from _begin on what belongs to no piece yet. _raw begins at _begin's byte.
        self._text = ""
        self._begin = 0
        self._resume = 0
        self._raw = bytearray()
        self._raw_used = 0
        self._byte = 0
        self._number = 1
        self._padding = 0
        self._oversized_from: int | None = None

    def pieces(self) -> Iterator[Piece]:
        """The documents in the file's order.

        Raises:
            UndetectedEncodingError: If no encoding was given and none fits.
            InexactEncodingError: If the encoding maps some characters to bytes in more than one way.
        """
        while True:
            # Reading in proportion to what waits keeps the cost of appending to a long document linear.
            data = self._stream.read(max(self._block_bytes, len(self._raw) - self._raw_used))
            self._take(data)
            yield from self._cut(final=not data)
            if not data:
                break
        self.size -= self._padding
        if self._byte != self.size + self._padding:
            raise InexactEncodingError(f"{self._codec} does not map its characters to bytes one to one")

    def _take(self, data: bytes) -> None:
        if self.size == 0 and data:
            data = self._complete_head(data)
        self.size += len(data)
        if self._decoder is None and data:
            self._choose_codec(data)
        if self._begin > _CONTEXT:
            kept = self._begin - _CONTEXT
            self._text = self._text[kept:]
            self._begin -= kept
            self._resume -= kept
        del self._raw[: self._raw_used]
        self._raw_used = 0
        self._raw += data
        self._text += self._decode(data)

    def _decode(self, data: bytes) -> str:
        if self._decoder is None:
            return data.decode("ascii")
        try:
            return self._decoder.decode(data, not data)
        except UnicodeDecodeError as error:
            if data:
                raise InexactEncodingError(f"{self._codec} has no characters for some of its bytes") from None
            # UTF-16 or UTF-32 ends inside a unit. The unit is made whole, so that what holds it is cut and reported.
            units = len(error.object) // self.unit + 1
            self._padding = units * self.unit - len(error.object)
            self._raw += bytes(self._padding)
            self.size += self._padding
            return chr(_ESCAPED) * units

    def _complete_head(self, data: bytes) -> bytes:
        """The file's first bytes without the byte order mark, of which a short first read may have cut a part."""
        while len(data) < 4 and (more := self._stream.read(4 - len(data))):
            data += more
        if self.encoding:
            self._use(plain_codec(self.encoding, data))
        mark = byte_order_mark(data)
        if mark and (self.encoding is None or mark[0] == self._codec):
            if self.encoding is None:
                self._use(mark[0])
            self.size = self._byte = mark[1]
            return data[mark[1] :]
        return data

    def _choose_codec(self, data: bytes) -> None:
        codec = detect(data, self._language)
        if codec:
            self._use(codec)
        elif b"\0" in data or not data.isascii():
            raise UndetectedEncodingError(f"no encoding fits its bytes from byte {self.size - len(data)}")

    def _use(self, codec: str) -> None:
        self.encoding = self._codec = codec
        self._errors = _ESCAPE_WIDE if codec.startswith(("utf-16", "utf-32")) else _ESCAPE
        self.unit = len("a".encode(codec))
        self._decoder = codecs.getincrementaldecoder(codec)(self._errors)

    def _cut(self, *, final: bool) -> Iterator[Piece]:
        text = self._text
        if self._separator:
            belongs_to, last = self._separator.belongs_to, len(text) - (0 if final else self._separator.reach)
            for match in self._separator.pattern.finditer(text, self._resume):
                start, end = match.span()
                if start > last:
                    break
                yield from self._piece(end if belongs_to == "previous" else start)
                if belongs_to == "neither":
                    self._skip(end)
                self._resume = end
                self._number += match.group().count("\n") if self._separator.counts_lines else 1
            self._resume = max(self._resume, last + 1)
        else:
            self._resume = len(text)
        if final:
            yield from self._piece(len(text))
        elif len(self._raw) - self._raw_used > self._maximum_bytes:
            self._drop_oversized()

    def _piece(self, end: int) -> Iterator[Piece]:
        """Move on to character ``end``; what lies before it is a piece if it holds anything."""
        whole = self._text[self._begin : end]
        start = self._byte
        if self._oversized_from is not None:
            self._skip(end)
            yield self._too_large(self._oversized_from, self._byte)
            self._oversized_from = None
            return
        text = whole.rstrip() if self._strip else whole
        if not text:
            self._skip(end)
            return
        if self._strip and text[0].isspace():
            blank = _LEADING_BLANK_LINES.match(text)
            if blank:
                start += self._length(blank.group())
                text = text[blank.end() :]
        invalid = None
        if text.isascii():
            size = len(text) * self.unit
        else:
            try:
                size = len(text.encode(self._codec))
            except UnicodeEncodeError as error:
                wrong = start + self._length(text[: error.start])
                invalid = f"byte {wrong} cannot be decoded as {self.encoding}"
                size = self._length(text)
        first = self._raw_used + start - self._byte
        raw = bytes(self._raw[first : first + size])
        # Most pieces are whole, and their bytes need to be counted only once.
        self._advance(size if len(text) == len(whole) else self._length(whole), end)
        if size > self._maximum_bytes:
            yield self._too_large(start, start + size)
        else:
            yield Piece(text, raw, start, start + size, self._number, invalid)

    def _skip(self, end: int) -> None:
        self._advance(self._length(self._text[self._begin : end]), end)

    def _advance(self, size: int, end: int) -> None:
        self._raw_used += size
        self._byte += size
        self._begin = end

    def _length(self, text: str) -> int:
        if text.isascii():
            return len(text) * self.unit
        return len(text.encode(self._codec, self._errors))

    def _drop_oversized(self) -> None:
        """Forget the beginning of a document that is too large already, and go on looking for its end."""
        if self._oversized_from is None:
            known = self._text[self._begin : self._resume]
            waiting = len(self._raw) - self._raw_used
            body = known.rstrip() if self._strip else known
            blank = _LEADING_BLANK_LINES.match(body) if self._strip else None
            leading = self._length(blank.group()) if blank else 0
            # White space around a document does not count; but of a file of nothing else no more than this is held.
            if waiting <= 2 * self._maximum_bytes + _REACH and self._length(body) - leading <= self._maximum_bytes:
                return
            self._oversized_from = self._byte + leading
        self._skip(self._resume)

    def _too_large(self, start: int, end: int) -> Piece:
        return Piece("", b"", start, end, self._number, f"the document is larger than {self._maximum_bytes:,} bytes")
