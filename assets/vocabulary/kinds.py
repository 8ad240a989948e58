"""The kinds of vocabulary: where a text may be cut into tokens, and how the entries are chosen.

byte_bpe: byte pair encoding (Sennrich et al. 2016, section 3.2) over the 256 bytes (Radford et al. 2019, section 2.2),
so that every text can be written. No pair is merged across the pieces of a pattern (``assets.vocabulary.patterns``).

unigram: the unigram language model (Kudo 2018, arXiv:1804.10959, section 3.2) over the same pieces and bytes.

byte: each of the 256 bytes is a token (Xue et al. 2022, ByT5, section 3).

character: each character that is frequent enough is a token; others are written as their bytes.

word: words by a simple form of Unicode's word boundaries (UAX 29), each punctuation mark and each line end; other white
space is lost, and so are words that are no entry. Han characters that stand alone between white space are a word (this
is what segmented Chinese looks like), all others are taken one at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, trainers

from assets.vocabulary.byte_letters import byte_letters
from assets.vocabulary.patterns import character_pre_tokenizer, pre_tokenizer, word_pre_tokenizer
from assets.vocabulary.settings import END_OF_DOCUMENT, VocabularySettings

UNKNOWN = "<|unknown|>"
BYTES = 256


def special_tokens(settings: VocabularySettings) -> list[str]:
    """The special tokens of a kind, in the order of their ids from 0."""
    unknown = [UNKNOWN] if settings.kind == "word" else []
    return [END_OF_DOCUMENT, *unknown, *settings.special_tokens]


def smallest_size(settings: VocabularySettings) -> int:
    """Entries without which the kind cannot be."""
    entries = {"word": 1, "character": BYTES + 1}.get(settings.kind, BYTES)
    return len(special_tokens(settings)) + entries


def untrained(settings: VocabularySettings) -> tuple[Any, Any]:
    """An empty ``tokenizers.Tokenizer`` of a kind that is trained by that library, and the trainer that fills it."""
    special = special_tokens(settings)
    common: dict[str, Any] = {"vocab_size": settings.size, "special_tokens": special, "show_progress": False}
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate(special)}, unk_token=special[0]))
    if settings.kind == "character":
        tokenizer.pre_tokenizer = character_pre_tokenizer()
        common["vocab_size"] = settings.size - BYTES
    else:
        tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate(special)}, unk_token=UNKNOWN))
        tokenizer.pre_tokenizer = word_pre_tokenizer(settings.longest_han_run)
    return tokenizer, trainers.WordLevelTrainer(min_frequency=settings.minimum_frequency, **common)


def finished(tokenizer: Tokenizer, settings: VocabularySettings) -> Tokenizer:
    """What is written of a trained tokenizer: characters get the bytes for others, and tokens are added."""
    if settings.kind == "character":
        special = special_tokens(settings)
        entries = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
        characters = [character for character, _ in entries if character not in special]
        tokenizer = character_tokenizer(settings, characters)
    add_tokens(tokenizer, settings)
    return tokenizer


def byte_bpe_tokenizer(
    settings: VocabularySettings, vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]]
) -> Tokenizer:
    """A byte-level BPE of these entries and merges, in which bytes are written as letters (``byte_letters``)."""
    tokenizer = _byte_level(models.BPE(vocab=dict(vocabulary), merges=list(merges)), settings)
    tokenizer.add_special_tokens(special_tokens(settings))
    return tokenizer


def byte_tokenizer(settings: VocabularySettings) -> Tokenizer:
    """A token for each byte."""
    entries = [*special_tokens(settings), *byte_letters()]
    return byte_bpe_tokenizer(settings, {entry: number for number, entry in enumerate(entries)}, [])


def character_tokenizer(settings: VocabularySettings, characters: Sequence[str]) -> Tokenizer:
    """A token for each of these characters, and one for each byte of all others."""
    entries = [*special_tokens(settings), *(f"<0x{byte:02X}>" for byte in range(BYTES)), *characters]
    model = models.BPE(vocab={entry: number for number, entry in enumerate(entries)}, merges=[], byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = character_pre_tokenizer()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(special_tokens(settings))
    return tokenizer


def add_tokens(tokenizer: Tokenizer, settings: VocabularySettings) -> None:
    """Add the tokens that are always kept whole."""
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in settings.added_tokens])


def _byte_level(model: Any, settings: VocabularySettings) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizer(
        settings.pattern,
        longest_han_run=settings.longest_han_run,
        digits_per_token=settings.digits_per_token,
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
