"""Rules: which measured values a document may have. A rule is data over signals, decided again without the text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Self

import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from assets.clean_text.errors import CleanTextError
from assets.clean_text.signals import find_signal
from training.settings import Settings, nearest

ANY = "*"
"""Stands for every language that has no threshold of its own."""

UNREADABLE = "unreadable"
"""The ledger's rule for rows that were skipped at reading."""

EXACT_DUPLICATE = "exact_duplicate"
"""The ledger's rule for copies of a kept document."""

NEAR_DUPLICATE = "near_duplicate"
"""The ledger's rule for documents that are nearly a kept one."""

NOTHING_LEFT = "nothing_left"
"""The ledger's rule for documents of which nothing was left after repeated text was cut."""


class Rule(Settings):
    """A document fails if the signal's value is beyond the threshold for its declared language."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="As it stands in the ledger and in the settings.")
    signal: str = Field(
        description="A signal; with the ending _before_edits as it was before line rules and masks changed the text."
    )
    at_least: float | dict[str, float | None] | None = Field(
        None, description="The least value that passes: a number, or one for each language code; '*' is all others."
    )
    at_most: float | dict[str, float | None] | None = Field(None, description="The largest value that passes.")
    description: str = Field("", description="What it is for, in a sentence.")

    @field_validator("signal")
    @classmethod
    def _signal_exists(cls, name: str) -> str:
        try:
            found = find_signal(name)
        except CleanTextError as error:
            raise ValueError(str(error)) from None
        if not any(test(found.type) for test in (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)):
            raise ValueError(f"the signal '{name}' is no number ({found.type}): it has no threshold")
        return name

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"rule '{self.name}': write either 'at_least' or 'at_most'")
        if not self.thresholds:
            raise ValueError(f"rule '{self.name}': its threshold names no language; write a number, or one for each")
        return self

    @property
    def thresholds(self) -> dict[str, float | None]:
        """The threshold by language code; ``*`` is for all others."""
        given = self.at_least if self.at_least is not None else self.at_most
        return dict(given) if isinstance(given, dict) else {ANY: given}

    @property
    def is_on(self) -> bool:
        """Whether the rule has a threshold for any language."""
        return any(threshold is not None for threshold in self.thresholds.values())

    def threshold(self, language: str | None) -> float | None:
        """The threshold for a language code: its own ("zh-Hant"), its base's ("zh"), or that of all others."""
        code = language or ""
        for key in (code, code.partition("-")[0], ANY):
            if key in self.thresholds:
                return self.thresholds[key]
        return None

    def with_thresholds(self, thresholds: dict[str, float | None]) -> Rule:
        """The same rule with other thresholds."""
        side = "at_least" if self.at_least is not None else "at_most"
        return self.model_copy(update={side: thresholds})


def change_thresholds(rules: Iterable[Rule], changes: Mapping[str, float | None]) -> list[Rule]:
    """The rules with changed thresholds.

    Args:
        rules: The rules to change.
        changes: By rule name ("too_short") for every language that has a threshold (if none has one, for those that
            are named), or by name and language ("too_short.zh") for one; the latter is the stronger. None switches the
            rule off there.

    Raises:
        ValueError: If there is no rule of that name, the message has the nearest; or no language stands behind the dot,
            or a threshold is infinite.
    """
    rules = list(rules)
    known = [rule.name for rule in rules]
    for key, threshold in changes.items():
        name, dot, language = key.partition(".")
        if name not in known:
            raise ValueError(f"unknown rule '{name}', {nearest(name, known)}")
        if dot and not language:
            raise ValueError(f"'{key}' names no language; write '{name}' for all, or e.g. '{name}.zh'")
        if threshold is not None and not math.isfinite(threshold):
            raise ValueError(f"the threshold '{key}' = {threshold} is no finite number")
    return [rule.with_thresholds(_changed(rule, changes)) for rule in rules]


def _changed(rule: Rule, changes: Mapping[str, Any]) -> dict[str, float | None]:
    thresholds = rule.thresholds
    if rule.name in changes:
        held = [language for language, threshold in thresholds.items() if threshold is not None]
        thresholds |= dict.fromkeys(held or thresholds, changes[rule.name])
    for key, threshold in changes.items():
        name, _, language = key.partition(".")
        if name == rule.name and language:
            thresholds[language] = threshold
    return thresholds
