"""Policies: line rules and document rules in one YAML file, by a preset's name or a path.

    name: mine
    extends: [gopher]              # presets or files whose rules come first
    lines:
      - {name: cookie_banners, drop: {contains: ["accept all cookies"]}}
    rules:
      - {name: short, signal: words, at_least: {en: 100, zh: 60}}
    off: [gopher_short_doc]        # inherited rules that shall not hold

A rule of an inherited rule's name replaces it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, model_validator

from assets.clean_text.errors import CleanTextError
from assets.clean_text.line_rules import LineRule
from assets.clean_text.rules import Rule, change_thresholds
from assets.clean_text.signals import BEFORE_EDITS
from training.settings import Settings, SettingsError, nearest

DEFAULT = "default"


class _Loader(yaml.SafeLoader):
    """YAML 1.2's booleans, true and false alone: the key ``off`` and the language ``no`` are words."""


_BOOLEAN = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOLEAN]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOLEAN, re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


class Policy(Settings):
    """What may stay: rules on lines, which edit a document, and rules on documents, which drop it."""

    name: str = Field(description="Name, for the ledger's readers.")
    description: str = Field("", description="What it is for.")
    source: str = Field("", description="Where its numbers are from.")
    extends: list[str] = Field(
        default_factory=list, description="Presets or files (relative to this one) whose rules come before these."
    )
    lines: list[LineRule] = Field(default_factory=list, description="Rules on lines, applied in order.")
    rules: list[Rule] = Field(
        default_factory=list, description="Rules on documents; the first that fails is the reason in the ledger."
    )

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [rule.name for rule in self.lines] + [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two rules are named '{twice[0]}'; rename one")
        return self

    @property
    def signals(self) -> tuple[str, ...]:
        """Columns that the rules ask for, each once."""
        return tuple(dict.fromkeys(rule.signal for rule in self.rules if rule.is_on))

    @property
    def measures_before_edits(self) -> bool:
        """Whether a rule asks for a signal as it was before the text was edited."""
        return any(name.endswith(BEFORE_EDITS) for name in self.signals)

    def changed(self, thresholds: Mapping[str, float | None]) -> Policy:
        """The same policy with other thresholds; see ``rules.change_thresholds``."""
        return self.model_copy(update={"rules": change_thresholds(self.rules, thresholds)})


def preset_names() -> list[str]:
    """Names of the policies that come with the product."""
    folder = resources.files("assets.clean_text") / "presets"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_policy(name: str, *, folder: Path | None = None) -> Policy:
    """The policy of a preset's name or a file's path, with the rules of those it extends.

    Args:
        name: A preset's name, or a path ending in .yaml or .yml.
        folder: What a relative path starts from; the working directory by default.

    Raises:
        CleanTextError: If there is no such preset or file, it is no YAML, or a rule in it is wrong.
    """
    return _load(name, folder, ())


def _load(name: str, folder: Path | None, above: tuple[str, ...]) -> Policy:
    is_file = name.endswith((".yaml", ".yml"))
    path = (folder or Path()) / Path(name).expanduser()
    place = str(path.resolve()) if is_file else name
    if place in above:
        raise CleanTextError(f"the policy {name} extends itself, by way of {' -> '.join((*above, place))}")
    if is_file:
        origin, inner = str(path), path.parent
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise CleanTextError(
                f"there is no policy at {path}; write a preset's name ({', '.join(preset_names())}) or a file's path"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise CleanTextError(f"the policy {path} cannot be read: {error}") from None
    else:
        if name not in preset_names():
            raise CleanTextError(f"no policy '{name}', {nearest(name, preset_names())}; a file's path ends in .yaml")
        origin, inner = f"policy '{name}'", None
        text = (resources.files("assets.clean_text") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    try:
        content = yaml.load(text, Loader=_Loader)  # noqa: S506 - it is a SafeLoader
    except yaml.YAMLError as error:
        raise CleanTextError(f"{origin} is no YAML: {error}") from None
    if not isinstance(content, Mapping):
        raise CleanTextError(f"{origin}: write 'name:' and below it 'rules:', see the presets")
    own = _off(dict(content), origin)
    switched_off = own.pop("off")
    try:
        policy = Policy.parse(own, origin=origin)
    except SettingsError as error:
        raise CleanTextError(str(error)) from None
    lines: dict[str, LineRule] = {}
    rules: dict[str, Rule] = {}
    for parent in policy.extends:
        inherited = _load(parent, inner, (*above, place))
        lines |= {rule.name: rule for rule in inherited.lines}
        rules |= {rule.name: rule for rule in inherited.rules}
    for missing in sorted(switched_off - set(lines) - set(rules)):
        raise CleanTextError(f"{origin}: no inherited rule '{missing}', {nearest(missing, [*lines, *rules])}")
    for name in switched_off:
        lines.pop(name, None)
        rules.pop(name, None)
    lines |= {rule.name: rule for rule in policy.lines}
    rules |= {rule.name: rule for rule in policy.rules}
    for both in sorted(set(lines) & set(rules)):
        raise CleanTextError(f"{origin}: a rule on lines and one on documents are both named '{both}'; rename one")
    return policy.model_copy(update={"lines": list(lines.values()), "rules": list(rules.values())})


def _off(content: dict[str, Any], origin: str) -> dict[str, Any]:
    """Take the key ``off`` apart: names of inherited rules that shall not hold."""
    names = content.pop("off", None) or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CleanTextError(f"{origin}: 'off' is a list of names of inherited rules")
    return content | {"off": set(names)}
