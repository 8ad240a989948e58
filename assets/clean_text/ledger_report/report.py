"""The report on the ledgers of some dumps: one frozen value that a terminal, a page or JSON can show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assets.clean_text.errors import CleanTextError
from assets.clean_text.ledger_report.effects import EditCount, RuleEffect, edit_counts, rule_effects
from assets.clean_text.ledger_report.examples import Example, dropped_examples, near_examples
from assets.clean_text.ledger_report.funnel import Funnel, funnels, rule_order
from assets.clean_text.ledger_report.stored import StoredDump, open_ledgers
from assets.clean_text.ledger_report.suspects import suspect_examples
from assets.clean_text.ledger_report.texts import EXCERPT_CHARACTERS
from training.settings import nearest
from training.suspects import Suspect


@dataclass(frozen=True)
class LedgerReport:
    """What cleaning did to some dumps.

    Attributes:
        dumps: Their names.
        language: Language asked for; None for all.
        rule: Rule asked for; None for all.
        funnels: By source and language; the first is for all if there are several.
        rules: What each rule does.
        edits: What line rules and masks took.
        dropped: Examples of what each rule dropped.
        near: Examples of what each rule nearly dropped.
        suspects: Documents of steps that trainings have left out, the strangest of each step.
        notes: What could not be said, and why.
    """

    dumps: tuple[str, ...]
    language: str | None
    rule: str | None
    funnels: tuple[Funnel, ...]
    rules: tuple[RuleEffect, ...]
    edits: tuple[EditCount, ...]
    dropped: tuple[Example, ...]
    near: tuple[Example, ...]
    suspects: tuple[Example, ...]
    notes: tuple[str, ...]


def ledger_report(
    dumps: Sequence[StoredDump],
    *,
    language: str | None = None,
    rule: str | None = None,
    examples: int = 3,
    seed: int = 0,
    suspects: Mapping[str, Sequence[Suspect]] | None = None,
    characters: int = EXCERPT_CHARACTERS,
    memory_limit: str = "512MB",
) -> LedgerReport:
    """Read the ledgers of some dumps.

    Args:
        dumps: At least one.
        language: Only documents of this language; "zh" is "zh-Hant" too.
        rule: Effects and examples of this rule only, and no suspects.
        examples: Most examples of a rule, of each kind, and suspects of a step.
        seed: Another seed gives other examples.
        suspects: Of trainings, by name.
        characters: Most characters of an example's text.
        memory_limit: Of DuckDB; what is beyond goes to disk.

    Raises:
        CleanTextError: If a ledger is missing or of an earlier version, or there is no such rule or language.
    """
    with open_ledgers(dumps, language=language, memory_limit=memory_limit) as connection:
        order = rule_order(connection, [dump.policy for dump in dumps if dump.policy])
        if rule is not None and rule not in order:
            raise CleanTextError(f"no rule '{rule}' in the ledger, {nearest(rule, list(order))}")
        counted = funnels(connection, order)
        if not counted:
            raise CleanTextError(f"no document{f' in the language {language}' if language else ''} in the ledger")
        chosen = {name: place for name, place in order.items() if rule in (None, name)}
        effects = rule_effects(connection, order)
        edits = edit_counts(connection)
        dropped: list[Example] = []
        near: list[Example] = []
        suspected: list[Example] = []
        if examples:
            dropped = dropped_examples(
                connection, dumps, order=chosen, per_rule=examples, seed=seed, characters=characters
            )
            near = near_examples(connection, dumps, order=chosen, per_rule=examples, seed=seed, characters=characters)
        if examples and suspects and rule is None:
            suspected = suspect_examples(connection, suspects, per_step=examples, characters=characters)
    gone = [dump.name for dump in dumps if dump.filtered is None]
    texts_gone = [dump.name for dump in dumps if dump.raw is None]
    notes = []
    if gone:
        notes.append(f"signals of {', '.join(gone)} are gone: no examples of what was nearly dropped")
    if texts_gone:
        notes.append(f"texts of {', '.join(texts_gone)} are gone: examples have no excerpts")
    return LedgerReport(
        dumps=tuple(dump.name for dump in dumps),
        language=language,
        rule=rule,
        funnels=tuple(counted),
        rules=tuple(effect for effect in effects if effect.rule in chosen),
        edits=tuple(edits),
        dropped=tuple(dropped),
        near=tuple(near),
        suspects=tuple(suspected),
        notes=tuple(notes),
    )
