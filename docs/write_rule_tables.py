"""Write the tables of docs/text-rules.md anew from the presets and the register of signals.

    python docs/write_rule_tables.py           # after a preset or a signal changed
    python docs/write_rule_tables.py --check   # only tell whether the tables are up to date

A table stands between the markers ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->``; the rest is written by hand.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from assets.clean_text import policy as policies
from assets.clean_text.line_rules import LineRule
from assets.clean_text.policy import Policy, preset_names
from assets.clean_text.rules import ANY, Rule
from assets.clean_text.signals import SIGNALS, Signal

PAGE = Path(__file__).parent / "text-rules.md"
PRESETS = Path(policies.__file__).parent / "presets"
FIRST = "default"
LONGEST_EXAMPLE = 40


def rewritten(page: str) -> str:
    """The page with its tables made anew."""
    for name, content in (("presets", _presets()), ("signals", _signals())):
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if len(pattern.findall(page)) != 1:
            sys.exit(f"{PAGE} must have the lines '{begin}' and '{end}' once")
        before, after = pattern.split(page)
        page = before + "\n".join((begin, "", *content, end)) + after
    return page


def _presets() -> Iterator[str]:
    for name in sorted(preset_names(), key=lambda name: (name != FIRST, name)):
        content = yaml.safe_load((PRESETS / f"{name}.yaml").read_text(encoding="utf-8"))
        preset = Policy.parse(content, origin=name)
        yield f"### `{name}`"
        yield ""
        yield " ".join(preset.description.split())
        yield ""
        yield f"Source: {' '.join(preset.source.split())}"
        if preset.extends:
            yield ""
            parents = ", ".join(f"[`{parent}`](#{parent})" for parent in preset.extends)
            yield f"First come the rules of {parents}" + (", and then:" if preset.rules or preset.lines else ".")
        if preset.lines:
            yield ""
            yield from _table(("line rule", "what happens", "why"), map(_line_rule, preset.lines))
        if preset.rules:
            yield ""
            yield from _table(("rule", "signal", "passes", "what it drops"), map(_rule, preset.rules))
        yield ""


def _rule(rule: Rule) -> Sequence[str]:
    side = "at least" if rule.at_least is not None else "at most"
    return f"`{rule.name}`", f"`{rule.signal}`", f"{side} {_thresholds(rule)}", rule.description


def _thresholds(rule: Rule) -> str:
    others = {code: limit for code, limit in rule.thresholds.items() if code != ANY}
    listed = ", ".join(f"{_number(limit)} for {code}" for code, limit in others.items())
    if ANY not in rule.thresholds:
        return f"{listed} only"
    return _number(rule.thresholds[ANY]) + (f" ({listed})" if listed else "")


def _line_rule(rule: LineRule) -> Sequence[str]:
    if rule.strip:
        does = "white space at the beginning goes"
    elif rule.remove is not None:
        does = f"what matches `{rule.remove}` goes"
    else:
        given = rule.drop.model_dump(exclude_defaults=True) if rule.drop else {}
        does = "; ".join(f"goes if it {key.replace('_', ' ')} {_value(value)}" for key, value in given.items())
        does = does.replace("if it fewer", "if it has fewer").replace("if it longer", "if it has a longer")
    return f"`{rule.name}`", does, rule.description


def _signals() -> Iterator[str]:
    for module, members in groupby(SIGNALS.values(), key=lambda signal: signal.compute.__module__):
        title = (sys.modules[module].__doc__ or "").strip().splitlines()[0]
        yield f"**{module.rpartition('.')[2]}** — {_prose(title)}"
        yield ""
        yield from _table(("signal", "type", "meaning", "example"), map(_signal, members))
        yield ""


def _signal(signal: Signal) -> Sequence[str]:
    name = f"`{signal.name}`" + (" *" if signal.on_request else "")
    return name, str(signal.type), _prose(signal.description), _example(signal)


def _example(signal: Signal) -> str:
    if signal.example is None:
        return ""
    text, value = signal.example
    shown = json.dumps(text, ensure_ascii=False)
    if not text or len(shown) > LONGEST_EXAMPLE:
        return ""
    return f"`{shown}` ({signal.language}): {_number(value) if isinstance(value, float) else value}"


def _value(value: Any) -> str:
    return ", ".join(f"`{each}`" for each in value) if isinstance(value, list) else str(value)


def _number(value: float | None) -> str:
    return "any" if value is None else f"{value:.3g}" if value % 1 else f"{value:,.0f}"


def _prose(text: str) -> str:
    return " ".join(text.replace("``", "`").split())


def _table(headings: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    yield _row(headings)
    yield _row(["---"] * len(headings))
    for row in rows:
        yield _row([cell.replace("|", "\\|") for cell in row])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the tables are stale")
    options = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    made = rewritten(page)
    if options.check and made != page:
        sys.exit(f"{PAGE.name} does not fit the presets and signals: run python docs/write_rule_tables.py")
    if not options.check:
        PAGE.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
