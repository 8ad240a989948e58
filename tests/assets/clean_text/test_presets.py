"""Every preset, rule by rule: a text that passes the whole preset, and one for each rule and language that fails it."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from assets.clean_text.cleaning import CleanedBatch, Cleaner
from assets.clean_text.policy import Policy, load_policy, preset_names
from assets.clean_text.settings import DuplicateSettings, FilterSettings
from assets.raw_text.documents import DOCUMENTS

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "docs" / name for name in ("text-rules.md", "text-rules.zh.md")]

ENGLISH = """\
The ferry left the harbour a little after six, with the lamps still burning along the quay and hardly a soul on deck.
My grandfather had crossed here every week for forty years, and he knew which gulls would follow us to the island.
He told me that the captain, a silent man with one good eye, could smell fog long before anybody saw it.
Nobody believed him until the winter when three boats ran aground and ours alone came home with all its passengers.
Since then people have brought the captain small presents: a jar of honey, warm socks, now and again a bottle of rum.
"""
CHINESE = """\
清晨六点刚过，渡轮便离开了码头，岸边的路灯还亮着，甲板上几乎看不到乘客。
祖父四十年来每个星期都要坐这条船，他认得哪几只海鸥会一直跟到对面的小岛。
他告诉我，船长是个沉默的老人，只有一只眼睛看得清楚，却能在别人发现之前闻到大雾的味道。
起初没有人相信这种说法，直到有一年冬天三条船先后触礁，唯独我们这条平安回到港口，船上的客人全都毫发无损。
从那以后，邻居们常常给船长带些小礼物：自家酿的蜂蜜、厚厚的毛袜，偶尔还有一瓶好酒。
岛上的孩子最喜欢听他讲从前的故事，而他总是先喝一口茶，再慢慢地开口。
"""
GERMAN = "Die Fähre verließ den Hafen kurz nach sechs, und auf dem Deck war kaum ein Mensch zu sehen. " * 2

LONG_EN, LONG_ZH = "word of the day and then " * 16_700, "房间很干净，" * 33_400
EMPTY = {"en": "", "zh": ""}

FAILING: dict[str, dict[str, dict[str, str]]] = {
    "default": {
        "empty": EMPTY,
        "too_short": {"en": "[Exeunt.]", "zh": "很好"},
        "undecodable": {
            "en": "The caf\ufffd was clos\ufffdd and the na\ufffdve guests left.",
            "zh": "临Τ\ue5e6翴\ue4c7┬丁ず\ue019\ue22e狹﹡礛楞楞",
        },
        "misread": {"en": "The page reads " + "锟斤拷" * 3 + " and no more.", "zh": "房间" + "锟斤拷" * 3 + "很好"},
        "few_letters": {"en": "------------ 12 ------------ 13 -----------", "zh": "一般！！！！！！！！！！！"},
        "many_digits": {
            "en": "Call me on 0207946 or 0207947 if needed, love",
            "zh": "我的电话是13800138000，请转分机",
        },
        "wrong_script_han": {"zh": "It was excellent and I can recommend it to anyone."},
        "wrong_script_kana": {"zh": "部屋はとてもきれいで、サービスも良かったです。"},
        "wrong_script_latin": {"en": "房间很干净，服务也不错，下次还会再来。房间很干净。"},
        "few_words": {"en": "Contents : 1 : 2 : 3 : 4 : 5 : 6 : Acknowledgements"},
        "short_words": {"en": "T h i s i s s p a c e d o u t t e x t"},
        "long_words": {"en": "Thespaceswerelost whenthistextwasextracted fromitspage"},
        "menu": {"en": "Home\nNews\nSport\nContact\nLogin\nRegister", "zh": "首页\n新闻\n体育\n财经\n登录\n注册"},
        "repeated_lines": {"en": "Buy now, only today!\n" * 3 + "Or never.", "zh": "今日特价，只限今天！\n" * 4},
        "repeated_text": {"en": "We will come again. " * 6, "zh": "物流速度太慢了，" * 10},
        "few_characters": {"en": "ha" * 12, "zh": "哈" * 12},
    },
    "gopher-quality": {
        "gopher_short_doc": {"en": "A short note, and that is all there is of it."},
        "gopher_long_doc": {"en": LONG_EN},
        "gopher_below_avg_threshold": {"en": "I am to go on up. " * 20},
        "gopher_above_avg_threshold": {"en": "uncharacteristically extraordinary considerations " * 20},
        "gopher_too_many_hashes": {"en": "#one #two of the lot " * 20},
        "gopher_too_many_ellipsis": {"en": "well ... and then ... " * 20},
        "gopher_too_many_bullets": {"en": "- an item of the list\n" * 20},
        "gopher_too_many_end_ellipsis": {"en": "to be continued with the next...\n" * 20},
        "gopher_below_alpha_threshold": {"en": "of the 1 2 3 4 " * 20},
        "gopher_enough_stop_words": {"en": "Dogs bark loudly at night. " * 20},
    },
    "gopher-repetition": {
        "dup_para_frac": {"en": "The same paragraph.\n\n" * 4},
        "dup_para_char_frac": {"en": "The same paragraph.\n\n" * 4},
        "dup_line_frac": {"en": "The same line.\n" * 4},
        "dup_line_char_frac": {"en": "The same line.\n" * 4},
        **{f"top_{size}_gram": {"en": "go on and on " * 8} for size in (2, 3, 4)},
        **{f"duplicated_{size}_n_grams": {"en": ENGLISH + ENGLISH} for size in range(5, 11)},
    },
    **{
        name: {
            "lorem_ipsum": {"en": ENGLISH + "Lorem ipsum dolor sit amet."},
            "curly_bracket": {"en": ENGLISH + "A bracket { stands in this line."},
            "too_few_sentences": {"en": "A single sentence is left of it."},
        }
        for name in ("c4", "c4-any-line")
    },
    "fineweb-quality": {
        "fineweb_empty": {"en": ""},
        "line_punct_ratio": {"en": "no line of this one ends\nas a sentence of prose does"},
        "short_line_ratio": {"en": "Short.\nShorter.\nShortest."},
        "char_dup_ratio": {"en": "Stay where you are.\n" * 2},
        "list_ratio": {"en": "one\ntwo\nthree\nfour"},
    },
    "fineweb": {"language": {"en": GERMAN}},
    "dclm-heuristics": {"language": {"en": GERMAN}},
    "gopher": {},
    "fineweb2-zh": {
        "language": {"zh": ENGLISH},
        "dup_line_frac": {"zh": "今天天气很好。\n" * 4},
        **{f"top_{size}_gram": {"zh": "今天天气很好，" * 8} for size in (2, 3, 4)},
        **{f"duplicated_{size}_n_grams": {"zh": CHINESE + CHINESE} for size in range(5, 11)},
        "line_punct_ratio": {"zh": "这一行没有句号\n那一行也没有"},
        "char_dup_ratio": {"zh": "今天天气很好。\n" * 2},
        "list_ratio": {"zh": "首页\n新闻\n体育\n财经"},
        "gopher_short_doc": {"zh": "今天天气很好。"},
        "gopher_long_doc": {"zh": LONG_ZH},
        "gopher_below_avg_threshold": {"zh": "。。。！！！"},
        "gopher_above_avg_threshold": {"zh": "internationalization " * 60},
        "gopher_too_many_hashes": {"zh": "#今天 #天气 " * 20},
        "gopher_too_many_ellipsis": {"zh": "今天…天气…" * 20},
        "gopher_too_many_bullets": {"zh": "- 今天天气很好\n" * 20},
        "gopher_too_many_end_ellipsis": {"zh": "今天天气很好…\n" * 20},
        "gopher_below_alpha_threshold": {"zh": "今天 1 2 3 4 " * 20},
        "gopher_enough_stop_words": {"zh": "小狗叫，小猫跑，" * 20},
    },
    "chinesewebtext": {
        "text_length": {"zh": CHINESE[:200]},
        "average_line_length": {"zh": "首页\n新闻\n体育\n财经"},
        "chinese_share": {"zh": ENGLISH},
        "repeated_13_grams": {"zh": "物流速度太慢了，" * 30},
    },
    "map-cc": {
        "few_sentences": {"zh": "今天天气很好，我们一起去公园散步"},
        "too_short": {"zh": "今天天气很好。我们去公园。"},
        "too_long": {"zh": CHINESE * 60},
        "short_words": {"zh": "我、你、他、她、它、" * 6},
        "long_words": {"zh": "internationalization " * 6},
        "many_digits": {"zh": "2009年6月12日0点51分付款。" * 6},
        "few_unique_characters": {"zh": "好啊" * 60},
        "low_entropy": {"zh": "好啊。" * 60},
    },
}
"""By preset, rule of its own, and declared language: a text that fails the rule, and perhaps others."""

LANGUAGES = {"default": ("en", "zh"), "fineweb2-zh": ("zh",), "chinesewebtext": ("zh",), "map-cc": ("zh",)}
SHORT_OF_DEFAULT = {
    "en": [
        "Great hotel!!! 10/10 would stay again :)",
        "<bob> hi\n<alice> hey! how r u?\n<bob> fine :) u?\n<alice> ok, brb",
        '"No!"\n"Yes!"\n"No!"\n"Yes, I tell you. Yes!"',
        "KING LEAR.\nHowl, howl, howl, howl!—O, you are men of stones:",
        "Row, row, row your boat,\nGently down the stream.\nMerrily, merrily, merrily,\nLife is but a dream.\n\n" * 2,
        'def add(a, b):\n    """Add two numbers."""\n    return a + b\n\n\nprint(add(1, 2))',
        "foo (1.2-1) unstable; urgency=low\n\n  * New upstream release.\n  * Fix crash in parser (Closes: #12345).",
        "1. Wake up.\n2. Eat.\n3. Go to work.\n4. Come home.\n5. Sleep.",
        "Let f(x) = x^2 + 3x - 4. Then f'(x) = 2x + 3, so f has its minimum at x = -3/2, where f(-3/2) = -25/4.",
    ],
    "zh": [
        "很好，5星！！！",
        "键盘很舒服，CPU是Intel的，2.4GHz，够用了！！！",
        "床前明月光，疑是地上霜。\n举头望明月，低头思故乡。",
        "采采芣苢，薄言采之。采采芣苢，薄言有之。\n采采芣苢，薄言掇之。采采芣苢，薄言捋之。",
        "小明：在吗？\n小红：在，怎么了\n小明：今晚7:30吃饭？\n小红：ok，哈哈哈哈",
        "安装CUDA 11.8和PyTorch 2.0：conda install pytorch torchvision pytorch-cuda=11.8 -c pytorch，然后检查。",
        "这个function的return type是std::vector<int>，不是std::array。",
        "def 加(a, b):\n    # 返回两个数的和\n    return a + b\n\nprint(加(1, 2))",
    ],
}

EDITED = {
    "c4_strip": "   The beginning of this line is white.",
    "c4_too_long_word": "It says " + "x" * 1001 + " and ends.",
    "c4_citation": "The island has two lakes.[12]",
    "c4_no_terminal_punc": "This line breaks off before the",
    "c4_ends_in_ellipsis": "This line breaks off before the...",
    "c4_too_few_words": "Read more.",
    "c4_javascript": "Please enable JavaScript to see it.",
    "c4_policy": "Read our Privacy Policy before you go.",
}


@cache
def cleaner(preset: str) -> Cleaner:
    return Cleaner(FilterSettings(policy=preset, masks=[], signals="needed"))


def clean(preset: str, language: str, *texts: str) -> CleanedBatch:
    rows = [
        {**dict.fromkeys(DOCUMENTS.names, ""), "doc_id": f"{index:032x}", "text": text, "language": language}
        | {"byte_start": 0, "byte_end": 0, "metadata": "{}"}
        for index, text in enumerate(texts)
    ]
    return cleaner(preset).clean(pa.Table.from_pylist(rows, schema=DOCUMENTS))


def failed(preset: str, language: str, *texts: str) -> list[set[str]]:
    decisions = clean(preset, language, *texts).decisions
    return [{failure["rule"] for failure in failures} for failures in decisions["failures"].to_pylist()]


def own_rules(preset: str) -> Policy:
    path = ROOT / "assets" / "clean_text" / "presets" / f"{preset}.yaml"
    return Policy.parse(yaml.safe_load(path.read_text(encoding="utf-8")), origin=preset)


@pytest.mark.parametrize("preset", preset_names())
def test_a_preset_explains_itself(preset: str) -> None:
    policy = load_policy(preset)
    assert policy.name == preset
    assert policy.description and policy.source
    assert all(rule.description.endswith(".") for rule in (*policy.rules, *policy.lines))
    inherited = [rule.name for parent in policy.extends for rule in load_policy(parent).rules]
    names = [rule.name for rule in policy.rules]
    assert names == [*inherited, *(rule.name for rule in own_rules(preset).rules)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("preset", preset_names())
def test_every_rule_has_a_text_that_fails_it(preset: str) -> None:
    needed = {
        (rule.name, language)
        for rule in own_rules(preset).rules
        for language in LANGUAGES.get(preset, ("en",))
        if rule.threshold(language) is not None
    }
    assert {(rule, language) for rule, texts in FAILING[preset].items() for language in texts} == needed


@pytest.mark.parametrize(
    ("preset", "rule", "language", "text"),
    [
        pytest.param(preset, rule, language, text, id=f"{preset}-{rule}-{language}")
        for preset, rules in FAILING.items()
        for rule, texts in rules.items()
        for language, text in texts.items()
    ],
)
def test_a_rule_fails_what_it_is_for(preset: str, rule: str, language: str, text: str) -> None:
    assert rule in failed(preset, language, text)[0]


@pytest.mark.parametrize("preset", preset_names())
def test_prose_passes(preset: str) -> None:
    for language in LANGUAGES.get(preset, ("en",)):
        assert failed(preset, language, {"en": ENGLISH, "zh": CHINESE}[language]) == [set()]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_default_keeps_reviews_chat_verse_and_program_text(language: str) -> None:
    texts = SHORT_OF_DEFAULT[language]
    assert dict(zip(texts, failed("default", language, *texts), strict=True)) == {text: set() for text in texts}


def test_default_judges_other_languages_by_what_holds_for_all() -> None:
    kept = "Être ou ne pas être, voilà la question."
    assert failed("default", "fr", kept, "C'est tout.", "…" * 30) == [
        set(),
        {"too_short"},
        {"few_letters", "repeated_text", "few_characters"},
    ]


def test_an_inherited_rule_holds_in_the_preset_that_extends() -> None:
    for preset in ("gopher", "fineweb", "dclm-heuristics"):
        assert "gopher_short_doc" in failed(preset, "en", "A short note, and that is all there is of it.")[0]
        assert "dup_line_frac" in failed(preset, "en", "The same line.\n" * 4)[0]


@pytest.mark.parametrize("rule", [rule.name for rule in load_policy("c4").lines])
def test_a_line_rule_edits_what_it_is_for(rule: str) -> None:
    plain = "A plain sentence stands here."
    edits = clean("c4", "en", f"{plain}\n{EDITED[rule]}", plain).decisions["edits"].to_pylist()
    assert [(edit["rule"], edit["count"]) for edit in edits[0]] == [(rule, 1)]
    assert edits[1] == []


def test_a_policy_file_switches_inherited_rules_off_and_may_name_any_language(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nextends: [default]\noff: [too_short, menu]\n"
        "rules: [{name: short, signal: words, at_least: {no: 100, en: 5}}]\n",
        encoding="utf-8",
    )
    policy = load_policy(str(path))
    left = [rule.name for rule in load_policy("default").rules if rule.name not in ("too_short", "menu")]
    assert [rule.name for rule in policy.rules] == [*left, "short"]
    assert policy.rules[-1].threshold("no") == 100
    assert failed(str(path), "en", "[Exeunt.]", "Exeunt all but Hamlet and a lord.") == [{"short"}, set()]


def test_the_tables_of_the_page_are_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "docs" / "write_rule_tables.py"), "--check"]
    finished = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def test_the_examples_of_the_page_are_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    policies, configurations = [], []
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        content = yaml.safe_load(block)
        if "name" in content:
            (tmp_path / f"{content['name']}.yaml").write_text(block, encoding="utf-8")
            policies.append(load_policy(f"{content['name']}.yaml"))
        else:
            configurations.append(content["ops"])
    assert {policy.name for policy in policies} == {"default-for-crawls", "my-rules", "with-models", "wo-de"}
    for operations in configurations:
        FilterSettings.parse(operations["filtered_text"]["config"], origin="filtered_text")
        DuplicateSettings.parse(operations.get("duplicates", {}).get("config", {}), origin="duplicates")
    assert len(configurations) >= 5
