"""Where byte-level vocabularies cut text before pairs are merged: the patterns of peers, and one of ours.

Regular expressions as the engine inside ``tokenizers`` reads them. Sources of the peers': gpt2 is ``encoder.py`` of
openai/gpt-2; gpt4 is cl100k_base of openai/tiktoken, ``openai_public.py``, which Llama-3 took over (meta-llama/llama3,
``tokenizer.py``); qwen is ``tokenizer.json`` of Qwen2.5, which cuts every digit off.

corpusline, tried in this order; no pair is merged across these pieces:

- the endings of English contractions: 's 't 'd 'm 'll 've 're
- a word with the space before it
- Chinese characters and kana, with the space before them, in short runs; never together with letters of other scripts
- digits, in short runs
- punctuation, symbols and marks, with the space before them
- line ends; other white space, without the last space before a word

Runs of anything are bounded there, so that text without spaces takes neither much memory nor much time.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import Any

from tokenizers import Regex, pre_tokenizers

LONGEST_HAN_RUN, MOST_DIGITS = 16, 16
"""The largest that ``longest_han_run`` and ``digits_per_token`` may be."""
LONGEST_RUN = 48
"""The longest word of English dictionaries has 45 letters."""
UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}ー"

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
PEERS = {"gpt2": GPT2, "gpt4": _GPT4, "llama3": _GPT4, "qwen": _GPT4.replace(r"\p{N}{1,3}", r"\p{N}")}
PATTERNS = ("corpusline", *PEERS)
CHARACTER_PATTERN = r"[\s\S]"
_WORD_CHARACTER = rf"[\p{{L}}\p{{M}}\p{{N}}_&&[^{UNSPACED}]]"


def pattern_regex(name: str, *, longest_han_run: int, digits_per_token: int) -> str:
    """The regular expression whose matches are the pieces.

    Args:
        name: One of ``PATTERNS``.
        longest_han_run: corpusline: most Chinese characters or kana in a piece.
        digits_per_token: corpusline: most digits in a piece.
    """
    if name in PEERS:
        return PEERS[name]
    letter = rf"[\p{{L}}&&[^{UNSPACED}]]"
    letter_or_mark = rf"[\p{{L}}\p{{M}}&&[^{UNSPACED}]]"
    run = f"{{1,{LONGEST_RUN}}}"
    return "|".join(
        [
            r"['’](?:[sdmt]|ll|ve|re|[SDMT]|LL|VE|RE)(?!\p{L})",
            rf" ?{letter}{letter_or_mark}{{0,{LONGEST_RUN - 1}}}",
            rf" ?[{UNSPACED}]{{1,{longest_han_run}}}",
            rf"\p{{N}}{{1,{digits_per_token}}}",
            rf" ?[^\s\p{{L}}\p{{N}}]{run}",
            rf"[\r\n]{run}",
            rf"[^\S\r\n]{run}(?!\S)",
            r"\s",
        ]
    )


@lru_cache(maxsize=1)
def known_patterns() -> dict[str, tuple[int, int]]:
    """The regular expressions of the pattern corpusline, with the most Chinese characters and digits in a piece."""
    return {
        pattern_regex("corpusline", longest_han_run=han, digits_per_token=digits): (han, digits)
        for han, digits in product(range(1, LONGEST_HAN_RUN + 1), range(1, MOST_DIGITS + 1))
    }


def pre_tokenizer(name: str, *, longest_han_run: int, digits_per_token: int) -> Any:
    """The ``tokenizers`` pre-tokenizer that cuts by a pattern and writes bytes as letters."""
    regex = pattern_regex(name, longest_han_run=longest_han_run, digits_per_token=digits_per_token)
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(regex), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def character_pre_tokenizer() -> Any:
    """The one of the kind character: every character is a piece."""
    return pre_tokenizers.Split(Regex(CHARACTER_PATTERN), behavior="isolated")


def word_pre_tokenizer(longest_han_run: int) -> Any:
    """The one of the kind word: words are pieces, and what is none is left out."""
    return pre_tokenizers.Split(Regex(word_pattern(longest_han_run)), behavior="removed", invert=True)


def word_patterns() -> list[str]:
    """The regular expressions of the kind word, for every length of a Chinese one."""
    return [word_pattern(han) for han in range(1, LONGEST_HAN_RUN + 1)]


def word_pattern(longest_han_run: int) -> str:
    """The regular expression whose matches are words, of which a Chinese one has at most so many characters."""
    run = f"{_WORD_CHARACTER}{{1,{LONGEST_RUN}}}"
    return "|".join(
        [
            r"\n",
            rf"(?<!\S)[{UNSPACED}]{{1,{longest_han_run}}}(?!\S)",
            rf"{run}(?:['’]{run}|(?<=\p{{N}})[.,](?=\p{{N}}){run})*",
            r"\S",
        ]
    )
