"""Training byte pair encoding over bytes, from counted pieces."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from tokenizers import Tokenizer

from assets.vocabulary.byte_letters import byte_letters
from assets.vocabulary.kernels.pair_merging import learn_merges
from assets.vocabulary.kinds import byte_bpe_tokenizer, special_tokens
from assets.vocabulary.patterns import pattern_regex
from assets.vocabulary.piece_counts import CountedPieces, PieceCounts
from assets.vocabulary.settings import VocabularySettings


def count_text(texts: Iterable[str], settings: VocabularySettings) -> CountedPieces:
    """The pieces of the settings' pattern, counted in bounded memory."""
    counts = PieceCounts()
    limits = {"longest_han_run": settings.longest_han_run, "digits_per_token": settings.digits_per_token}
    if settings.pattern == "corpusline":
        counts.add_texts(texts, **limits)
    else:
        counts.add_matches(texts, pattern_regex(settings.pattern, **limits))
    return counts.counted()


def train_byte_bpe(pieces: CountedPieces, settings: VocabularySettings) -> Tokenizer:
    """The vocabulary that ``BpeTrainer`` of the library ``tokenizers`` would make of the same pieces.

    Ids: special tokens, the 256 bytes in the order of their letters, merged tokens in the order of their merges. There
    are fewer than ``settings.size`` where no pair is frequent enough.
    """
    letters = byte_letters()
    names = special_tokens(settings)
    known = set(names)
    names += [letter for letter in sorted(letters) if letter not in known]
    ids = {name: number for number, name in enumerate(names)}
    byte_of = {letter: byte for byte, letter in enumerate(letters)}
    spelled = [bytes(byte_of[letter] for letter in name) if set(name) <= byte_of.keys() else b"" for name in names]
    byte_ids = np.asarray([ids[letter] for letter in letters], dtype=np.int32)
    merges, size = learn_merges(
        byte_ids[pieces.data],
        pieces.offsets,
        pieces.counts,
        np.frombuffer(b"".join(spelled), dtype=np.uint8),
        np.cumsum([0, *map(len, spelled)]),
        len(names),
        settings.size,
        settings.minimum_frequency,
    )
    names += [""] * (size - len(names))
    ranks: dict[tuple[str, str], int] = {}
    for rank, (left, right, merged) in enumerate(merges.tolist()):
        names[merged] = names[left] + names[right]
        # Of a pair that was merged twice, since two ways lead to one of its tokens, the library keeps the later rank.
        ranks[names[left], names[right]] = rank
    vocabulary = {name: number for number, name in enumerate(names)}
    return byte_bpe_tokenizer(settings, vocabulary, sorted(ranks, key=ranks.__getitem__))
