"""Rules: which measured values a document may have. A rule is data over signals: it can be decided again without text.

The default rules drop what nobody would call text in its declared language, and hold for documents as short as a
review; they are no quality filter. The first rule that a document fails is its reason.

Where a description names a source, its number there is given for comparison: Gopher as datatrove's
``gopher_quality_filter.py`` and ``gopher_repetition_filter.py`` have it, ChineseWebText's ``preprocess.py``, MAP-CC
(``Matrix``). Our thresholds are gentler: theirs are for web pages of 200 characters or 50 words and more, and words
here are split by white space. They were set by reading what they dropped of plays, poems, notes and product reviews.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa

from assets.clean_text.characters import Array
from assets.clean_text.signals import SIGNALS
from training.settings import nearest

ANY = "*"
"""Stands for every language that has no threshold of its own."""

UNREADABLE = "unreadable"
"""The ledger's rule for rows that were skipped at reading."""

EXACT_DUPLICATE = "exact_duplicate"
"""The ledger's rule for copies of a kept document."""


@dataclass(frozen=True)
class Rule:
    """A document fails if the signal's value is beyond the threshold for its language.

    Attributes:
        name: As it stands in the ledger and in the settings.
        signal: Name of a signal in ``signals.SIGNALS``.
        comparison: ``at_least`` or ``at_most``: the values that pass.
        thresholds: By language code; ``*`` is for all other languages. Where there is none, or None, all pass.
        description: What it is for, in a sentence.
    """

    name: str
    signal: str
    comparison: Literal["at_least", "at_most"]
    thresholds: Mapping[str, float | None]
    description: str

    def threshold(self, language: str | None) -> float | None:
        """The threshold for a language code: its own ("zh-Hant"), its base's ("zh"), or that of all others."""
        code = language or ""
        for key in (code, code.partition("-")[0], ANY):
            if key in self.thresholds:
                return self.thresholds[key]
        return None


DEFAULT_RULES: tuple[Rule, ...] = (
    Rule("empty", "visible_characters", "at_least", {ANY: 1}, "Nothing is left after normalisation."),
    Rule(
        "too_short", "visible_characters", "at_least", {ANY: 16, "zh": 6, "ja": 6, "ko": 8}, "Too little to learn from."
    ),
    Rule("undecodable", "undecoded_share", "at_most", {ANY: 0.05}, "It was decoded with the wrong encoding."),
    Rule("few_letters", "letter_share", "at_least", {ANY: 0.5, "zh": 0.4}, "Tables, codes, rows of punctuation."),
    Rule(
        "many_digits", "digit_share", "at_most", {ANY: 0.3, "zh": 0.45}, "Numbers rather than language (MAP-CC: 0.3)."
    ),
    Rule(
        "wrong_script_han", "han_share", "at_least", {"zh": 0.3}, "Declared Chinese, but little Han (ChineseWebText)."
    ),
    Rule("wrong_script_latin", "latin_share", "at_least", {"en": 0.7}, "Declared English, but little Latin script."),
    Rule("few_words", "lettered_word_share_by_space", "at_least", {"en": 0.7}, "Words without a letter (Gopher: 0.8)."),
    Rule("short_words", "mean_word_length_by_space", "at_least", {"en": 2.5}, "Spaced-out letters (Gopher: 3)."),
    Rule("long_words", "mean_word_length_by_space", "at_most", {"en": 12}, "Spaces were lost (Gopher: 10)."),
    Rule("repeated_lines", "duplicate_line_share", "at_most", {ANY: 0.3}, "The same lines again (Gopher: 0.2)."),
    Rule(
        "repeated_text", "repeated_13_gram_share", "at_most", {ANY: 0.5}, "The same phrase again (ChineseWebText: 0.5)."
    ),
    Rule("few_characters", "character_entropy", "at_least", {ANY: 1.5}, "A few characters again and again."),
)
"""In the order in which they are asked."""


@dataclass(frozen=True)
class Decisions:
    """What the rules say of n documents.

    Attributes:
        rule: ``pa.StringArray`` (n,): the first rule that failed, null if none.
        value: ``pa.DoubleArray`` (n,): what was measured, null if none failed.
        threshold: ``pa.DoubleArray`` (n,): the limit, null if none failed.
    """

    rule: pa.StringArray
    value: pa.DoubleArray
    threshold: pa.DoubleArray


def choose_rules(changes: Mapping[str, float | None], rules: Iterable[Rule] = DEFAULT_RULES) -> tuple[Rule, ...]:
    """The rules with changed thresholds.

    Args:
        changes: By rule name ("too_short") for every language that has a threshold, or by name and language
            ("too_short.zh") for one; the latter is the stronger. None switches the rule off there.
        rules: The rules to change.

    Raises:
        ValueError: If there is no rule of that name; the message has the nearest.
    """
    rules = tuple(rules)
    known = [rule.name for rule in rules]
    for key in changes:
        name = key.partition(".")[0]
        if name not in known:
            raise ValueError(f"unknown rule '{name}', {nearest(name, known)}")
    return tuple(replace(rule, thresholds=_changed(rule, changes)) for rule in rules)


def requested_signals(rules: Iterable[Rule]) -> tuple[str, ...]:
    """Names of the costly signals that rules with a threshold ask for, in the order of the columns."""
    asked = {rule.signal for rule in rules if any(limit is not None for limit in rule.thresholds.values())}
    return tuple(name for name, signal in SIGNALS.items() if signal.on_request and name in asked)


def decide(signals: pa.Table, languages: pa.StringArray, rules: Iterable[Rule]) -> Decisions:
    """Apply rules to measured documents.

    Args:
        signals: A column for each signal that a rule asks for, n rows.
        languages: Language codes, (n,).
        rules: In order; the first that fails is the reason.
    """
    count = signals.num_rows
    codes, names = _encode(languages)
    reason = np.full(count, -1, dtype=np.int64)
    values, limits = np.zeros(count), np.zeros(count)
    rules = tuple(rules)
    for index, rule in enumerate(rules):
        by_language = [rule.threshold(name) for name in names]
        limit = np.array([np.nan if t is None else t for t in by_language], dtype=np.float64)[codes]
        value = signals[rule.signal].to_numpy().astype(np.float64)
        # A comparison with NaN is false: a language without a threshold passes.
        failed = (value < limit if rule.comparison == "at_least" else value > limit) & (reason < 0)
        reason[failed], values[failed], limits[failed] = index, value[failed], limit[failed]
    passed = reason < 0
    names_of_rules = pa.array([rule.name for rule in rules] or [""], pa.string())
    return Decisions(
        rule=names_of_rules.take(pa.array(reason, pa.int64(), mask=passed)),
        value=pa.array(values, pa.float64(), mask=passed),
        threshold=pa.array(limits, pa.float64(), mask=passed),
    )


def _encode(languages: pa.StringArray) -> tuple[Array, list[str | None]]:
    encoded = languages.dictionary_encode(null_encoding="encode")
    return encoded.indices.to_numpy(), [*encoded.dictionary.to_pylist()]


def _changed(rule: Rule, changes: Mapping[str, float | None]) -> dict[str, float | None]:
    thresholds = dict(rule.thresholds)
    if rule.name in changes:
        thresholds = dict.fromkeys(thresholds, changes[rule.name])
    for key, threshold in changes.items():
        name, _, language = key.partition(".")
        if name == rule.name and language:
            thresholds[language] = threshold
    return thresholds
