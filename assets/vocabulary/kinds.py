"""The three kinds of vocabulary: where a text may be cut into tokens, and how the entries are chosen.

byte_bpe: byte pair encoding (Sennrich et al. 2016, section 3.2) over the 256 bytes (Radford et al. 2019, section 2.2),
so that every text can be written. No pair is merged across these pieces, tried in this order:

- the endings of English contractions: 's 't 'd 'm 'll 've 're
- a word with the space before it
- Chinese characters and kana, with the space before them, in short runs; never together with letters of other scripts
- digits, in short runs
- punctuation, symbols and marks, with the space before them
- line ends; other white space, without the last space before a word

character: each character is a token. word: words by a simple form of Unicode's word boundaries (UAX 29), each
punctuation mark and each line end; other white space is lost. Han characters that stand alone between white space are
a word (this is what segmented Chinese looks like), all others are taken one at a time.
"""

from __future__ import annotations

from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from assets.vocabulary.settings import VocabularySettings
from assets.vocabulary.tokenizer import END_OF_DOCUMENT, UNKNOWN

# Runs of anything are cut here, which bounds memory and time; the longest word of English dictionaries has 45 letters.
_LONGEST_RUN = 48
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}ー"
_LETTER = rf"[\p{{L}}&&[^{_UNSPACED}]]"
_LETTER_OR_MARK = rf"[\p{{L}}\p{{M}}&&[^{_UNSPACED}]]"
_WORD_CHARACTER = rf"[\p{{L}}\p{{M}}\p{{N}}_&&[^{_UNSPACED}]]"


def untrained(settings: VocabularySettings) -> tuple[Any, Any]:
    """An empty ``tokenizers.Tokenizer`` of the kind that is set, and the trainer that fills it."""
    special = special_tokens(settings)
    common: dict[str, Any] = {
        "vocab_size": settings.size,
        "min_frequency": settings.minimum_frequency,
        "special_tokens": special,
        "show_progress": False,
    }
    if settings.kind == "byte_bpe":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_byte_bpe_pattern(settings)), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        tokenizer.decoder = decoders.ByteLevel()
        return tokenizer, trainers.BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **common)
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate(special)}, unk_token=UNKNOWN))
    if settings.kind == "character":
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
        tokenizer.decoder = decoders.Fuse()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_word_pattern(settings)), behavior="removed", invert=True)
    return tokenizer, trainers.WordLevelTrainer(**common)


def special_tokens(settings: VocabularySettings) -> list[str]:
    """The special tokens of a kind, in the order of their ids from 0."""
    return [END_OF_DOCUMENT] if settings.kind == "byte_bpe" else [END_OF_DOCUMENT, UNKNOWN]


def _byte_bpe_pattern(settings: VocabularySettings) -> str:
    run = f"{{1,{_LONGEST_RUN}}}"
    return "|".join(
        [
            r"['’](?:[sdmt]|ll|ve|re|[SDMT]|LL|VE|RE)(?!\p{L})",
            rf" ?{_LETTER}{_LETTER_OR_MARK}{{0,{_LONGEST_RUN - 1}}}",
            rf" ?[{_UNSPACED}]{{1,{settings.longest_han_run}}}",
            rf"\p{{N}}{{1,{settings.digits_per_token}}}",
            rf" ?[^\s\p{{L}}\p{{N}}]{run}",
            rf"[\r\n]{run}",
            rf"[^\S\r\n]{run}(?!\S)",
            r"\s",
        ]
    )


def _word_pattern(settings: VocabularySettings) -> str:
    run = f"{_WORD_CHARACTER}{{1,{_LONGEST_RUN}}}"
    return "|".join(
        [
            r"\n",
            rf"(?<!\S)[{_UNSPACED}]{{1,{settings.longest_han_run}}}(?!\S)",
            rf"{run}(?:['’]{run}|(?<=\p{{N}})[.,](?=\p{{N}}){run})*",
            r"\S",
        ]
    )
