"""Training the unigram language model over byte-level pieces (Kudo 2018, arXiv:1804.10959, section 3.2).

SentencePiece's trainer is used, with one thread: that of ``tokenizers`` adds up in an order that differs from run to
run. It gets every different piece once, with its count, so that memory is bounded by the different pieces.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import sentencepiece
from tokenizers import Tokenizer, decoders, models

from assets.vocabulary.byte_letters import byte_letters
from assets.vocabulary.imports.sentencepiece_model import NORMAL, read_model
from assets.vocabulary.kinds import special_tokens
from assets.vocabulary.patterns import LONGEST_RUN, pre_tokenizer
from assets.vocabulary.settings import VocabularySettings

NEVER = -1e9
"""So far below every sum of scores that a special token is never chosen for a text that holds its name."""
_LETTERS_OF_A_PIECE = 4 * (LONGEST_RUN + 1)


def train_unigram(texts: Iterable[str], settings: VocabularySettings) -> Tokenizer:
    """A vocabulary of at most ``settings.size`` entries."""
    cutter = pre_tokenizer(
        settings.pattern, longest_han_run=settings.longest_han_run, digits_per_token=settings.digits_per_token
    )
    counts = Counter(piece for text in texts for piece, _ in cutter.pre_tokenize_str(text))
    scores = _scores(counts, settings)
    lowest = min(scores.values(), default=0.0)
    entries = [(token, NEVER) for token in special_tokens(settings)]
    entries += sorted(scores.items(), key=lambda entry: (-entry[1], entry[0]))
    entries += [(letter, lowest) for letter in byte_letters() if letter not in scores]
    tokenizer = Tokenizer(models.Unigram(entries, unk_id=None))
    tokenizer.pre_tokenizer = cutter
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special_tokens(settings))
    return tokenizer


def _scores(counts: Counter[str], settings: VocabularySettings) -> dict[str, float]:
    """Log-probabilities of entries, without those of bytes that occur in none."""
    frequent = {piece: count for piece, count in counts.items() if count >= settings.minimum_frequency}
    if not frequent:
        return {}
    letters = set().union(*frequent)
    missing = len(byte_letters()) - len(letters)
    written = io.BytesIO()
    options: dict[str, Any] = {
        "model_type": "unigram",
        # Its entry for what is unknown is left out again.
        "vocab_size": max(len(letters) + 2, settings.size - len(special_tokens(settings)) - missing + 1),
        "hard_vocab_limit": False,
        "character_coverage": 1.0,
        "normalization_rule_name": "identity",
        "add_dummy_prefix": False,
        "remove_extra_whitespaces": False,
        "split_by_unicode_script": False,
        "split_by_number": False,
        "split_by_whitespace": False,
        "max_sentencepiece_length": _LETTERS_OF_A_PIECE,
        "bos_id": -1,
        "eos_id": -1,
        "pad_id": -1,
        "num_threads": 1,
        "minloglevel": 2,
    }
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=_rows(frequent), input_format="tsv", model_writer=written, **options
    )
    model = read_model(written.getvalue())
    return {piece.text: piece.score for piece in model.pieces if piece.type == NORMAL}


def _rows(counts: dict[str, int]) -> Iterator[str]:
    return (f"{piece}\t{count}" for piece, count in sorted(counts.items()))
