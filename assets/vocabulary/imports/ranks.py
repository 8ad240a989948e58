"""Byte-level vocabularies written as ranks: tiktoken's files, and GPT-2's encoder.json with vocab.bpe."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from assets.vocabulary.byte_letters import letters_of
from assets.vocabulary.patterns import pattern_regex, pre_tokenizer
from assets.vocabulary.settings import VocabularySettings


def from_tiktoken(content: bytes, settings: VocabularySettings) -> Tokenizer:
    """A tokenizer of the lines "base64 of the bytes, rank".

    Raises:
        ValueError: If a line is damaged, ranks have gaps, or a byte is missing.
    """
    ranks = read_ranks(content)
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing:
        raise ValueError(f"it has no token for the byte {missing[0]}")
    vocabulary = {letters_of(token): rank for token, rank in ranks.items()}
    merges = [
        (letters_of(pair[0]), letters_of(pair[1]))
        for token, rank in sorted(ranks.items(), key=lambda entry: entry[1])
        if len(token) > 1 and (pair := _parts(token, rank, ranks)) is not None
    ]
    # A piece that is an entry is that entry, even where no merges lead to it (tiktoken, ``byte_pair_encode``).
    model = models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True)
    return _byte_level(model, settings)


def from_encoder_json(entries: Mapping[str, Any], merges: bytes, settings: VocabularySettings) -> Tokenizer:
    """A tokenizer of GPT-2's two files; text is cut as GPT-2 does.

    Raises:
        ValueError: If they do not fit each other.
    """
    vocabulary = {str(entry): int(number) for entry, number in entries.items()}
    lines = [line for line in merges.decode("utf-8").splitlines() if line and not line.startswith("#version")]
    pairs = [(left, right) for left, _, right in (line.partition(" ") for line in lines)]
    if any(left + right not in vocabulary for left, right in pairs):
        raise ValueError("vocab.bpe does not fit encoder.json")
    cut = settings.model_copy(update={"pattern": "gpt2"})
    tokenizer = _byte_level(models.BPE(vocab=vocabulary, merges=pairs), cut)
    special = [entry for entry in vocabulary if entry.startswith("<|") and entry.endswith("|>")]
    tokenizer.add_special_tokens(special)
    return tokenizer


def read_ranks(content: bytes) -> dict[bytes, int]:
    """Ranks by token.

    Raises:
        ValueError: If a line is damaged or ranks have gaps.
    """
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error):
            raise ValueError(f"line {number} is no token with its rank") from None
    if sorted(ranks.values()) != list(range(len(ranks))):
        raise ValueError("its ranks have gaps")
    return ranks


def tiktoken_ids(content: bytes, settings: VocabularySettings, texts: Sequence[str]) -> list[list[int]] | None:
    """What tiktoken itself gives, where it is installed and knows the pattern's regular expression."""
    try:
        import tiktoken
    except ImportError:
        return None
    if settings.pattern == "corpusline":
        return None
    regex = pattern_regex(settings.pattern, longest_han_run=1, digits_per_token=1)
    encoding = tiktoken.Encoding("imported", pat_str=regex, mergeable_ranks=read_ranks(content), special_tokens={})
    return [encoding.encode_ordinary(text) for text in texts]


def _parts(token: bytes, rank: int, ranks: Mapping[bytes, int]) -> tuple[bytes, bytes] | None:
    """The two entries that were merged to this one: what its bytes are merged to by the lower ranks."""
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        found = [(ranks.get(left + right, rank), place) for place, (left, right) in enumerate(pairwise(parts))]
        best, place = min(found)
        if best >= rank:
            return None
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts[0], parts[1]


def _byte_level(model: Any, settings: VocabularySettings) -> Tokenizer:
    tokenizer = Tokenizer(model)
    if settings.pattern == "gpt2":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    else:
        tokenizer.pre_tokenizer = pre_tokenizer(
            settings.pattern, longest_han_run=settings.longest_han_run, digits_per_token=settings.digits_per_token
        )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
