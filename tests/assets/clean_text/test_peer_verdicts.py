"""Verdicts and reasons of datatrove's filters, over documents made so that many stand at a threshold."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from typing import Any

import pyarrow as pa
import pytest

from assets.clean_text.decisions import decide
from assets.clean_text.rules import Rule
from assets.clean_text.signals import TextBatch, measure
from assets.clean_text.stop_words import STOP_WORDS

DOCUMENTS = 250

# What switches off each of a filter's rules.
REPETITION_OFF = {
    **dict.fromkeys(("dup_line_frac", "dup_para_frac", "dup_line_char_frac", "dup_para_char_frac")),
    **dict.fromkeys(("top_n_grams", "dup_n_grams"), ()),
}
QUALITY_OFF = dict.fromkeys(
    f"{side}_{name}"
    for side, names in {
        "min": ("doc_words", "avg_word_length", "stop_words"),
        "max": (
            "doc_words",
            "avg_word_length",
            "symbol_word_ratio",
            "bullet_lines_ratio",
            "ellipsis_lines_ratio",
            "non_alpha_words_ratio",
        ),
    }.items()
    for name in names
)
FINEWEB_OFF = {"line_punct_thr": 0, "short_line_thr": 2, "char_duplicates_ratio": 2, "new_line_ratio": 2}


def rule(name: str, signal: str, side: str, limit: float) -> Rule:
    return Rule.parse({"name": name, "signal": signal, side: limit}, origin="test")


def grams(setting: str, name: str, signal: str, limits: dict[int, float]) -> Iterator[tuple[Any, ...]]:
    for size, limit in limits.items():
        rules = [rule(name.format(size), signal.format(size), "at_most", limit)]
        yield "GopherRepetitionFilter", REPETITION_OFF | {setting: ((size, limit),)}, rules


def cases(language: str) -> Iterator[tuple[Any, ...]]:
    """A filter of the peer's with one of its settings on, and our rules for it."""
    for setting, signal, limit in (
        ("dup_para_frac", "duplicate_paragraph_share", 0.3),
        ("dup_para_char_frac", "duplicate_paragraph_character_share", 0.2),
        ("dup_line_frac", "duplicate_line_share", 0.3),
        ("dup_line_char_frac", "duplicate_line_character_share", 0.2),
    ):
        rules = [rule(setting, signal, "at_most", limit)]
        yield "GopherRepetitionFilter", REPETITION_OFF | {setting: limit}, rules
    yield from grams("top_n_grams", "top_{}_gram", "top_{}_gram_character_share", {2: 0.2, 3: 0.18, 4: 0.16})
    limits = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.1}
    yield from grams("dup_n_grams", "duplicated_{}_n_grams", "duplicate_{}_gram_character_share", limits)
    for setting, limit, names in (
        ("min_doc_words", 50, {"gopher_short_doc": "words"}),
        ("max_doc_words", 60, {"gopher_long_doc": "words"}),
        ("min_avg_word_length", 3.5 if language == "en" else 1.5, {"gopher_below_avg_threshold": "mean_word_length"}),
        ("max_avg_word_length", 2, {"gopher_above_avg_threshold": "mean_word_length"}),
        (
            "max_symbol_word_ratio",
            0.1,
            {"gopher_too_many_hashes": "hash_signs_per_piece", "gopher_too_many_ellipsis": "ellipses_per_piece"},
        ),
        ("max_bullet_lines_ratio", 0.5, {"gopher_too_many_bullets": "bullet_line_share"}),
        ("max_ellipsis_lines_ratio", 0.3, {"gopher_too_many_end_ellipsis": "ellipsis_line_share"}),
        ("max_non_alpha_words_ratio", 0.65, {"gopher_below_alpha_threshold": "lettered_piece_share"}),
        ("min_stop_words", 3, {"gopher_enough_stop_words": "stop_words"}),
    ):
        least = setting.startswith("min") or "alpha" in setting
        rules = [rule(name, signal, "at_least" if least else "at_most", limit) for name, signal in names.items()]
        yield "GopherQualityFilter", QUALITY_OFF | {setting: limit}, rules
    for setting, name, signal, side, limit in (
        ("line_punct_thr", "line_punct_ratio", "terminal_line_share", "at_least", 0.5),
        ("short_line_thr", "short_line_ratio", "short_line_share", "at_most", 0.67),
        ("char_duplicates_ratio", "char_dup_ratio", "duplicate_line_content_share", "at_most", 0.01),
        ("new_line_ratio", "list_ratio", "line_breaks_per_piece", "at_most", 0.1),
    ):
        yield "FineWebQualityFilter", FINEWEB_OFF | {setting: limit}, [rule(name, signal, side, limit)]


ENGLISH = (
    "the to of and that with have be don't I'll U.S. e.g. cat's house river morning quietly wonderful naïve "
    "rock-n-roll 1,234 50% 10km #tag (maybe) “quoted” https://example.org/a?b=c foo_bar x=y and/or cannot 3pm :-) — …"
).split()
CHINESE = "的 年 在 和 了 为 有 今天 天气 北京大学 自然语言 很好 研究 ， 、 apt-get 3.14 # 50%".split()


def made_line(generator: random.Random, words: list[str], space: str, marks: list[str], size: int) -> str:
    line = space.join(generator.choices(words, k=size))
    return generator.choice(["", "", "", "- ", "• "]) + line + generator.choice(marks)


def made_document(generator: random.Random, words: list[str], space: str, marks: list[str]) -> str:
    """Some lines, some of them again, some with a phrase again and again; no blank lines at its ends."""
    words = generator.sample(words, generator.randrange(max(2, len(words) // 3), len(words) + 1))
    lines: list[str] = []
    for _ in range(generator.randrange(1, 16)):
        if lines and generator.random() < 0.2:
            lines.append(generator.choice(lines))
            continue
        line = made_line(generator, words, space, marks, generator.randrange(2, 14))
        if generator.random() < 0.2:
            line += space + space.join([space.join(generator.choices(words, k=generator.randrange(2, 7)))] * 2)
        lines.append(line)
    return "".join(line + generator.choice(["\n", "\n", "\n\n"]) for line in lines).strip()


@cache
def documents(language: str) -> TextBatch:
    generator = random.Random(language)
    texts = [
        made_document(generator, ENGLISH, " ", [".", ".", "", "...", "!”"])
        if language == "en"
        else made_document(generator, CHINESE, "", ["。", "。", "", "…", "！”"])
        for _ in range(DOCUMENTS)
    ]
    return TextBatch(pa.array(texts), pa.array([language] * DOCUMENTS))


@pytest.mark.parametrize(
    ("language", "peer", "options", "rules"),
    [
        pytest.param(language, *case, id="-".join([language, *(rule.name for rule in case[2])]))
        for language in ("en", "zh")
        for case in cases(language)
    ],
)
def test_reasons_are_the_peers(language: str, peer: str, options: dict[str, Any], rules: list[Rule]) -> None:
    filters = pytest.importorskip("datatrove.pipeline.filters")
    data = pytest.importorskip("datatrove.data")
    pytest.importorskip("spacy" if language == "en" else "jieba")
    if peer == "GopherQualityFilter":
        options = options | {"stop_words": list(STOP_WORDS[language])}
    filtering = getattr(filters, peer)(language={"en": "eng_Latn", "zh": "cmn_Hani"}[language], **options)
    batch = documents(language)
    texts = batch.texts.to_pylist()
    verdicts = [filtering.filter(data.Document(text=text, id="")) for text in texts]
    expected = [None if verdict is True else verdict[1] for verdict in verdicts]
    found = decide(measure(batch.texts, batch, {rule.signal for rule in rules}), rules).rule.to_pylist()
    assert [row for row in zip(texts, found, expected, strict=True) if row[1] != row[2]] == []
    # Each rule drops some of the documents, and none drops all.
    assert {None, *(rule.name for rule in rules)} == set(expected)
