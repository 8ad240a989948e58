from __future__ import annotations

import pyarrow as pa
import pytest

from assets.clean_text.rules import DEFAULT_RULES, Rule, choose_rules, decide, requested_signals
from assets.clean_text.settings import FilterSettings
from assets.clean_text.signals import SIGNALS, measure
from training.settings import SettingsError

GOOD = {
    "en": "Shall I compare thee to a summer's day?\nThou art more lovely and more temperate.",
    "zh": "房间很干净，服务也不错，下次还会再来。",
}


def verdict(text: str, language: str, changes: dict[str, float | None] | None = None) -> str | None:
    rules = choose_rules(changes or {})
    languages = pa.array([language])
    signals = measure(pa.array(["0"]), pa.array([text]), languages, requested=requested_signals(rules))
    return decide(signals, languages, rules).rule[0].as_py()


@pytest.mark.parametrize(
    ("rule", "language", "text"),
    [
        (None, "en", GOOD["en"]),
        (None, "zh", GOOD["zh"]),
        (None, "zh", "键盘很舒服，CPU是Intel的，2.4GHz，够用了！！！"),
        (None, "en", "HAMLET.\nTo be, or not to be,--that is the question:--"),
        (None, "fr", "Être ou ne pas être, voilà la question."),
        ("empty", "en", ""),
        ("too_short", "en", "[Exeunt.]"),
        ("too_short", "zh", "很好"),
        ("too_short", "zh-Hant", "很好"),
        ("too_short", "fr", "C'est tout."),
        ("undecodable", "en", "The caf\ufffd was clos\ufffdd and the na\ufffdve guests left."),
        ("undecodable", "zh", "临Τ\ue5e6翴\ue4c7┬丁ず\ue019\ue22e狹﹡礛楞楞"),
        ("few_letters", "zh", "一般！！！！！！！！！！！"),
        ("few_letters", "en", "------------ 12 ------------ 13 -----------"),
        ("many_digits", "zh", "我的电话是13800138000，请转分机"),
        ("many_digits", "en", "Call me on 0207946 or 0207947 if needed, love"),
        ("wrong_script_han", "zh", "It was excellent and I can recommend it to anyone."),
        ("wrong_script_latin", "en", "房间很干净，服务也不错，下次还会再来。房间很干净。"),
        ("few_words", "en", "Contents 1 2 3 4 5 Introduction 6 7 8 Acknowledgements"),
        ("short_words", "en", "T h i s i s s p a c e d o u t t e x t"),
        ("long_words", "en", "Thespaceswerelost whenthistextwasextracted fromitspage"),
        ("repeated_lines", "en", "Buy now, only today!\n" * 3 + "Or never."),
        ("repeated_text", "zh", "物流速度太慢了，" * 10),
        ("few_characters", "zh", "哈哈哈哈哈哈哈哈哈哈哈哈"),
    ],
)
def test_default_rules(rule: str | None, language: str, text: str) -> None:
    assert verdict(text, language) == rule


def test_the_reason_has_its_measure() -> None:
    languages = pa.array(["en", "zh", None])
    texts = pa.array(["too short", "很好", "It is long enough for any language."])
    signals = measure(pa.array(["0", "1", "2"]), texts, languages)
    decisions = decide(signals, languages, DEFAULT_RULES)
    assert decisions.rule.to_pylist() == ["too_short", "too_short", None]
    assert decisions.value.to_pylist() == [8.0, 2.0, None]
    assert decisions.threshold.to_pylist() == [16.0, 6.0, None]


def test_no_rule_keeps_everything() -> None:
    signals = measure(pa.array(["0"]), pa.array([""]), pa.array(["en"]))
    assert decide(signals, pa.array(["en"]), ()).rule.to_pylist() == [None]
    assert verdict("", "en", {rule.name: None for rule in DEFAULT_RULES}) is None


def test_a_threshold_is_changed_for_all_languages_or_for_one() -> None:
    assert verdict(GOOD["en"], "en", {"too_short": 1000}) == "too_short"
    assert verdict(GOOD["en"], "en", {"too_short.zh": 1000}) is None
    assert verdict(GOOD["zh"], "zh", {"too_short.zh": 1000}) == "too_short"
    assert verdict(GOOD["zh"], "zh", {"too_short": 1000, "too_short.zh": 3}) is None
    assert verdict("[Exeunt.]", "en", {"too_short.en": None}) is None
    assert verdict("很好", "zh", {"too_short.en": None}) == "too_short"


def test_a_rule_for_one_language_stays_there() -> None:
    assert verdict(GOOD["en"], "en", {"wrong_script_han": 0.9}) is None
    assert verdict(GOOD["en"], "en", {"wrong_script_han.en": 0.9}) == "wrong_script_han"


def test_costly_signals_are_requested_by_rules_that_are_on() -> None:
    rule = Rule("words", "words_by_rjieba", "at_least", {"zh": 3}, "Too few words.")
    assert requested_signals((*DEFAULT_RULES, rule)) == ("words_by_rjieba",)
    assert requested_signals(choose_rules({"words": None}, [rule])) == ()
    assert requested_signals(DEFAULT_RULES) == ()


def test_rules_ask_for_signals_that_exist() -> None:
    assert {rule.signal for rule in DEFAULT_RULES} <= set(SIGNALS)
    assert len({rule.name for rule in DEFAULT_RULES}) == len(DEFAULT_RULES)


def test_an_unknown_rule_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r"clean_text: .*unknown rule 'to_short', did you mean 'too_short'"):
        FilterSettings.parse({"rules": {"to_short.zh": 3}}, origin="clean_text")
