from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.clean_text.decisions import decide
from assets.clean_text.errors import CleanTextError
from assets.clean_text.line_rules import EditLog, LineRule, edit_lines
from assets.clean_text.policy import Policy, load_policy, preset_names
from assets.clean_text.rules import Rule, change_thresholds
from assets.clean_text.settings import FilterSettings
from training.settings import SettingsError


def write(folder: Path, name: str, content: str) -> str:
    (folder / name).write_text(content, encoding="utf-8")
    return str(folder / name)


def test_a_policy_extends_overrides_and_switches_off(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "mine.yaml",
        "name: mine\nextends: [gopher-quality]\noff: [long_doc, gopher_long_doc]\nrules:\n"
        "  - {name: gopher_short_doc, signal: words, at_least: 10}\n  - {name: own, signal: words, at_most: {zh: 5}}\n",
    )
    with pytest.raises(CleanTextError, match=r"no inherited rule 'long_doc', did you mean 'gopher_long_doc'"):
        load_policy(path)
    write(tmp_path, "mine.yaml", Path(path).read_text().replace("[long_doc, ", "["))
    policy = load_policy(path)
    by_name = {rule.name: rule for rule in policy.rules}
    assert by_name["gopher_short_doc"].threshold("en") == 10
    assert by_name["own"].threshold("zh-Hant") == 5
    assert by_name["own"].threshold("en") is None
    assert "gopher_long_doc" not in by_name
    assert len(by_name) == len(load_policy("gopher-quality").rules)


def test_a_file_extends_a_file_beside_it(tmp_path: Path) -> None:
    write(tmp_path, "base.yaml", "name: base\nrules:\n  - {name: few, signal: words, at_least: 3}\n")
    path = write(tmp_path, "top.yaml", "name: top\nextends: [base.yaml]\n")
    assert [rule.name for rule in load_policy(path).rules] == ["few"]


def test_files_of_one_name_in_two_folders_are_two_policies(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    path = write(tmp_path, "rules.yaml", "name: top\nextends: [below/middle.yaml]\n")
    write(tmp_path / "below", "middle.yaml", "name: middle\nextends: [rules.yaml]\n")
    write(tmp_path / "below", "rules.yaml", "name: base\nrules:\n  - {name: few, signal: words, at_least: 3}\n")
    assert [rule.name for rule in load_policy(path).rules] == ["few"]


def test_a_cycle_of_files_is_told_whatever_the_paths_are(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    path = write(tmp_path, "one.yaml", "name: one\nextends: [below/two.yaml]\n")
    write(tmp_path / "below", "two.yaml", "name: two\nextends: [../below/../one.yaml]\n")
    with pytest.raises(CleanTextError, match=r"extends itself, by way of .*one\.yaml -> .*two\.yaml -> .*one\.yaml"):
        load_policy(path)


def test_a_rule_may_have_the_name_of_one_that_is_off(tmp_path: Path) -> None:
    content = "name: x\nextends: [gopher]\noff: [gopher_short_doc]\n"
    rule = "rules:\n  - {name: gopher_short_doc, signal: characters, at_least: 7}\n"
    path = write(tmp_path, "x.yaml", content + rule)
    assert load_policy(path).rules[-1].model_dump(include={"name", "signal", "at_least"}) == {
        "name": "gopher_short_doc",
        "signal": "characters",
        "at_least": 7,
    }
    line = "lines:\n  - {name: gopher_short_doc, strip: true}\n"
    assert [rule.name for rule in load_policy(write(tmp_path, "y.yaml", content + line)).lines] == ["gopher_short_doc"]


def test_rules_come_in_the_order_in_which_they_are_inherited(tmp_path: Path) -> None:
    for name, rules in (("a", "one two"), ("b", "two three"), ("c", "one four")):
        written = "".join(f"  - {{name: {rule}, signal: words, at_least: {ord(name)}}}\n" for rule in rules.split())
        write(tmp_path, f"{name}.yaml", f"name: {name}\nrules:\n{written}")
    path = write(
        tmp_path,
        "all.yaml",
        "name: all\nextends: [a.yaml, b.yaml, c.yaml]\nrules:\n  - {name: three, signal: lines, at_most: 7}\n",
    )
    rules = load_policy(path).rules
    # A rule stands where it was first named, and is as it was last written.
    assert [(rule.name, rule.threshold("en")) for rule in rules] == [
        ("one", 99),
        ("two", 98),
        ("three", 7),
        ("four", 99),
    ]


def test_line_rules_are_inherited_overridden_and_switched_off(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "mine.yaml",
        "name: mine\nextends: [c4]\noff: [c4_javascript]\nlines:\n  - {name: c4_citation, remove: note}\n",
    )
    inherited, lines = load_policy("c4").lines, load_policy(path).lines
    assert [rule.name for rule in lines] == [rule.name for rule in inherited if rule.name != "c4_javascript"]
    assert {rule.name: rule.remove for rule in lines}["c4_citation"] == "note"


def test_only_rules_that_are_on_ask_for_signals() -> None:
    on, off = Rule(name="a", signal="words_before_edits", at_least=1), Rule(name="b", signal="lines", at_most={"zh": 1})
    policy = Policy(name="x", rules=[on, off, on.model_copy(update={"name": "c"})])
    assert policy.signals == ("words_before_edits", "lines")
    assert policy.measures_before_edits
    changed = policy.changed({"a": None, "c": None, "b.zh": None, "b.en": 3})
    assert changed.signals == ("lines",)
    assert not changed.measures_before_edits
    assert [changed.rules[1].threshold(code) for code in ("en", "zh", "fr")] == [3, None, None]
    assert policy.rules == [on, off, policy.rules[2]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name: x\nextends: [nothing]\n", r"no policy 'nothing'"),
        ("name: x\nextends: [x.yaml]\n", r"extends itself"),
        ("name: x\nrules:\n  - {name: a, signal: wrods, at_least: 1}\n", r"no signal 'wrods', did you mean 'words'"),
        ("name: x\nrules:\n  - {name: a, signal: words}\n", r"'at_least' or 'at_most'"),
        ("name: x\nrules:\n  - {name: a, signal: words, at_least: 1, at_most: 2}\n", r"'at_least' or 'at_most'"),
        ("name: x\nlines:\n  - {name: a}\n", r"write one of 'drop', 'remove' and 'strip'"),
        ("name: x\nlines:\n  - {name: a, remove: '('}\n", r"line rule 'a'"),
        ("name: x\nrule: []\n", r"unknown key 'rule', did you mean 'rules'"),
        ("just text", r"write 'name:'"),
        ("", r"x\.yaml: write 'name:'"),
        ("- a\n", r"write 'name:'"),
        ("{1: 2}", r"x\.yaml: .*Keys should be strings"),
        ("\0", r"is no YAML"),
        ("name: x\noff: long\n", r"x\.yaml: 'off' is a list"),
        ("name: x\noff: [a]\nrules:\n  - {name: a, signal: words, at_least: 1}\n", r"x\.yaml: no inherited rule 'a'"),
        ("name: x\nextends: gopher\n", r"'extends' = 'gopher'"),
        ("name: x\nextends: [gofer]\n", r"no policy 'gofer', did you mean 'gopher'"),
        ("name: x\nrules:\n  - {name: A b, signal: words, at_least: 1}\n", r"'rules\.0\.name' = 'A b'"),
        ("name: x\nrules:\n  - {name: a, signal: language, at_least: 1}\n", r"'language' is no number \(string\)"),
        ("name: x\nrules:\n  - {name: a, signal: words, at_least: .nan}\n", r"finite number"),
        ("name: x\nrules:\n  - {name: a, signal: words, at_most: {en: .inf}}\n", r"finite number"),
        ("name: x\nrules:\n  - {name: a, signal: words, at_least: {en: many}}\n", r"valid number"),
        ("name: x\nrules:\n  - {name: a, signal: words, atleast: 1}\n", r"did you mean 'at_least'"),
        ("name: x\nrules:\n  - {name: a, signal: words, at_least: {}}\n", r"rule 'a': its threshold names no language"),
        ("name: x\nlines:\n  - {name: a, drop: {contains: ['']}}\n", r"at least 1 character"),
        (
            "name: x\nextends: [gopher]\nlines:\n  - {name: gopher_short_doc, strip: true}\n",
            r"both named 'gopher_short",
        ),
        ("a: [", r"is no YAML"),
        (
            "name: x\nrules:\n  - {name: a, signal: words, at_least: 1}\n  - {name: a, signal: words, at_most: 9}\n",
            r"two rules are named 'a'",
        ),
    ],
)
def test_a_wrong_policy_says_what_is_wrong(tmp_path: Path, content: str, message: str) -> None:
    path = write(tmp_path, "x.yaml", content)
    with pytest.raises(CleanTextError, match=message):
        load_policy("x.yaml" if "x.yaml" in content else path, folder=tmp_path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"name: \xff\n")
    (tmp_path / "folder.yaml").mkdir()
    for name in ("bytes.yaml", "folder.yaml"):
        with pytest.raises(CleanTextError, match=rf"{name} cannot be read"):
            load_policy(name, folder=tmp_path)


def test_a_missing_policy() -> None:
    with pytest.raises(CleanTextError, match=r"there is no policy at none\.yaml"):
        load_policy("none.yaml")
    with pytest.raises(CleanTextError, match=r"did you mean 'gopher'"):
        load_policy("gofer")


@pytest.mark.parametrize("name", preset_names())
def test_each_preset_is_complete(name: str) -> None:
    policy = load_policy(name)
    assert policy.name == name
    assert policy.source
    assert all(rule.description for rule in [*policy.rules, *policy.lines])


def test_thresholds_can_be_changed() -> None:
    rules = [
        Rule(name="short", signal="words", at_least={"*": 5, "zh": 2}),
        Rule(name="long", signal="words", at_most=9),
    ]
    changed = change_thresholds(rules, {"short": 7, "short.zh": 3, "long": None})
    assert [changed[0].threshold(code) for code in ("en", "zh", "zh-Hant")] == [7, 3, 3]
    assert not changed[1].is_on
    for wrong in ("shrt", "shrt.zh"):
        with pytest.raises(ValueError, match="did you mean 'short'"):
            change_thresholds(rules, {wrong: 1})
    with pytest.raises(ValueError, match=r"'short\.' names no language; write 'short' for all, or e\.g\. 'short\.zh'"):
        change_thresholds(rules, {"short.": 1})
    for limit in (float("inf"), float("nan")):
        with pytest.raises(ValueError, match=r"'short\.zh' = \w+ is no finite number"):
            change_thresholds(rules, {"short.zh": limit})


def test_a_changed_rule_stays_off_where_it_is_off() -> None:
    rule = Rule(name="short", signal="words", at_least={"*": 5, "fr": None})
    assert change_thresholds([rule], {"short": 7})[0].thresholds == {"*": 7, "fr": None}
    assert change_thresholds([rule], {"short": 7, "short.fr": 2})[0].thresholds == {"*": 7, "fr": 2}
    off = change_thresholds([rule], {"short": None})
    assert not off[0].is_on
    # What is off everywhere can be put on again.
    assert change_thresholds(off, {"short": 7})[0].thresholds == {"*": 7, "fr": 7}


@pytest.mark.parametrize(
    ("language", "limit"),
    [("en", 1), ("en-GB", 1), ("zh", 2), ("zh-Hans", 2), ("zh-Hant", None), ("fr", 4), ("", 4), (None, 4), ("no", 5)],
)
def test_the_threshold_of_a_language_is_its_own_or_its_bases_or_that_of_all_others(
    tmp_path: Path, language: str | None, limit: float | None
) -> None:
    thresholds = "{en: 1, zh: 2, zh-Hant: null, no: 5, '*': 4}"
    path = write(tmp_path, "x.yaml", f"name: x\nrules:\n  - {{name: a, signal: words, at_least: {thresholds}}}\n")
    assert load_policy(path).rules[0].threshold(language) == limit


SIGNALS = pa.table(
    {
        "doc_id": ["a", "b", "c", "d"],
        "declared_language": pa.array(["en", "zh", None, "fr"]),
        "words": pa.array([3, 3, 30, 3], pa.int64()),
        "letter_share": pa.array([0.9, 0.1, float("nan"), 0.1]),
    }
)


def test_every_rule_that_fails_is_named_in_order() -> None:
    rules = [
        Rule(name="letters", signal="letter_share", at_least={"*": 0.5, "fr": None}),
        Rule(name="few", signal="words", at_least={"en": 5, "zh": 2, "*": 4}),
        Rule(name="many", signal="words", at_most=20),
        Rule(name="off", signal="words", at_least={"en": None}),
    ]
    decided = decide(SIGNALS, rules)
    assert decided.rule.to_pylist() == ["few", "letters", "many", "few"]
    assert decided.value.to_pylist() == [3.0, 0.1, 30.0, 3.0]
    assert decided.threshold.to_pylist() == [5.0, 0.5, 20.0, 4.0]
    assert [[f["rule"] for f in failures or ()] for failures in decided.failures.to_pylist()] == [
        ["few"],
        ["letters"],
        ["many"],
        ["few"],
    ]


def test_no_rules_and_no_documents() -> None:
    assert decide(SIGNALS, []).rule.to_pylist() == [None] * 4
    assert len(decide(SIGNALS.slice(0, 0), [Rule(name="few", signal="words", at_least=1)]).rule) == 0


@given(
    st.lists(st.tuples(st.sampled_from(["en", "zh", "fr"]), st.integers(0, 20)), max_size=20),
    st.dictionaries(st.sampled_from(["en", "zh", "*"]), st.none() | st.integers(0, 20).map(float), min_size=1),
    st.booleans(),
)
def test_decisions_agree_with_the_definition(
    documents: list[tuple[str, int]], thresholds: dict[str, float | None], least: bool
) -> None:
    side = "at_least" if least else "at_most"
    rule = Rule.parse({"name": "rule", "signal": "words", side: thresholds}, origin="test")
    table = pa.table(
        {
            "declared_language": pa.array([language for language, _ in documents], pa.string()),
            "words": pa.array([words for _, words in documents], pa.int64()),
        }
    )
    expected = []
    for language, words in documents:
        limit = thresholds.get(language, thresholds.get("*"))
        fails = limit is not None and (words < limit if least else words > limit)
        expected.append("rule" if fails else None)
    assert decide(table, [rule]).rule.to_pylist() == expected


def edited(text: str, *rules: dict[str, object], language: str = "en") -> tuple[str, list[tuple[str, int, int]]]:
    log = EditLog(1)
    parsed = [LineRule.parse(rule, origin="test") for rule in rules]
    result = edit_lines(pa.array([text]), pa.array([language]), parsed, log)
    return result[0].as_py() or "", [(e["rule"], e["count"], e["bytes"]) for e in log.array()[0].as_py() or ()]


def test_lines_are_dropped_by_each_condition() -> None:
    text = (
        "Read our Privacy Policy now.\nA good line stands here.\ntoo few\nno end here at all\nOne "
        + "x" * 30
        + " word."
    )
    for drop, gone in (
        ({"contains": ["privacy policy"]}, 0),
        ({"fewer_words_than": 3}, 2),
        ({"ends_without": [".", "few"]}, 3),
        ({"ends_with": ["now."]}, 0),
        ({"longer_word_than": 20}, 4),
        ({"matches": "^no "}, 3),
    ):
        lines = text.split("\n")
        result, log = edited(text, {"name": "rule", "drop": drop})
        assert result == "\n".join(lines[:gone] + lines[gone + 1 :])
        assert log == [("rule", 1, len(lines[gone]) + 1)]


def test_pieces_of_lines_are_removed_and_lines_stripped() -> None:
    result, log = edited(
        "  Fact[1] and fact[23].\nOther", {"name": "strip", "strip": True}, {"name": "notes", "remove": r"\[\d+\]"}
    )
    assert result == "Fact and fact.\nOther"
    assert log == [("strip", 1, 2), ("notes", 1, 7)]


def test_rules_of_other_languages_do_nothing() -> None:
    rule = {"name": "few", "languages": ["en"], "drop": {"fewer_words_than": 3}}
    assert edited("好书\n一二三", rule, language="zh") == ("好书\n一二三", [])
    assert edited("one two\nthree", rule)[0] == ""


@given(st.lists(st.sampled_from(["", "a", "a b c", "a b. ", "{x}", "好书。"]), max_size=10))
def test_what_stays_are_lines_of_the_text_in_order_and_stays_again(lines: list[str]) -> None:
    rules = ({"name": "few", "drop": {"fewer_words_than": 2}}, {"name": "curly", "drop": {"contains": ["{"]}})
    text = "\n".join(lines).strip("\n")
    result, _ = edited(text, *rules)
    left = iter(text.split("\n"))
    assert all(line in left for line in result.split("\n")) or result == ""
    assert edited(result, *rules) in [(result, []), ("", [("few", 1, 1)])]


def test_a_label_needs_a_model() -> None:
    with pytest.raises(SettingsError, match="'quality_label' is of no use without 'quality_model'"):
        FilterSettings.parse({"quality_label": "__label__hq"}, origin="test")


def test_a_policy_as_settings() -> None:
    with pytest.raises(SettingsError, match="name"):
        Policy.parse({"rules": []}, origin="test")
