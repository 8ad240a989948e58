from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.clean_text.line_rules import EDIT, EditLog, LineRule, edit_lines
from training.settings import SettingsError

LINES = st.lists(st.sampled_from(["a", "a b c", "  a b.", "{x} b", "好书。", "x" * 12 + " b.", "B b [1]"]), max_size=8)
DROPS: list[dict[str, Any]] = [
    {"fewer_words_than": 2},
    {"longer_word_than": 10},
    {"contains": ["{"]},
    {"ends_without": [".", "。", "]"]},
    {"ends_with": ["b."]},
    {"matches": "^[A-Z]"},
]


def parsed(*rules: dict[str, Any]) -> list[LineRule]:
    return [LineRule.parse({"name": f"rule{at}", **rule}, origin="test") for at, rule in enumerate(rules)]


def edited(
    texts: Sequence[str] | pa.Array, languages: Sequence[str | None], *rules: dict[str, Any]
) -> tuple[list[str], list[list[tuple[str, int, int]]]]:
    """The texts left, and for each (rule, count, bytes) of what was cut."""
    log = EditLog(len(texts))
    array = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.string())
    result = edit_lines(array, pa.array(languages, pa.string()), parsed(*rules), log)
    edits = log.array()
    assert edits.type == pa.list_(EDIT)
    assert result.type == array.type
    return result.to_pylist(), [[(e["rule"], e["count"], e["bytes"]) for e in found] for found in edits.to_pylist()]


def size(text: str) -> int:
    return len(text.encode())


@pytest.mark.parametrize(
    ("rule", "text", "left", "cut"),
    [
        ({"drop": {"fewer_words_than": 3}}, "one two\none two three\n一二 三 四", "one two three\n一二 三 四", (1, 8)),
        ({"drop": {"fewer_words_than": 1}}, "a\n\n \nb", "a\nb", (2, 3)),
        ({"drop": {"longer_word_than": 4}}, "abcd\nabcde\n好好好好\n好好好好好", "abcd\n好好好好", (2, 22)),
        ({"drop": {"contains": ["Javascript", "a.b"]}}, "No JAVASCRIPT\naxb\nA.B!\nok", "axb\nok", (2, 19)),
        ({"drop": {"contains": ["隐私政策"]}}, "请阅读隐私政策。\n好", "好", (1, 25)),
        ({"drop": {"contains": ["ÉTÉ", "(a|b)"]}}, "l'été\na\n(A|B)", "a", (2, 14)),
        ({"drop": {"ends_with": ["...", "…"]}}, "wait...\nwait…\nwait.", "wait.", (2, 16)),
        ({"drop": {"ends_without": [".", "。"]}}, "End.\nno end\n好。\n好", "End.\n好。", (2, 11)),
        ({"drop": {"matches": r"^\d+$"}}, "12\na12\n3", "a12", (2, 5)),
        ({"drop": {"fewer_words_than": 2, "contains": ["x"]}}, "one\nx y\na b", "a b", (2, 8)),
        ({"remove": r"\[\d+\]"}, "a[1] b[23]\nc\n[4]", "a b\nc", (2, 10)),
        ({"remove": "。"}, "好。好。\n坏", "好好\n坏", (1, 6)),
        ({"strip": True}, "  a b \n\u3000好\n\tc", "a b \n好\nc", (3, 6)),
    ],
)
def test_each_kind_of_rule(rule: dict[str, Any], text: str, left: str, cut: tuple[int, int]) -> None:
    assert edited([text], ["en"], rule) == ([left], [[("rule0", *cut)]])


def test_a_rule_holds_for_its_languages() -> None:
    texts, languages = ["a\nb c"] * 6, ["en", "zh", "zh-Hant", "zh-Hans", None, "en-GB"]
    few = {"drop": {"fewer_words_than": 2}}
    for meant, expected in (
        (["en"], [True, False, False, False, False, True]),
        (["zh"], [False, True, True, True, False, False]),
        (["zh-Hant", "en-GB"], [False, False, True, False, False, True]),
        ([], [True] * 6),
    ):
        left, edits = edited(texts, languages, few | {"languages": meant})
        assert [text == "b c" for text in left] == expected
        assert [bool(found) for found in edits] == expected


def test_each_rule_edits_what_the_one_before_left() -> None:
    strip, notes, few = {"strip": True}, {"remove": r" \[\d\]$"}, {"drop": {"fewer_words_than": 2}}
    text = "  one [1]\n  two words [2]"
    assert edited([text], ["en"], strip, notes, few) == (
        ["two words"],
        [[("rule0", 2, 4), ("rule1", 2, 8), ("rule2", 1, 4)]],
    )
    assert edited([text], ["en"], few, strip, notes) == (["one\ntwo words"], [[("rule1", 2, 4), ("rule2", 2, 8)]])


def test_a_text_of_which_nothing_is_left_is_empty() -> None:
    left, edits = edited(["a", "a\nb", "", "a b"], ["en"] * 4, {"drop": {"fewer_words_than": 2}})
    assert left == ["", "", "", "a b"]
    assert edits == [[("rule0", 1, 1)], [("rule0", 2, 3)], [], []]


def test_blank_lines_at_both_ends_of_what_is_left_go() -> None:
    left, _ = edited(["a\n\nb c\n\nd\n\ne"], ["en"], {"drop": {"matches": "^[ade]$"}})
    assert left == ["b c"]
    untouched = "\nb c\n\n"
    assert edited([untouched], ["en"], {"drop": {"matches": "^a$"}})[0] == [untouched]


@pytest.mark.parametrize("type", [pa.string(), pa.large_string()])
def test_parts_of_arrays(type: pa.DataType) -> None:
    texts = pa.array(["x", "one\ntwo words", "", "好\n一 二", "x"], type).slice(1, 3)
    for rule in ({"drop": {"fewer_words_than": 2}}, {"drop": {"matches": "^(one|好)$"}}, {"remove": "^(one|好)$"}):
        assert edited(texts, ["en", "en", "zh"], rule)[0] == ["two words", "", "一 二"]
    assert edited(texts.slice(0, 0), [], {"strip": True}) == ([], [])


@given(st.lists(LINES, max_size=4), st.lists(st.sampled_from(DROPS), max_size=4))
def test_what_stays_are_lines_of_the_text_in_order(documents: list[list[str]], drops: list[dict[str, Any]]) -> None:
    texts, languages = ["\n".join(lines) for lines in documents], ["en"] * len(documents)
    rules = [{"drop": drop} for drop in drops]
    left, edits = edited(texts, languages, *rules)
    for lines, result, found in zip(documents, left, edits, strict=True):
        rest = iter(lines)
        kept = result.split("\n") if result else []
        assert all(line in rest for line in kept)
        assert sum(count for _, count, _ in found) == len(lines) - len(kept)
        # Every byte that went is in the log.
        assert sum(cut for _, _, cut in found) == size("\n".join(lines)) - size(result)
        assert [name for name, _, _ in found] == sorted(name for name, _, _ in found)
    assert edited(left, languages, *rules) == (left, [[] for _ in left])


@given(LINES, st.lists(st.sampled_from([{"strip": True}, {"remove": r"\[\d\]"}, {"remove": "好"}]), max_size=3))
def test_bytes_cut_inside_lines_are_in_the_log(lines: list[str], rules: list[dict[str, Any]]) -> None:
    text = "\n".join(lines)
    left, edits = edited([text], ["en"], *rules)
    assert sum(cut for _, _, cut in edits[0]) == size(text) - size(left[0])


def test_texts_without_a_rule_are_the_same_array() -> None:
    texts = pa.array(["a"])
    assert edit_lines(texts, pa.array(["en"]), [], EditLog(1)) is texts
    assert edit_lines(texts, pa.array(["en"]), parsed({"strip": True}), EditLog(1)) is texts


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({}, r"line rule 'rule0': write one of 'drop', 'remove' and 'strip'"),
        ({"strip": True, "remove": "x"}, r"write one of"),
        ({"remove": "(?=x)"}, r"line rule 'rule0': .*Invalid"),
        ({"drop": {"matches": "["}}, r"line rule 'rule0': .*Invalid"),
        ({"drop": {}}, r"line rule 'rule0': 'drop' has no condition"),
        ({"remove": ""}, r"at least 1 character"),
        ({"drop": {"matches": ""}}, r"at least 1 character"),
        ({"drop": {"contains": [""]}}, r"at least 1 character"),
        ({"drop": {"ends_without": [""]}}, r"at least 1 character"),
        ({"drop": {"fewer_words_than": 0}}, r"greater than or equal to 1"),
        ({"drop": {"contain": ["x"]}}, r"unknown key 'drop.contain', did you mean 'contains'"),
        ({"name": "Two Words", "strip": True}, r"'name' = 'Two Words'"),
    ],
)
def test_a_wrong_rule_says_what_is_wrong(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parsed(rule)
