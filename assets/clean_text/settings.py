"""What a user may set of the text cleaning stage."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from assets.clean_text.engines import Engine
from assets.clean_text.errors import CleanTextError
from assets.clean_text.evaluation_sets import DecontaminationSettings
from assets.clean_text.licences import check_allowed
from assets.clean_text.masking import KINDS
from assets.clean_text.near_duplicates.settings import MinHashSettings
from assets.clean_text.opt_out import OptOutSettings
from assets.clean_text.policy import DEFAULT, Policy, load_policy
from assets.clean_text.repeated_text.settings import CutSettings, HashSettings
from training.settings import Settings, nearest

_MEMORY = re.compile(r"\d+(?:\.\d+)? ?(?:[KMGT]i?B|%)", re.IGNORECASE)


class FilterSettings(Settings):
    """Normalisation, preprocessing, edits, signals and rules of one run over documents."""

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
    masks: list[str] = Field(
        default_factory=lambda: list(KINDS),
        description=f"Personal data and secrets to replace by placeholders: {', '.join(KINDS)}.",
    )
    policy: str = Field(
        DEFAULT,
        description="Rules on lines and documents: a preset (default, gopher, c4, fineweb, fineweb2-zh, "
        "chinesewebtext, map-cc, dclm-heuristics ...) or the path of a YAML file.",
    )
    rules: dict[str, float | None] = Field(
        default_factory=dict,
        description="Changed thresholds by rule, e.g. too_short: 50, or for one language, e.g. too_short.zh: 20; "
        "null switches the rule off.",
    )
    signals: Literal["all", "needed"] = Field(
        "all",
        description="all: every signal that is not costly, so that other thresholds can be tried later; needed: those "
        "that the policy's rules ask for.",
    )
    licences: list[str] = Field(
        default_factory=list,
        description="Licences, or families of licences, that documents may have (MIT, CC-BY-4.0, permissive ...); "
        "empty: any.",
    )
    opt_out: OptOutSettings = Field(default_factory=OptOutSettings, description="Block lists of documents' owners.")
    decontamination: DecontaminationSettings = Field(
        default_factory=DecontaminationSettings, description="Evaluation sets whose items may not be in the text."
    )
    quality_model: str | None = Field(
        None, description="Folder or file of a quality classifier, for the signal 'quality'."
    )
    quality_label: str | None = Field(
        None, description="Label of a fastText classifier whose probability is the score."
    )
    perplexity_model: str | None = Field(None, description="Folder of a character model, for the signal 'perplexity'.")
    near_duplicates: MinHashSettings = Field(
        default_factory=MinHashSettings, description="Signatures by which near-duplicates are found later."
    )
    repeated_text: HashSettings = Field(
        default_factory=HashSettings, description="Hashes by which repeated text is found later."
    )
    engine: Engine = Field(
        "local",
        description="local: processes of this machine; ray: the Ray cluster that RAY_ADDRESS names (needs "
        "corpusline[ray], folders that all its machines see, and absolute paths here). The output is the same.",
    )

    @field_validator("masks")
    @classmethod
    def _masks_exist(cls, masks: list[str]) -> list[str]:
        for kind in masks:
            if kind not in KINDS:
                raise ValueError(f"no mask '{kind}', {nearest(kind, list(KINDS))}")
        return masks

    @field_validator("licences")
    @classmethod
    def _licences_exist(cls, licences: list[str]) -> list[str]:
        if licences:
            check_allowed(licences)
        return licences

    @model_validator(mode="after")
    def _policy_exists(self) -> Self:
        try:
            self.load_policy()
        except CleanTextError as error:
            raise ValueError(str(error)) from None
        return self

    @model_validator(mode="after")
    def _label_has_a_model(self) -> Self:
        if self.quality_label is not None and self.quality_model is None:
            raise ValueError("'quality_label' is of no use without 'quality_model': set that too, or leave it out")
        return self

    def load_policy(self) -> Policy:
        """The policy with the changed thresholds.

        Raises:
            CleanTextError: If there is no such policy or it is wrong.
            ValueError: If a changed rule does not exist.
        """
        return load_policy(self.policy).changed(self.rules)


class DuplicateSettings(Settings):
    """Which documents are the same, and which text goes because it stands elsewhere."""

    near: bool = Field(True, description="Remove documents that are nearly the same as one that is kept.")
    threshold: float = Field(
        0.75, gt=0, le=1, description="Least share of common shingles (Jaccard similarity) at which the copy goes."
    )
    comparisons: int = Field(
        16, ge=2, le=1024, description="Most documents that one is compared with in a large group of alike ones."
    )
    repeated_text: CutSettings = Field(
        default_factory=CutSettings, description="Lines, paragraphs and passages that go because they stand elsewhere."
    )
    memory_limit: str = Field("2GB", description="DuckDB's memory; what is beyond goes to disk.")
    warn_share: float = Field(
        0.6, ge=0, le=1, description="Share of a dump's documents lost as copies from which on a check warns."
    )

    @field_validator("memory_limit")
    @classmethod
    def _is_an_amount(cls, limit: str) -> str:
        if not _MEMORY.fullmatch(limit):
            raise ValueError(f"'{limit}' is no amount of memory; write e.g. 2GB, 512MB or 50%")
        return limit
