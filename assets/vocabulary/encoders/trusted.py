"""The fastest encoder that gives the ids of ``tokenizers``: proved on a sample before it is trusted."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from assets.clean_text.arrays import strings
from assets.vocabulary.encoders.compiled import CompiledEncoder
from assets.vocabulary.encoders.encoded import EncodedTexts, Encoder, Texts, UnsuitableError
from assets.vocabulary.encoders.libraries import FastokensEncoder, ReferenceEncoder, large
from assets.vocabulary.errors import VocabularyError

MOST_SAMPLE_BYTES = 2 << 20
"""Of the texts on which an encoder is proved; the reference needs a second or so for them."""


@dataclass(frozen=True)
class TrustedEncoder:
    """An encoder and why it was taken.

    Attributes:
        encoder: Gives the ids of ``tokenizers``, as far as was tried.
        note: Which it is, and why those before it are not, for people.
    """

    encoder: Encoder
    note: str


_CANDIDATES: dict[str, Callable[[Path, dict[str, Any]], Encoder]] = {
    CompiledEncoder.name: lambda path, definition: CompiledEncoder(definition),
    FastokensEncoder.name: lambda path, definition: FastokensEncoder(path),
}


def trusted_encoder(tokenizer_json: Path, sample: Texts, *, tokenizer: Tokenizer | None = None) -> TrustedEncoder:
    """The first of our own, fastokens and tokenizers that encodes a sample and some odd texts as tokenizers does.

    Args:
        tokenizer_json: The vocabulary.
        sample: Texts of those that will be encoded; the first two mebibytes of them are tried.
        tokenizer: The vocabulary as tokenizers opens it, where it is at hand; it takes special tokens' names as text.

    Raises:
        VocabularyError: If tokenizers cannot open the vocabulary.
    """
    reference = ReferenceEncoder(tokenizer or _opened(tokenizer_json))
    definition = _definition(tokenizer_json)
    special = [token["content"] for token in definition["added_tokens"]]
    texts = large(_first_bytes(sample) + odd_texts(special))
    expected = reference.encode(texts)
    refused = []
    for name, make in _CANDIDATES.items():
        try:
            encoder = make(tokenizer_json, definition)
        except UnsuitableError as error:
            refused.append(f"{name}: {error}")
            continue
        differs = _first_difference(encoder.encode(texts), expected)
        if differs is None:
            return TrustedEncoder(encoder, _note(name, len(texts), refused))
        excerpt = str(texts[differs])[:40]
        refused.append(f"{name}: its ids differ from those of tokenizers on {excerpt!r}")
    return TrustedEncoder(reference, _note(reference.name, len(texts), refused))


def trusted_again(tokenizer_json: Path, sample: Texts, *, tokenizer: Tokenizer, encoder: str) -> Encoder | None:
    """The encoder that was proved for a vocabulary before, unless it differs from tokenizers on a sample of new texts.

    Args:
        tokenizer_json: The vocabulary.
        sample: Texts of those that will be encoded.
        tokenizer: The vocabulary as tokenizers opens it; it takes special tokens' names as text.
        encoder: Its name.
    """
    reference = ReferenceEncoder(tokenizer)
    if encoder == reference.name:
        return reference
    try:
        found = named_encoder(tokenizer_json, encoder)
    except (KeyError, UnsuitableError):
        return None
    texts = large(_first_bytes(sample))
    return found if _first_difference(found.encode(texts), reference.encode(texts)) is None else None


def named_encoder(tokenizer_json: Path, name: str) -> Encoder:
    """The encoder of that name, without a proof.

    Raises:
        KeyError: If there is none.
        UnsuitableError: If it does not take this vocabulary.
        VocabularyError: If tokenizers cannot open the vocabulary.
    """
    if name == ReferenceEncoder.name:
        return ReferenceEncoder(_opened(tokenizer_json))
    return _CANDIDATES[name](tokenizer_json, _definition(tokenizer_json))


def odd_texts(special: list[str]) -> list[str]:
    """Texts in which encoders differ if they do: every character, white space, long runs, digits, apostrophes.

    Args:
        special: Names of tokens, which are text like any other here.
    """
    parts = ((0, 0x3400), (0x4E00, 0x4F00), (0x9F00, 0xB000), (0xF000, 0x11000))
    assigned = "".join(chr(code) for start, end in parts for code in range(start, end))
    beyond = "".join(map(chr, range(0x11000, 0x20000, 7)))
    spaces = [" ", "\t", "\n", "\r", "\r\n", "\u00a0", "\u3000", "\u2028", "\x0b", "\x85", "\x1c"]
    texts = ["", " ", "a", assigned, " ".join(assigned), beyond]
    texts += [f"a{one}{two}b" for one in spaces for two in spaces]
    texts += [f"{one * count}{end}" for one in spaces for count in (47, 48, 49, 97) for end in ("", "x", "，", "5")]
    texts += [character * count for character in "aé我カ5-\U0001f600" for count in (2, 4, 5, 47, 48, 49, 300)]
    texts += [
        f"it{mark}{ending}{after}"
        for mark in "'’"
        for ending in ("s", "LL", "Ve", "re", "d")
        for after in ("", "x", "我", " ")
    ]
    texts += [
        "1234567",
        "٣٤٥٦٧",
        "１２３４",
        "一百二十三",
        "〇〇〇〇〇",
        "3.14",
        "é\u0301\u0301 e\u0301",
        "👩‍👩‍👧‍👦 🇨🇳🇨🇳",
        "한국어 조사",
        "ひらがなとカタカナー",
        "日本語abc日本語 日本",
    ]
    return texts + [f"a {name}b{name} {name}" for name in special]


def _definition(tokenizer_json: Path) -> dict[str, Any]:
    """Content of a ``tokenizer.json``, read without a look for garbage: there is none among its many lists."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        definition: dict[str, Any] = json.loads(tokenizer_json.read_bytes())
    finally:
        if collecting:
            gc.enable()
    return definition


def _opened(tokenizer_json: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(tokenizer_json))
    except Exception as error:  # the library raises nothing narrower
        raise VocabularyError(f"{tokenizer_json} is no tokenizer ({error}); run the stage vocabulary again") from None
    tokenizer.encode_special_tokens = True
    return tokenizer


def _first_bytes(sample: Texts) -> list[str]:
    texts, size = [], 0
    for text in strings(sample):  # type: ignore[arg-type]
        texts.append(text)
        size += len(text.encode())
        if size > MOST_SAMPLE_BYTES:
            break
    return texts


def _first_difference(found: EncodedTexts, expected: EncodedTexts) -> int | None:
    """Number of the first text whose ids differ."""
    for number in range(len(expected.offsets) - 1):
        ours = found.ids[found.offsets[number] : found.offsets[number + 1]]
        theirs = expected.ids[expected.offsets[number] : expected.offsets[number + 1]]
        if not np.array_equal(ours, theirs):
            return number
    return None


def _note(name: str, texts: int, refused: list[str]) -> str:
    note = f"encoded by {name}"
    if name != ReferenceEncoder.name:
        note += f", whose ids are those of tokenizers on {texts} texts that were tried"
    return f"{note}; {'; '.join(refused)}" if refused else note
