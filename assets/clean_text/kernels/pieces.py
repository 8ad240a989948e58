"""Cuts texts into pieces: words and marks, as spaCy cuts languages with spaces, or along separators set before.

For a chunk between white space (spaCy's "How spaCy's tokenizer works"): what the table of special chunks knows
is cut as it says; marks come off the beginning and the end one by one; what is left is one piece if it looks like an
address of the web, and is else cut at hyphens, ellipses and the like between letters. datatrove counts English words so
(``utils/word_tokenizers.py``), and its thresholds hold for this cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from assets.clean_text.kernels.buffers import Array
from assets.clean_text.kernels.compiled import compiled
from assets.clean_text.kernels.unicode_tables import (
    CURRENCY,
    DIGIT,
    ICON,
    IDLE,
    LEADING,
    LETTER,
    LOWER,
    MARKED_END,
    PUNCTUATION,
    QUOTE,
    SPACE,
    TERMINAL,
    TRAILING,
    UPPER,
)

HAS_LETTER = np.uint8(1)
IS_WORD = np.uint8(2)
"""Flag of a piece with a character that is no mark."""

SEPARATOR = "\x1f"
"""Stands between the pieces of texts that were cut before."""

_PRIME = np.uint64(0x9E3779B97F4A7C15)
# No character's code: else a piece would have the hash it has with U+0000 before it.
_SEED = np.uint64(0xD6E8FEB86659FD93)
_MOST_SPECIAL = 20
_SHIFT = np.uint64(29)
_DOT, _PLUS, _MINUS, _SLASH, _COLON, _COMMA, _AT = (ord(mark) for mark in ".+-/:,@")


Special = tuple[Array, Array, Array]
"""How chunks of a language are cut that are not cut by their marks, as ``special_table`` gives it."""


class Pieces(NamedTuple):
    """The pieces of n texts, in order.

    Attributes:
        starts: int64 (n + 1,): text i has the pieces ``starts[i]`` to ``starts[i + 1]``.
        hashes: uint64, of each piece's characters.
        lengths: uint32, its characters.
        flags: uint8: ``HAS_LETTER``, ``IS_WORD``.
        sentences: int64 (n,): sentences of each text, counted line by line: one begins after terminal punctuation.
    """

    starts: Array
    hashes: Array
    lengths: Array
    flags: Array
    sentences: Array


def piece_hash(piece: str) -> int:
    """The hash of a piece, as in ``Pieces.hashes``."""
    value = int(_SEED)
    for character in piece:
        value = _step(value, ord(character))
    return value


def _step(value: int, codepoint: int) -> int:
    value = ((value ^ codepoint) * int(_PRIME)) & 0xFFFFFFFFFFFFFFFF
    return value ^ (value >> int(_SHIFT))


def special_table(chunks: Mapping[str, tuple[str, ...]]) -> Special:
    """An open-addressing table of chunks that are cut in a fixed way.

    Returns:
        uint64 hashes (0 is free); uint64 lengths of the pieces, 8 bits each, the first in the lowest; uint32 (128,),
        by the lowest 7 bits of a chunk's first character a bit for each length it may have.
    """
    size = 1 << (4 * len(chunks) - 1).bit_length()
    keys, cuts = np.zeros(size, np.uint64), np.zeros(size, np.uint64)
    sizes = np.zeros(128, np.uint32)
    for chunk, parts in chunks.items():
        if len(chunk) > _MOST_SPECIAL:
            raise ValueError(f"'{chunk}' is longer than {_MOST_SPECIAL} characters")
        key = piece_hash(chunk)
        slot = key & (size - 1)
        while keys[slot] and int(keys[slot]) != key:
            slot = (slot + 1) & (size - 1)
        keys[slot] = key
        cuts[slot] = sum(len(part) << (8 * place) for place, part in enumerate(parts))
        sizes[ord(chunk[0]) & 127] |= 1 << len(chunk)
    return keys, cuts, sizes


def cut(data: Array, offsets: Array, bits: Array, special: Special, *, separated: bool) -> Pieces:
    """The pieces of UTF-8 texts.

    Args:
        data: uint8, as ``buffers.utf8`` gives it.
        offsets: int64 (n + 1,).
        bits: ``unicode_tables.character_bits()``.
        special: ``special_table`` of the language.
        separated: The pieces stand between ``SEPARATOR``; only numbers and names in ASCII are cut further.
    """
    texts = len(offsets) - 1
    # No text has more pieces than bytes; memory that is not written to costs nothing.
    capacity = int(offsets[-1] - offsets[0]) if texts else 0
    longest = int(np.diff(offsets).max()) + 4 if texts else 4
    starts, sentences = np.zeros(texts + 1, np.int64), np.zeros(texts, np.int64)
    hashes, lengths, flags = np.empty(capacity, np.uint64), np.empty(capacity, np.uint32), np.empty(capacity, np.uint8)
    codes = np.empty(longest, np.uint32)
    places = [np.empty(longest, np.int32) for _ in range(3)]
    count = _cut(data, offsets, bits, *special, separated, starts, hashes, lengths, flags, sentences, codes, *places)
    return Pieces(starts, hashes[:count], lengths[:count], flags[:count], sentences)


@compiled
def _lookup(codes, begin, end, keys, cuts, sizes):  # type: ignore[no-untyped-def]
    """How a special chunk is cut; 0 if it is none."""
    if end - begin > _MOST_SPECIAL or not sizes[codes[begin] & 127] >> np.uint32(end - begin) & 1:
        return np.uint64(0)
    value = _SEED
    for at in range(begin, end):
        value = (value ^ np.uint64(codes[at])) * _PRIME
        value ^= value >> _SHIFT
    mask = len(keys) - 1
    slot = np.int64(value & np.uint64(mask))
    while keys[slot] != 0:
        if keys[slot] == value:
            return cuts[slot]
        slot = (slot + 1) & mask
    return np.uint64(0)


@compiled
def _is_key(keys, value):  # type: ignore[no-untyped-def]
    mask = len(keys) - 1
    slot = np.int64(value & np.uint64(mask))
    while keys[slot] != 0:
        if keys[slot] == value:
            return True
        slot = (slot + 1) & mask
    return False


@compiled
def _ascii_digit(code):  # type: ignore[no-untyped-def]
    return 48 <= code <= 57


@compiled
def _ascii_alphanumeric(code):  # type: ignore[no-untyped-def]
    return 48 <= code <= 57 or 65 <= code <= 90 or 97 <= code <= 122


@compiled
def _leading(codes, bits, begin, end):  # type: ignore[no-untyped-def]
    """Characters of the mark that comes off the beginning; 0 if none does."""
    code = codes[begin]
    if code == _DOT:
        dots = begin
        while dots < end and codes[dots] == _DOT:
            dots += 1
        return dots - begin if dots - begin > 1 else 0
    if code == _PLUS:
        return 0 if begin + 1 < end and _ascii_digit(codes[begin + 1]) else 1
    if bits[code] & LEADING:
        return 1
    if begin + 1 < end and codes[begin + 1] == 36 and (code == 67 or code == 65):  # C$ A$
        return 2
    if begin + 2 < end and code == 85 and codes[begin + 1] == 83 and codes[begin + 2] == 36:  # US$
        return 3
    return 0


@compiled
def _is_unit(codes, begin, end):  # type: ignore[no-untyped-def]
    """Whether these one to four ASCII characters are a unit of measure that follows a number."""
    size = end - begin
    a = codes[begin]
    if size == 1:
        return a in (109, 103, 116, 84, 71, 77, 75, 37)  # m g t T G M K %
    b = codes[begin + 1]
    if size == 2:
        if b == 109:  # km dm cm mm µm nm
            return a in (107, 100, 99, 109, 181, 110)
        if b == 103:  # kg mg µg
            return a in (107, 109, 181)
        if b == 98:  # lb mb kb gb tb
            return a in (108, 109, 107, 103, 116)
        if b == 66:  # MB KB GB TB
            return a in (77, 75, 71, 84)
        pair = a * 256 + b
        return pair in (26721, 31076, 26990, 26228, 28538, 20577)  # ha yd in ft oz Pa
    c = codes[begin + 2]
    if size == 3:
        if b == 109 and (c == 178 or c == 179):
            return a in (107, 100, 99, 109)
        return (
            (a == 109 and b == 47 and c == 115)
            or (a == 107 and b == 109 and c == 104)
            or (a == 109 and b == 112 and c == 104)
            or (a == 104 and b == 80 and c == 97)
        )
    return False


@compiled
def _trailing(codes, bits, begin, end):  # type: ignore[no-untyped-def]
    """Characters of the mark or ending that comes off the end; 0 if none does."""
    last = codes[end - 1]
    size = end - begin
    if last == _DOT:
        dots = end
        while dots > begin and codes[dots - 1] == _DOT:
            dots -= 1
        if end - dots > 1:
            return end - dots
        if size > 1:
            before = codes[end - 2]
            if bits[before] & MARKED_END:
                return 1
            if size > 2 and bits[before] & UPPER and bits[codes[end - 3]] & UPPER:
                return 1
            if size > 2 and codes[end - 3] == 176 and before in (70, 102, 67, 99, 75, 107):  # °F. °C. °K.
                return 1
        return 0
    if (last == 115 or last == 83) and size > 1 and (codes[end - 2] == 39 or codes[end - 2] == 0x2019):
        return 2
    for length in range(3, 0, -1):
        if size > length and _ascii_digit(codes[end - length - 1]) and _is_unit(codes, end - length, end):
            return length
    if bits[last] & TRAILING:
        return 1
    if size > 1 and _ascii_digit(codes[end - 2]) and (last == _PLUS or bits[last] & CURRENCY):
        return 1
    return 0


@compiled
def _inside(codes, bits, at, begin, end):  # type: ignore[no-untyped-def]
    """Characters of a mark at this place that cuts what stands around it; 0 if none does."""
    code = codes[at]
    if code == _DOT and at + 1 < end and codes[at + 1] == _DOT:
        stop = at
        while stop < end and codes[stop] == _DOT:
            stop += 1
        return stop - at
    if code == 0x2026 or bits[code] & ICON:
        return 1
    if at == begin or at + 1 >= end:
        return 0
    before, after = codes[at - 1], codes[at + 1]
    if code in (43, _MINUS, 42, 94) and _ascii_digit(before) and (_ascii_digit(after) or after == _MINUS):
        return 1
    if code == _DOT:
        return 1 if bits[before] & (LOWER | QUOTE) and bits[after] & (UPPER | QUOTE) else 0
    if code == _COMMA:
        return 1 if bits[before] & LETTER and bits[after] & LETTER else 0
    if not (bits[before] & LETTER or _ascii_digit(before)):
        return 0
    if code in (_COLON, 60, 62, 61, _SLASH):
        return 1 if bits[after] & LETTER else 0
    if code in (_MINUS, 0x2013, 0x2014, 126):
        stop = at + 1
        while stop < end and stop - at < 3 and codes[stop] == code and (code == _MINUS or code == 0x2014):
            stop += 1
        return stop - at if stop < end and bits[codes[stop]] & LETTER else 0
    return 0


@compiled
def _is_address(codes, bits, begin, end):  # type: ignore[no-untyped-def]
    """Whether a chunk looks like an address: perhaps a scheme, perhaps a user and @, a host, perhaps a port and a path.

    Numeric hosts are left out: nothing is cut in them.
    """
    dots = 0
    user = begin
    for place in range(begin, end):
        dots += codes[place] == _DOT
        if codes[place] == _AT:
            user = place
    if not dots:
        return False
    # The user may have an @ too; no host has, so that all attempts together look at each character once.
    for place in range(user, begin, -1):
        if codes[place] == _AT and _is_host(codes, bits, place + 1, end):
            return True
    scheme = begin
    while scheme < end and (bits[codes[scheme]] & (LETTER | DIGIT) or codes[scheme] in (43, _DOT, _MINUS, 95)):
        scheme += 1
    slashes = scheme + 2 < end and codes[scheme + 1] == _SLASH and codes[scheme + 2] == _SLASH
    if scheme - begin > 1 and slashes and codes[scheme] == _COLON:
        return _is_host(codes, bits, scheme + 3, end)
    return _is_host(codes, bits, begin, end)


@compiled
def _is_host(codes, bits, begin, end):  # type: ignore[no-untyped-def]
    """Labels joined by dots, the last of lower-case letters, then perhaps a port, then nothing or a path."""
    at = begin
    label = begin
    dots = 0
    while at < end:
        code = codes[at]
        if code == _DOT:
            # Neither - nor _ stands at the ends of a label, which has 64 characters at most.
            if at == label or at - label > 64 or codes[label] in (_MINUS, 95) or codes[at - 1] in (_MINUS, 95):
                return False
            dots += 1
            label = at + 1
        elif not (_ascii_alphanumeric(code) or 161 <= code <= 0xFFFF or code in (_MINUS, 95)):
            break
        at += 1
    if not dots or not 2 <= at - label <= 63:
        return False
    for place in range(label, at):
        if not bits[codes[place]] & LOWER:
            return False
    if at < end and codes[at] == _COLON:
        port = at + 1
        at = port
        while at < end and _ascii_digit(codes[at]):
            at += 1
        if not 2 <= at - port <= 5:
            return False
    return at == end or codes[at] in (_SLASH, 63, 35)


@compiled
def _cut(  # type: ignore[no-untyped-def]
    data,
    offsets,
    bits,
    keys,
    cuts,
    sizes,
    separated,
    starts,
    hashes,
    lengths,
    flags,
    sentences,
    codes,
    begins,
    ends,
    tails,
):
    """Fill the columns of ``Pieces``; returns how many pieces there are.

    ``codes`` holds the characters of one chunk between white space; ``begins`` and ``ends`` are the places of its
    pieces in it, ``tails`` the sizes of those that come off the end, last piece first.
    """
    texts = len(offsets) - 1
    count = 0
    for text in range(texts):
        at, stop = offsets[text], offsets[text + 1]
        in_line = False
        ended = False
        while at < stop:
            # A chunk: characters up to white space, or up to a separator.
            size = 0
            others = 0
            last = np.uint32(0)
            chunk = _SEED
            body = _SEED
            newline = False
            while at < stop:
                byte = data[at]
                if byte < 128:
                    code = np.uint32(byte)
                    at += 1
                elif byte < 224:
                    code = np.uint32(((byte & 31) << 6) | (data[at + 1] & 63))
                    at += 2
                elif byte < 240:
                    code = np.uint32(((byte & 15) << 12) | ((data[at + 1] & 63) << 6) | (data[at + 2] & 63))
                    at += 3
                else:
                    high = ((byte & 7) << 18) | ((data[at + 1] & 63) << 12)
                    code = np.uint32(high | ((data[at + 2] & 63) << 6) | (data[at + 3] & 63))
                    at += 4
                kind = bits[code]
                if code == 31 and separated:
                    break
                if kind & SPACE:
                    newline = code == 10
                    if not separated or newline:
                        break
                    continue
                codes[size] = code
                body = chunk
                chunk = (chunk ^ np.uint64(code)) * _PRIME
                chunk ^= chunk >> _SHIFT
                if not kind & LETTER:
                    others += 1
                last = code
                size += 1
            found = 0
            if size:
                # Mostly letters, or letters and a mark, unless it is something like "cannot" or "Mr.".
                word = size
                if others == 0:
                    body = chunk
                elif others == 1 and not bits[last] & LETTER and size > 2 and not separated:
                    ends_word = bits[last] & TRAILING or (last == _DOT and bits[codes[size - 2]] & MARKED_END)
                    word = size - 1 if ends_word else 0
                else:
                    word = 0
                known = word and not separated and word <= _MOST_SPECIAL
                if known and (_is_key(keys, body) or (word < size and _is_key(keys, chunk))):
                    word = 0
                if word:
                    hashes[count] = body
                    lengths[count] = word
                    flags[count] = HAS_LETTER | IS_WORD
                    count += 1
                    if not in_line or ended:
                        sentences[text] += 1
                    in_line = True
                    ended = False
                    begins[0] = word
                    ends[0] = size
                    found = 1 if word < size else 0
                elif separated:
                    found = _cut_latin(codes, size, begins, ends)
                else:
                    found = _cut_chunk(codes, bits, size, keys, cuts, sizes, begins, ends, tails)
            for piece in range(found):
                begin, end = begins[piece], ends[piece]
                value = _SEED
                kinds = np.uint32(0)
                busy = False
                marks = True
                for place in range(begin, end):
                    code = codes[place]
                    value = (value ^ np.uint64(code)) * _PRIME
                    value ^= value >> _SHIFT
                    kind = bits[code]
                    kinds |= kind
                    busy |= not kind & IDLE
                    marks &= kind & PUNCTUATION != 0
                hashes[count] = value
                lengths[count] = end - begin
                flag = np.uint8(0)
                if kinds & LETTER:
                    flag |= HAS_LETTER
                if busy:
                    flag |= IS_WORD
                flags[count] = flag
                count += 1
                if not in_line:
                    in_line = True
                    sentences[text] += 1
                    ended = False
                if end - begin == 1 and bits[codes[begin]] & TERMINAL:
                    ended = True
                elif ended and not marks:
                    sentences[text] += 1
                    ended = False
            if newline:
                in_line = False
                ended = False
        starts[text + 1] = count
    return count


@compiled
def _place(begins, ends, found, begin, end, parts):  # type: ignore[no-untyped-def]
    """Append the pieces of a chunk: as a special one is cut, or whole."""
    if parts == 0:
        begins[found] = begin
        ends[found] = end
        found += 1
    left = parts
    at = begin
    while left:
        size = np.int64(left & np.uint64(255))
        begins[found] = at
        ends[found] = at + size
        at += size
        found += 1
        left >>= np.uint64(8)
    return found


@compiled
def _cut_chunk(codes, bits, size, keys, cuts, sizes, begins, ends, tails):  # type: ignore[no-untyped-def]
    """The pieces of a chunk; returns how many, their places are in ``begins`` and ``ends``."""
    found = 0
    begin, end = 0, size
    tailing = 0
    parts = _lookup(codes, begin, end, keys, cuts, sizes)
    if parts:
        return _place(begins, ends, found, begin, end, parts)
    while begin < end:
        head = _leading(codes, bits, begin, end)
        if head:
            if begin + head < end and _lookup(codes, begin + head, end, keys, cuts, sizes):
                found = _place(begins, ends, found, begin, begin + head, np.uint64(0))
                begin += head
                break
            if begin + head == end:
                found = _place(begins, ends, found, begin, end, np.uint64(0))
                begin = end
                break
        tail = _trailing(codes, bits, begin + head, end)
        if tail and begin < end - tail and _lookup(codes, begin, end - tail, keys, cuts, sizes):
            tails[tailing] = tail
            tailing += 1
            end -= tail
            break
        if head:
            found = _place(begins, ends, found, begin, begin + head, np.uint64(0))
            begin += head
        if tail:
            tails[tailing] = tail
            tailing += 1
            end -= tail
        if not head and not tail:
            break
        if begin < end and _lookup(codes, begin, end, keys, cuts, sizes):
            break
    if begin < end:
        parts = _lookup(codes, begin, end, keys, cuts, sizes)
        if parts or _is_address(codes, bits, begin, end):
            found = _place(begins, ends, found, begin, end, parts)
        else:
            from_ = begin
            at = begin
            while at < end:
                mark = _inside(codes, bits, at, begin, end)
                if not mark or at == begin:
                    at += max(mark, 1)
                    continue
                if at > from_:
                    found = _place(begins, ends, found, from_, at, np.uint64(0))
                found = _place(begins, ends, found, at, at + mark, np.uint64(0))
                at += mark
                from_ = at
            if from_ < end:
                found = _place(begins, ends, found, from_, end, np.uint64(0))
    for piece in range(tailing - 1, -1, -1):
        found = _place(begins, ends, found, end, end + tails[piece], np.uint64(0))
        end += tails[piece]
    return _merged(codes, bits, keys, cuts, sizes, begins, ends, found)


@compiled
def _cut_latin(codes, size, begins, ends):  # type: ignore[no-untyped-def]
    """Cut a piece of ASCII as jieba does and its Rust twin does not: apt - get, 8.1 . 3, but 3.14 and 50%."""
    for place in range(size):
        if codes[place] >= 128:
            begins[0] = 0
            ends[0] = size
            return 1
    found = 0
    at = 0
    while at < size:
        begin = at
        if _ascii_alphanumeric(codes[at]):
            while at < size and _ascii_alphanumeric(codes[at]):
                at += 1
            if at + 1 < size and codes[at] == _DOT and _ascii_digit(codes[at + 1]):
                at += 1
                while at < size and _ascii_digit(codes[at]):
                    at += 1
            if at < size and codes[at] == 37:
                at += 1
        else:
            while at < size and not _ascii_alphanumeric(codes[at]):
                at += 1
        begins[found] = begin
        ends[found] = at
        found += 1
    return found


@compiled
def _merged(codes, bits, keys, cuts, sizes, begins, ends, found):  # type: ignore[no-untyped-def]
    """Join pieces side by side that together are one special piece, such as ``):``; returns how many stay."""
    kept = 0
    piece = 0
    while piece < found:
        begin = begins[piece]
        last = piece
        if piece + 1 < found and (ends[piece] - begin == 1 or not bits[codes[begin]] & LETTER):
            for stop in range(min(piece + 3, found - 1), piece, -1):
                parts = _lookup(codes, begin, ends[stop], keys, cuts, sizes)
                if parts and parts < np.uint64(256):
                    last = stop
                    break
        begins[kept] = begin
        ends[kept] = ends[last]
        kept += 1
        piece = last + 1
    return kept
