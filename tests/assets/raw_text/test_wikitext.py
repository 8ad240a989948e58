from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.raw_text.wikitext import plain_text

MARKUP = [
    "{{", "}}", "{|", "|}", "\n", "[[", "]]", "[", "]", "|", "<ref>", "</ref>", "<ref/>", "<!--", "-->", "''", "==",
    "*", "-{", "}-", "zh-hans:", ";", "<math>", "</math>", "<nowiki>", "</nowiki>", "File:", "http://a.b ", "&lt;",
    "词", "word ",
]  # fmt: skip


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("'''Bold''' and ''slanted'', '''''both'''''.", "Bold and slanted, both."),
        ("A [[town]] in [[France|the French]] [[hill]]s.", "A town in the French hills."),
        ("See [[:Category:Towns]] and [[a [b] c]].", "See Category:Towns and a [b] c."),
        ("[http://a.org the page], [//b.org/x y z] and http://c.org/.[http://d.org]", "the page, y z and http://c.org/."),
        ("One.{{cite|a={{b|c}}}} Two.", "One. Two."),
        ("One<ref>a [[b]]</ref>.<ref name=x /> Two<ref name=\"y\">c</ref>.", "One. Two."),
        ("a <!-- hidden -->b<!-- to the end", "a b"),
        ("a\n<!-- a line of its own -->\nb", "a\nb"),
        ("[[File:a.jpg|thumb|A [[caption]] of [http://x.org it]]]Text", "Text"),
        ("[[文件:a.jpg|缩略图|[[说明]]]]正文[[Category:城市]][[分類:港口|*]]", "正文"),
        ("a\n{| class=x\n! h\n|-\n| 1 || {{t|2}}\n|}\nb", "a\n\nb"),
        ("{| \n| outer\n{|\n| inner\n|}\n|}\nb", "b"),
        ("* one\n** two\n# three\n: four\n; five", "- one\n- two\n- three\nfour\nfive"),
        ("a<br/>b<p>c</p>d<sup>2</sup> x < y", "a\nb\nc\nd2 x < y"),
        ("<gallery>\nFile:a.jpg|b\n</gallery>c", "c"),
        ("L''''amour''' and ''''''six'''', 5''.", "L'amour and 'six', 5."),
        ("<code><nowiki>[[c]]</nowiki></code>, <pre>'''<nowiki />a'''</pre>", "[[c]], '''a'''"),
        ("<source lang=html><nowiki>a</nowiki></source>", "<nowiki>a</nowiki>"),
        ("<math>E = mc^2</math>, <code>a &lt; {{b}}</code>, <nowiki>[[c]]</nowiki>.", "E = mc^2, a < {{b}}, [[c]]."),
        ("&quot;a&quot; &amp; &lt;b&gt; 5&nbsp;km", '"a" & <b> 5\xa0km'),
        ("__NOTOC__a\n\n\n\nb\n----\nc", "a\n\nb\n\nc"),
        ("Rome ({{lang-it|Roma}}) is (; born 1900) old（；）。", "Rome is (born 1900) old。"),
        ("{{lang|fr|mot}}, {{nowrap|a b}}, 由{{link-en|[[史密斯]]|Smith}}建", "mot, a b, 由史密斯建"),
        ("<ruby>漢<rp>(</rp><rt>かん</rt><rp>)</rp></ruby>字", "漢字"),
        ("a\n\n[[fr:Mot]]\n[[zh-min-nan:Jī]]", "a"),
        ("[[re:publica]] is a fair", "re:publica is a fair"),
        ("a {{open [[b]] {{t}} c", "a {{open b c"),
        ("a }} b ]] c", "a }} b ]] c"),
        ("{{Infobox}}\n[[Category:Towns]]", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_markup(wikitext: str, text: str) -> None:
    assert plain_text(wikitext) == text


def test_headings_are_lines_and_empty_sections_vanish() -> None:
    page = (
        "Intro.\n== History ==\n=== Old ===\nText.\n=== New ===\n{{t}}\n== Notes ==\n<references/>\n== 参见 ==\n* [[a]]"
    )
    assert plain_text(page) == "Intro.\n\nHistory\n\nOld\n\nText.\n\n参见\n\n- a"


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("zh", "计算机与内存"),
        ("zh-Hans", "计算机与内存"),
        ("zh-Hant", "電腦與記憶體"),
        ("zh-TW", "電腦與記憶體"),
        ("zh-Hant-HK", "電腦與記憶體"),
        ("zh-Hant-AQ", "電腦與記憶體"),
        ("en", "计算机与内存"),
    ],
)
def test_a_language_variant_is_chosen(language: str, text: str) -> None:
    page = "-{zh-hans:计算机;zh-hant:電腦}--{zh-hans:与; zh-tw:與;}--{A|zh-cn:内存; zh-tw:記憶體;}-"
    assert plain_text(page, language=language) == text


def test_other_forms_of_variants() -> None:
    assert plain_text("-{不变}-，-{R|原样}-") == "不变，原样"
    assert plain_text("a-{H|zh-cn:博客; zh-hk:網誌}-b-{T|zh:标题}-c") == "abc"
    assert plain_text("-{zh-hans:[[计算机|机]];zh-hant:電腦}-") == "机"
    assert plain_text("-{zh-hans:{{lang|en|PC}};zh-hant:電腦}-", language="zh-Hans") == "PC"


def test_hidden_namespaces_of_another_wiki() -> None:
    assert plain_text("[[Datei:a.png|b]]c", hidden_namespaces=frozenset({"datei"})) == "c"


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(MARKUP), max_size=60))
def test_no_markup_crashes_or_leaves_its_marks(pieces: list[str]) -> None:
    text = plain_text("".join(pieces))
    assert "\0" not in text and text == text.strip() and not re.search(r"\n{3,}", text)


UNCLOSED = [
    "{{", "[[", "<ref>", "<!--", "\n<!--", "-{", "[[a|", "{|\n", "<math>", "== a ==\n", "(", "''", "[[[", " ", "= ",
    "<rt>", "|", "[//aaaaa", "{{lang|", "-{a;", "-{H|a=>", "<", "<ref ", "&", "[[a [b", "{{a}}", "}}{{",
]  # fmt: skip


@pytest.mark.parametrize("piece", UNCLOSED)
def test_time_is_linear_in_what_is_never_closed(piece: str) -> None:
    # Quadratic, these would take minutes and run into the suite's time limit.
    plain_text(piece * 200_000)


def test_it_reads_what_a_parser_reads() -> None:
    parser = pytest.importorskip("mwparserfromhell")
    page = (
        "'''Harbour''' is a [[town]] in [[France|the French]] region.<ref>{{cite|x}}</ref>\n\n"
        "It has {{convert|3|km}} of ''quays'', &amp; [http://example.org boats].\n\n港口[[城市|都市]]。"
    )
    expected = parser.parse(page).strip_code()
    assert plain_text(page).split() == expected.split()
