"""What a user may set of the text cleaning stage."""

from __future__ import annotations

from pydantic import Field, field_validator

from assets.clean_text.rules import choose_rules
from training.settings import Settings


class FilterSettings(Settings):
    """Normalisation, preprocessing and rules of one run over documents."""

    blank_lines: int = Field(
        1, ge=0, le=100, description="Most blank lines kept in a row; white space at line ends always goes."
    )
    segment_words: bool = Field(
        False,
        description="Put one space between words (Chinese by rjieba, other languages by Unicode rules). "
        "Leave it off for language models: they would learn to write the spaces.",
    )
    strip_punctuation: bool = Field(
        False,
        description="Replace punctuation and symbols by spaces. "
        "Leave it off for language models: they could not write it.",
    )
    rules: dict[str, float | None] = Field(
        default_factory=dict,
        description="Changed thresholds by rule, e.g. too_short: 50, or for one language, e.g. too_short.zh: 20; "
        "null switches the rule off.",
    )

    @field_validator("rules")
    @classmethod
    def _rules_exist(cls, rules: dict[str, float | None]) -> dict[str, float | None]:
        choose_rules(rules)
        return rules
