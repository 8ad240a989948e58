"""From a file of somebody else's to our ``tokenizer.json``, proved on text before it is accepted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import fsspec
from tokenizers import Tokenizer

from assets.vocabulary.errors import VocabularyError
from assets.vocabulary.imports.ranks import from_encoder_json, from_tiktoken, tiktoken_ids
from assets.vocabulary.imports.sentencepiece_import import from_sentencepiece, sentencepiece_ids
from assets.vocabulary.kinds import add_tokens
from assets.vocabulary.settings import VocabularySettings

CHECKED_BYTES = 2 << 20
"""Of text on which an import is tried."""
_SPACED_TEXTS, _SPACED_CHARACTERS = 10, 1000
"""Beginnings of texts that are tried with a space before them, too."""
Ids = Callable[[Sequence[str]], "list[list[int]] | None"]
"""From texts to the ids that the original library gives; None if it is not installed."""


def read_import(uri: str) -> bytes:
    """The content of a file that is imported.

    Raises:
        VocabularyError: If it cannot be read.
    """
    try:
        with fsspec.open(uri, "rb") as file:
            content: bytes = file.read()
            return content
    except (OSError, ValueError, ImportError) as error:
        raise VocabularyError(f"'import_from' = {uri} cannot be read: {error}") from None


def import_vocabulary(settings: VocabularySettings, texts: Iterable[str]) -> Tokenizer:
    """The imported tokenizer, with the tokens that the settings add.

    Args:
        settings: ``import_from`` and what goes with it.
        texts: Texts of those that will be encoded; the first mebibytes of them are tried.

    Raises:
        VocabularyError: If the file is damaged or of an unknown kind, if a text does not come back, or if ids differ
            from those of the library that the file is from.
    """
    assert settings.import_from is not None
    tokenizer, original = opened_import(settings.import_from, settings)
    sample = _first_bytes(texts)
    _check(tokenizer, sample, original, settings.import_from)
    if tokenizer.token_to_id(settings.end_of_document) is None or settings.special_tokens:
        tokenizer.add_special_tokens([settings.end_of_document, *settings.special_tokens])
    add_tokens(tokenizer, settings)
    return tokenizer


def opened_import(uri: str, settings: VocabularySettings) -> tuple[Tokenizer, Ids]:
    """The tokenizer that a file holds, and how the original library encodes.

    Raises:
        VocabularyError: If the file is damaged or of an unknown kind.
    """
    content = read_import(uri)
    name = uri.rsplit("/", 1)[-1].lower()
    try:
        if name.endswith(".model"):
            return from_sentencepiece(content), lambda texts: sentencepiece_ids(content, texts)
        if name.endswith(".tiktoken"):
            tokenizer = from_tiktoken(content, settings)
            return tokenizer, lambda texts: tiktoken_ids(content, settings, texts)
        if name.endswith(".json"):
            return _from_json(content, uri, settings), lambda texts: None
    except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise VocabularyError(f"'import_from' = {uri} is damaged, or no vocabulary: {error}") from None
    raise VocabularyError(f"'import_from' = {uri}: the name ends neither in .json nor in .model nor in .tiktoken")


def _from_json(content: bytes, uri: str, settings: VocabularySettings) -> Tokenizer:
    definition: dict[str, Any] = json.loads(content)
    if not isinstance(definition, dict):
        raise ValueError("it is no JSON object")
    if not isinstance(definition.get("model"), dict):  # GPT-2 has an entry of that name
        merges = read_import(f"{uri.rpartition('/')[0]}/vocab.bpe" if "/" in uri else "vocab.bpe")
        return from_encoder_json(definition, merges, settings)
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(error) from None
    size = tokenizer.get_vocab_size()
    if max(tokenizer.get_vocab().values()) >= size:
        raise ValueError(f"its ids have gaps: {size} entries and the highest id {max(tokenizer.get_vocab().values())}")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _first_bytes(texts: Iterable[str]) -> list[str]:
    taken, size = [], 0
    for text in texts:
        taken.append(text)
        size += len(text.encode())
        if size >= CHECKED_BYTES:
            break
    return taken


def _check(tokenizer: Tokenizer, texts: Sequence[str], original: Ids, uri: str) -> None:
    tokenizer.encode_special_tokens = True
    tried = [*texts, *(f" {text[:_SPACED_CHARACTERS]}" for text in texts[:_SPACED_TEXTS])]
    ids = [encoding.ids for encoding in tokenizer.encode_batch_fast(tried, add_special_tokens=False)]
    expected = original(tried)
    if expected is not None:
        for text, ours, theirs in zip(tried, ids, expected, strict=True):
            if ours != theirs:
                raise VocabularyError(
                    f"'import_from' = {uri}: its ids are not those of the library it is from, first on {text[:60]!r}; "
                    "convert it to a tokenizer.json with the library it is from, and import that"
                )
    if _keeps_texts(tokenizer):
        for text, row in zip(texts, ids, strict=False):
            back = tokenizer.decode(row, skip_special_tokens=False)
            if back != text:
                raise VocabularyError(
                    f"'import_from' = {uri} does not give back the text {text[:60]!r}, but {back[:60]!r}; "
                    "with another 'pattern' or file it may"
                )
    tokenizer.encode_special_tokens = False


def _keeps_texts(tokenizer: Tokenizer) -> bool:
    """Whether nothing is done to texts but to put a space before them, which decoding takes away."""
    if tokenizer.normalizer is None:
        return True
    state: dict[str, Any] = json.loads(tokenizer.normalizer.__getstate__())
    return all(step["type"] == "Prepend" for step in state.get("normalizers", [state]))
