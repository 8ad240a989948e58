"""Personal data and secrets give way to placeholders.

A placeholder is the kind in capitals between angle brackets: ``<EMAIL>``, ``<PHONE>``, ``<IDENTITY_CARD>``,
``<BANK_CARD>``, ``<IP_ADDRESS>``, ``<PRIVATE_KEY>``, ``<ACCESS_TOKEN>``, ``<SECRET>``, in any language. It is ASCII,
normalisation leaves it alone, and it is not found again: masking a masked text changes nothing.

All kinds are looked for in the text as it came. Finds that overlap are masked as one, which counts for the kind that
begins first. A find that touches a placeholder, or has but one of ``.-/=`` between, is left: its boundary is no longer
known.

Full-width forms (１３８…, ＠) and typographic hyphens count as their ASCII forms. What was found is counted, and is
in no result, message or log.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import regex

from assets.clean_text import personal_data, secrets
from assets.clean_text.arrays import string_array, strings
from assets.clean_text.characters import Array
from assets.clean_text.personal_data import Form, Span
from training.settings import nearest


@dataclass(frozen=True)
class Trigger:
    """What is quick to search for, and near to every find of a kind.

    Attributes:
        pattern: For RE2 and for ``regex``; full-width forms and hyphens stand in its character classes only.
        before: A find and what its pattern looks at begin at most so many characters before a trigger ...
        after: ... and end at most so many characters after it, or after another trigger within this reach.
    """

    pattern: str
    before: int
    after: int


@dataclass(frozen=True)
class Kind:
    """Something to mask: where to look for it, and the forms in which it is written."""

    trigger: Trigger
    forms: tuple[Form, ...]


_DIGIT = "[0-9０-９]"
_SEVEN_DIGITS = Trigger(f"{_DIGIT}(?:[ .()/\\-．（）／－　‐‑‒–]{{0,2}}{_DIGIT}){{6}}", 48, 48)
_FOUR_NUMBERS = f"{_DIGIT}[.．]{_DIGIT}{{1,3}}[.．]{_DIGIT}{{1,3}}[.．]{_DIGIT}"
_MAKERS_PREFIX = (
    "AKIA|ASIA|ABIA|ACCA|gh[pousr]_|github_pat_|glpat-|xox[abeoprs]-|AIza|ya29|k_live_|sk-[0-9A-Za-z_-]{20}|hf_|npm_"
    "|pypi-|LTAI|AKID|SG[.]|eyJ|hooks[.]slack"
)
_NAME_AND_SIGN = (
    "(?i:passwo?r?d|pwd|key|token|secret|密码|密碼|口令|密钥|密鑰|令牌)[\"'`\\])]{0,2}[ \\t　]{0,4}"
    "[:=：＝]{1,2}[>＞]?[ \\t　]{0,4}[!-~！-～]{8}"
)

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "email": Kind(Trigger("[@＠][0-9A-Za-z０-９Ａ-Ｚａ-ｚ]", 80, 360), personal_data.EMAIL),
        "phone": Kind(_SEVEN_DIGITS, personal_data.PHONE),
        "identity_card": Kind(_SEVEN_DIGITS, personal_data.IDENTITY_CARD),
        "bank_card": Kind(_SEVEN_DIGITS, personal_data.BANK_CARD),
        "ip_address": Kind(Trigger(f"{_FOUR_NUMBERS}|[23][0-9A-Fa-f]{{3}}[:：]", 24, 48), personal_data.IP_ADDRESS),
        "private_key": Kind(Trigger("-----BEGIN", 8, 40_000), secrets.PRIVATE_KEY),
        "access_token": Kind(Trigger(_MAKERS_PREFIX, 16, 16_000), secrets.ACCESS_TOKEN),
        "secret": Kind(Trigger(_NAME_AND_SIGN, 16, 640), secrets.SECRET),
    }
)
"""What can be masked, by name."""

PLACEHOLDERS: Mapping[str, str] = MappingProxyType({kind: f"<{kind.upper()}>" for kind in KINDS})
"""What stands for each kind in masked text."""

_LONGEST_PLACEHOLDER = max(map(len, PLACEHOLDERS.values()))
_JOINTS = frozenset(".-/=")
_ALL_PLACEHOLDERS = tuple(PLACEHOLDERS.values())

_FOLDED = regex.compile(r"[！-～　‐‑‒–]")
_FOLDING = {chr(code): chr(code - 0xFEE0) for code in range(ord("！"), ord("～") + 1)} | dict.fromkeys("‐‑‒–", "-")
_FOLDING["　"] = " "


@dataclass(frozen=True)
class Masked:
    """n texts without what was to be masked.

    Attributes:
        texts: ``pa.StringArray`` (n,), in the same order; one without finds is the same byte for byte.
        counts: By kind, int32 (n,): finds in each text.
        bytes: By kind, int32 (n,): UTF-8 bytes of the finds in each text, which a placeholder took the place of.
    """

    texts: pa.StringArray
    counts: dict[str, Array]
    bytes: dict[str, Array]


def mask(texts: pa.StringArray, *, kinds: Collection[str] = tuple(KINDS)) -> Masked:
    """Put placeholders in the place of personal data and secrets.

    Args:
        texts: Any texts; no nulls.
        kinds: Names in ``KINDS``; the order does not matter.

    Raises:
        ValueError: If there is no kind of that name; the message has the nearest.
    """
    chosen = _choose(kinds)
    counts = {kind: np.zeros(len(texts), dtype=np.int32) for kind in chosen}
    sizes = {kind: np.zeros(len(texts), dtype=np.int32) for kind in chosen}
    rows, triggered = _candidates(texts, chosen)
    changed = np.zeros(len(texts), dtype=bool)
    masked = []
    for index, row, text in zip(range(len(rows)), rows, strings(texts.take(rows)), strict=True):
        finds = _finds(text, {kind: chosen[kind] for kind in chosen if triggered[kind][index]})
        if not finds:
            continue
        changed[row] = True
        masked.append(_replaced(text, finds))
        for begin, end, kind in finds:
            counts[kind][row] += 1
            sizes[kind][row] += len(text[begin:end].encode())
    if masked:
        texts = pc.replace_with_mask(texts, pa.array(changed), string_array(masked))
    return Masked(texts, counts, sizes)


def fold(text: str) -> str:
    """A text of the same length with ASCII in the place of full-width forms and typographic hyphens."""
    for character in () if text.isascii() else set(_FOLDED.findall(text)):
        text = text.replace(character, _FOLDING[character])
    return text


def _choose(kinds: Collection[str]) -> dict[str, Kind]:
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"unknown kind '{kind}', {nearest(kind, list(KINDS))}")
    return {name: kind for name, kind in KINDS.items() if name in kinds}


def _candidates(texts: pa.StringArray, kinds: Mapping[str, Kind]) -> tuple[Array, dict[str, Array]]:
    """Rows in which a trigger of any kind is found, and for each kind which of these rows have its own."""
    patterns = dict.fromkeys(kind.trigger.pattern for kind in kinds.values())
    rows = np.flatnonzero(_matches(texts, "|".join(patterns))) if kinds else np.zeros(0, np.int64)
    some = texts.take(rows)
    found = {pattern: _matches(some, pattern) for pattern in patterns}
    return rows, {name: found[kind.trigger.pattern] for name, kind in kinds.items()}


def _matches(texts: pa.StringArray, pattern: str) -> Array:
    matches: Array = pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False)
    return matches


def _finds(text: str, kinds: Mapping[str, Kind]) -> list[tuple[int, int, str]]:
    """Begin, end and kind of what is to be masked, in order and apart from each other."""
    folded = fold(text)
    windows = {trigger: list(_windows(folded, trigger)) for trigger in {kind.trigger for kind in kinds.values()}}
    spans = sorted(
        (begin, order, end, name)
        for order, (name, kind) in enumerate(kinds.items())
        for offset, window in windows[kind.trigger]
        for form in kind.forms
        for begin, end in _spans(window, offset, form)
        if not _touches_placeholder(folded, begin, end)
    )
    finds: list[tuple[int, int, str]] = []
    for begin, _, end, name in spans:
        if finds and begin < finds[-1][1]:
            finds[-1] = (finds[-1][0], max(end, finds[-1][1]), finds[-1][2])
        else:
            finds.append((begin, end, name))
    return finds


def _windows(text: str, trigger: Trigger) -> Iterator[tuple[int, str]]:
    """The parts of a folded text in which a find can be: where each begins, and its characters."""
    begin, end = 0, -1
    for match in _for_folded(trigger.pattern).finditer(text):
        if match.start() - trigger.before > end:
            if end > 0:
                yield begin, text[begin:end]
            begin = max(match.start() - trigger.before, 0)
        end = match.end() + trigger.after
    if end > 0:
        yield begin, text[begin:end]


@cache
def _for_folded(pattern: str) -> regex.Pattern[str]:
    """A trigger's pattern without the characters that folding removes, in which the search is several times as fast."""
    return regex.compile(regex.sub(r"[！-～]-[！-～]|[！-～　‐‑‒–]", "", pattern), regex.ASCII)


def _spans(window: str, offset: int, form: Form) -> Iterator[Span]:
    position = 0
    while match := form.pattern.search(window, position):
        span = form.check(match)
        if span:
            yield offset + span[0], offset + span[1]
        # What is no find must not hide one that begins inside it.
        position = span[1] if span else match.start() + 1


def _touches_placeholder(text: str, begin: int, end: int) -> bool:
    """Whether a placeholder stands beside a find, or beyond a sign that patterns look across."""
    before = begin - (text[begin - 1 : begin] in _JOINTS)
    after = end + (text[end : end + 1] in _JOINTS)
    return any(
        text.endswith(_ALL_PLACEHOLDERS, max(place - _LONGEST_PLACEHOLDER, 0), place) for place in (before, begin)
    ) or any(text.startswith(_ALL_PLACEHOLDERS, place) for place in (after, end))


def _replaced(text: str, finds: list[tuple[int, int, str]]) -> str:
    pieces, position = [], 0
    for begin, end, kind in finds:
        pieces += [text[position:begin], PLACEHOLDERS[kind]]
        position = end
    return "".join([*pieces, text[position:]])
