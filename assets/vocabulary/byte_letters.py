"""The letters that stand for bytes in byte-level vocabularies."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=1)
def byte_letters() -> list[str]:
    """The letter of each byte: itself where it is printable, else one from U+0100 on (GPT-2's ``bytes_to_unicode``)."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def letters_of(data: bytes) -> str:
    """Bytes written as letters."""
    letters = byte_letters()
    return "".join(letters[byte] for byte in data)


@lru_cache(maxsize=1)
def _bytes_by_letter() -> dict[str, int]:
    return {letter: byte for byte, letter in enumerate(byte_letters())}


def bytes_of(letters: str) -> bytes:
    """The bytes that letters stand for; raises KeyError for a letter that stands for none."""
    by_letter = _bytes_by_letter()
    return bytes(by_letter[letter] for letter in letters)
