from __future__ import annotations

import io

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.raw_text.compression import UnpackedStream, compression, strip_compression
from assets.raw_text.errors import RawTextError
from tests.assets.raw_text.samples import CHINESE, COMPRESSIONS

ENDINGS = sorted(COMPRESSIONS)
MEBIBYTE = 1 << 20


def opened(
    packed: bytes, ending: str | None, *, maximum_bytes: int = 1 << 40, maximum_ratio: float = 200.0
) -> UnpackedStream:
    return UnpackedStream(
        io.BytesIO(packed),
        ending,
        where="source 's', file f",
        maximum_bytes=maximum_bytes,
        maximum_ratio=maximum_ratio,
    )


def read_all(stream: UnpackedStream, size: int = MEBIBYTE) -> bytes:
    parts = []
    while part := stream.read(size):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize(
    ("name", "ending", "rest"),
    [
        ("a.txt.gz", ".gz", "a.txt"),
        ("A.TXT.GZ", ".gz", "A.TXT"),
        ("b/a.jsonl.zst", ".zst", "b/a.jsonl"),
        ("a.bz2", ".bz2", "a"),
        ("a.xz", ".xz", "a"),
        ("a.txt", None, "a.txt"),
        ("a.gz/b", None, "a.gz/b"),
        ("", None, ""),
    ],
)
def test_the_ending_names_the_compression(name: str, ending: str | None, rest: str) -> None:
    assert (compression(name), strip_compression(name)) == (ending, rest)


@settings(deadline=None)
@given(data=st.binary(max_size=3000), ending=st.sampled_from([*ENDINGS, None]), size=st.integers(1, 4000))
def test_unpacks_to_what_was_packed(data: bytes, ending: str | None, size: int) -> None:
    packed = COMPRESSIONS[ending](data) if ending else data
    stream = opened(packed, ending)
    assert read_all(stream, size) == data
    assert stream.unpacked == len(data)
    assert stream.read(1) == b""


@pytest.mark.parametrize("ending", ENDINGS)
def test_parts_that_were_packed_alone_follow_each_other(ending: str) -> None:
    parts = [b"one\n", b"", b"two\n", CHINESE.encode()]
    assert read_all(opened(b"".join(map(COMPRESSIONS[ending], parts)), ending), 7) == b"".join(parts)


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_part_of_a_file_is_taken_for_the_whole(ending: str) -> None:
    packed = COMPRESSIONS[ending](CHINESE.encode())
    for length in range(1, len(packed)):
        with pytest.raises(RawTextError, match=r"^source 's', file f is truncated or damaged \(.+\); fetch or pack it"):
            read_all(opened(packed[:length], ending))


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_wrong_byte_never_changes_the_text(ending: str) -> None:
    data = CHINESE.encode()
    packed = bytearray(COMPRESSIONS[ending](data))
    refused = 0
    for position in range(len(packed)):
        packed[position] ^= 0x10
        try:
            assert read_all(opened(bytes(packed), ending)) == data
        except RawTextError:
            refused += 1
        packed[position] ^= 0x10
    assert refused > 0.9 * len(packed)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_damaged_part_is_not_taken_for_the_end_of_the_file(ending: str) -> None:
    first, second = b"one\n", CHINESE.encode()
    packed = bytearray(COMPRESSIONS[ending](first) + COMPRESSIONS[ending](second))
    for position in range(len(COMPRESSIONS[ending](first)), len(packed)):
        packed[position] ^= 0xFF
        try:
            assert read_all(opened(bytes(packed), ending)) == first + second
        except RawTextError as error:
            assert "truncated or damaged" in str(error)
        packed[position] ^= 0xFF


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_no_part_is_not_passed_over(ending: str) -> None:
    with pytest.raises(RawTextError, match="truncated or damaged"):
        read_all(opened(COMPRESSIONS[ending](b"one\n") + b"something else, long enough to be sure", ending))


def test_between_the_parts_of_an_xz_file_may_be_zeros() -> None:
    one = COMPRESSIONS[".xz"](b"one\n")
    assert read_all(opened(one + bytes(8) + one + bytes(100_000) + one + bytes(4), ".xz")) == b"one\n" * 3


@pytest.mark.parametrize("ending", ENDINGS)
def test_another_kind_of_file_is_refused(ending: str) -> None:
    with pytest.raises(RawTextError, match="truncated or damaged"):
        read_all(opened(b"just a text, not packed at all, and long enough to be sure", ending))


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_bomb_is_refused_early(ending: str) -> None:
    stream = opened(COMPRESSIONS[ending](bytes(40 * MEBIBYTE)), ending)
    with pytest.raises(RawTextError, match=r"more than 200 times its size.*raise maximum_compression_ratio"):
        read_all(stream)
    assert stream.unpacked <= 18 * MEBIBYTE


@pytest.mark.parametrize("ending", ENDINGS)
def test_more_than_the_allowed_bytes_are_refused(ending: str) -> None:
    packed = COMPRESSIONS[ending](bytes(5000))
    assert len(read_all(opened(packed, ending, maximum_bytes=5000))) == 5000
    stream = opened(packed, ending, maximum_bytes=4999)
    with pytest.raises(RawTextError, match=r"more than 4,999 bytes; if you trust it, raise maximum_unpacked_bytes"):
        read_all(stream, 100)


def test_a_small_file_may_compress_well_and_a_trusted_one_too() -> None:
    assert len(read_all(opened(COMPRESSIONS[".gz"](bytes(16 * MEBIBYTE)), ".gz"))) == 16 * MEBIBYTE
    packed = COMPRESSIONS[".gz"](bytes(17 * MEBIBYTE))
    assert len(read_all(opened(packed, ".gz", maximum_ratio=2000.0))) == 17 * MEBIBYTE


def test_a_plain_file_has_no_limit() -> None:
    assert read_all(opened(bytes(5000), None, maximum_bytes=10)) == bytes(5000)


@pytest.mark.parametrize("window_log", [28, 31])
def test_zstandard_frames_with_a_long_window(window_log: int) -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=window_log)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    frame = packer.compress(CHINESE.encode()) + packer.flush()
    assert read_all(opened(frame * 2, ".zst")) == CHINESE.encode() * 2
