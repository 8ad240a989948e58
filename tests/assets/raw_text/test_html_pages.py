from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.raw_text.catalogue import HtmlSettings
from assets.raw_text.errors import RawTextError
from assets.raw_text.html import Page, PageError, decode, extract
from tests.assets.raw_text.samples import CHINESE, FRENCH, TRADITIONAL, compress, pack
from training.settings import SettingsError

Read = Callable[..., Any]
HTML = {"format": "html"}
DEFAULTS = HtmlSettings()


def page(body: str, *, head: str = "", attributes: str = "") -> str:
    return f"<!DOCTYPE html>\n<html{attributes}><head>{head}</head><body>{body}</body></html>\n"


ARTICLE = (
    "<nav><ul><li><a href='/'>Home</a></li><li><a href='/about'>About</a></li></ul></nav>"
    "<main><section><div><h1>码头</h1>"
    "<p>清晨的码头还没有醒来。<br>渔船一只挨着一只。</p>"
    "<ul><li>nets &amp; lines, as every morning, and bread</li></ul>"
    "<script>var x;</script>"
    "<p>See <a href='https://example.org/map'>the map</a>.<img alt='a boat' src='b.jpg'></p></div></section></main>"
    "<footer>© 2026</footer>"
)


def test_the_main_content_keeps_its_paragraphs() -> None:
    expected = "码头\n\n清晨的码头还没有醒来。\n渔船一只挨着一只。\n\n"
    expected += "  • nets & lines, as every morning, and bread\n\nSee the map."
    assert extract(page(ARTICLE), DEFAULTS) == Page(expected)


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        ({"links": True}, "the map (https://example.org/map)"),
        ({"alt_texts": True}, "a boat"),
        ({"main_content": False}, "About"),
    ],
)
def test_what_of_a_page_is_text_can_be_chosen(choice: dict[str, bool], found: str) -> None:
    assert found in extract(page(ARTICLE), HtmlSettings.model_validate(choice)).text
    assert found not in extract(page(ARTICLE), DEFAULTS).text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("<p>清晨的<b>码</b>头，<a href=a>渔船</a>、<a href=b>绳子</a>。</p>", "清晨的码头，渔船、绳子。"),
        ("<p>甲 <b>乙</b> 丙<i>丁</i>戊</p><p> 短 </p>", "甲 乙 丙丁戊\n\n短"),
        ("<table><tr><td>男<td>&#22899;</table>", "男\t\t女"),
        ("<p>He left <b>&mdash;</b> alone</p>", "He left — alone"),
        ("<p>words<span>\ue001</span><span>&#xf8ff;</span>", "words"),
    ],
)
def test_a_single_character_is_text_of_the_main_content_but_for_icons(body: str, text: str) -> None:
    assert extract(page(body, head="<title>码</title>"), DEFAULTS) == Page(text, {"title": "码"})


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("<figure class=highlight><table><tr><td><pre>a = 1\n  b</pre></table></figure>", "Code:\n\n\na = 1\n  b"),
        ("<FIGURE><blockquote>words</blockquote></FIGURE>", "Code:\n\nwords"),
        ("<figure><img src=a.png><figcaption>A picture</figcaption></figure><p>More.</p>", "Code:\n\nMore."),
    ],
)
def test_what_is_no_picture_in_a_figure_is_text(body: str, text: str) -> None:
    assert extract(page(f"<div><div><div><p>Code:</p>{body}</div></div></div>"), DEFAULTS).text == text


def test_a_date_in_a_sentence_is_text_and_that_of_publication_is_not() -> None:
    body = "<p>Posted <time datetime='2020'>today</time></p><p>On <time>the first of May</time> it rained.</p>"
    assert extract(page(body), DEFAULTS).text == "Posted\n\nOn the first of May it rained."


@pytest.mark.parametrize("content", ["{}", "<article>{}</article>", "<main><div>{}</div></main>"])
def test_lists_near_the_body_are_text_unless_they_are_of_links(content: str) -> None:
    navigation = "<ul><li><a href='/'>Home</a></li><li><a href='/about'>About</a> |</li></ul>"
    body = "<h1>Bread</h1><ul><li>a pound of white flour, <a href='/w'>water</a></li><li>salt</li></ul><p>Knead it.</p>"
    found = extract(page(content.format(navigation + body)), DEFAULTS)
    assert found == Page("Bread\n\n  • a pound of white flour, water\n  • salt\n\nKnead it.")


def test_a_page_of_many_lists_and_links_is_read_in_linear_time() -> None:
    lists = "<ul><li>bread</li></ul>" * 5000
    links = "<ul>" + "<li><a href='/'>a</a> and words</li>" * 5000 + "</ul>"
    start = time.process_time()
    assert extract(page(lists + links), DEFAULTS).text.count("bread") == 5000
    assert time.process_time() - start < 10


@pytest.mark.parametrize("main_content", [True, False])
def test_the_readings_above_characters_stand_in_no_sentence(main_content: bool) -> None:
    ruby = "<ruby>東京<rp>(</rp><rt><span>とう</span>きょう</rt><rp>)</rp></ruby>に<ruby>住<rt>す</rt></ruby>む。"
    assert extract(page(f"<p>{ruby}</p>"), HtmlSettings(main_content=main_content)).text == "東京に住む。"


def test_comments_of_readers_can_be_left_out() -> None:
    body = "<article><p>The story.</p></article><div class='comments'><p>First!</p></div>"
    assert extract(page(body), DEFAULTS).text == "The story.\n\nFirst!"
    assert extract(page(body), HtmlSettings(comments=False)).text == "The story."


@pytest.mark.parametrize(
    ("head", "attributes", "metadata"),
    [
        ("", "", {}),
        ("<title>\n 码头 &amp;\n the harbour </title>", "", {"title": "码头 & the harbour"}),
        ("<title> </title>", " lang=' '", {}),
        ("", " lang=zh-CN", {"language": "zh-CN"}),
        ("<link rel='canonical' href='https://example.org/a?b=1'>", "", {"url": "https://example.org/a?b=1"}),
        ("<base href='https://example.org/x/'>", "", {"url": "https://example.org/x/"}),
        ("<base href='https://example.org/x/'><link rel='canonical' href='a'>", "", {"url": "https://example.org/x/a"}),
        ("<link rel='canonical' href='/a'>", "", {}),
        ("<base href='file:///home/me/'>", "", {}),
        ("<link rel='canonical' href='http://[::1'>", "", {}),
    ],
)
def test_what_a_page_says_of_itself(head: str, attributes: str, metadata: dict[str, str]) -> None:
    assert extract(page("<p>text</p>", head=head, attributes=attributes), DEFAULTS).metadata == metadata


def test_elements_of_xhtml_may_close_themselves() -> None:
    body = page("<p><a id='x'/>words</p><div class='clear'/><p>more</p>", head="<title/><script src='x.js'/>")
    assert extract('<?xml version="1.0"?>' + body, DEFAULTS) == Page("words\n\nmore")


META = '<meta charset="{}">'
OLD_META = '<META http-equiv="Content-Type" content="text/html; charset={}">'


@pytest.mark.parametrize(
    ("text", "encoding", "head", "declared", "found"),
    [
        (CHINESE, "utf-8", "", None, "utf-8"),
        (CHINESE, "utf-8-sig", META.format("gbk"), "big5", "utf-8"),
        (CHINESE, "utf-16", "", None, "utf-16-le"),
        (CHINESE, "utf-16-be", "", "UTF-16BE", "utf-16-be"),
        (CHINESE, "gb18030", OLD_META.format("gb2312"), None, "gb18030"),
        (CHINESE, "gb18030", META.format("iso-8859-1"), "GBK", "gb18030"),
        (CHINESE, "gb18030", "", None, "gb18030"),
        (TRADITIONAL, "big5", META.format("Big5"), None, "big5hkscs"),
        (TRADITIONAL, "big5", "", None, "big5"),
        (FRENCH, "cp1252", META.format("iso-8859-1"), None, "cp1252"),
        (FRENCH, "cp1252", "", None, "cp1252"),
        (FRENCH, "utf-8", META.format("iso-8859-1"), "windows-1252", "utf-8"),
        (CHINESE, "utf-8", META.format("utf-16"), None, "utf-8"),
        ("Кириллица и ещё слова", "koi8-r", META.format("koi8-r"), None, "koi8-r"),
        ("日本語の文章です。", "iso-2022-jp", META.format("iso-2022-jp"), None, "iso2022_jp"),
        ("plain words", "ascii", META.format("no-such-thing"), "x-unknown", "ascii"),
    ],
)
def test_the_encoding_of_a_page(text: str, encoding: str, head: str, declared: str | None, found: str) -> None:
    html = page(f"<p>{text}</p>", head=head)
    assert decode(html.encode(encoding), declared=declared) == (html, found)


def test_the_encoding_of_xhtml_stands_in_its_first_line() -> None:
    html = '<?xml version="1.0" encoding="windows-1251"?>' + page("<p>Кириллица</p>")
    assert decode(html.encode("cp1251")) == (html, "cp1251")


def test_a_damaged_byte_of_a_page_is_replaced() -> None:
    html = page(f"<p>{CHINESE}</p>", head=META.format("gbk"))
    text, codec = decode(html.encode("gb18030").replace("渔".encode("gb18030"), b"\xff\xff", 1))
    assert codec == "gb18030"
    assert text.count("\ufffd") > 0
    assert text.replace("\ufffd", "") == html.replace("渔", "", 1)


def test_a_damaged_page_is_in_the_encoding_that_fits_it_best_whatever_its_server_says() -> None:
    html = page(f"<p>{CHINESE}</p>", head=META.format("gbk"))
    damaged = html.encode("gb18030") + b"\xff"
    assert decode(damaged, declared="utf-8") == (html + "\ufffd", "gb18030")


def test_an_encoding_set_by_the_user_goes_before_what_a_page_says() -> None:
    html = page("<p>é</p>", head=META.format("utf-8"))
    assert decode(html.encode("cp1252"), encoding="cp1252", declared="utf-8") == (html, "cp1252")


def test_the_language_tells_the_encoding_of_a_page_that_declares_none() -> None:
    html = page("<p>Był to piękny dzień, żeby iść nad rzekę i łowić ryby.</p>")
    assert decode(html.encode("iso8859-2"), language="pl") == (html, "iso8859-2")


def test_what_is_no_text_has_no_encoding() -> None:
    with pytest.raises(PageError, match="no encoding fits its bytes"):
        decode(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([None, "gbk", "utf-16", "nonsense", "iso-2022-jp"]))
def test_any_bytes_are_decoded_or_refused(data: bytes, declared: str | None) -> None:
    try:
        text, codec = decode(data, declared=declared)
    except PageError:
        return
    assert text.encode(codec, "replace") is not None
    text.encode()


FRAGMENTS = [
    "<div>",
    "</div>",
    "<p",
    ">",
    "<table><tr><td>",
    "<!--",
    "<![CDATA[",
    "&#xD800;",
    "&amp",
    "\0",
    "好",
    "words ",
]
FRAGMENTS += [
    "<script>",
    "</script>",
    "<title>",
    "<ol><li>",
    "<select><option>",
    "<svg>",
    "<template>",
    "<base href=x:>",
]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=60).map("".join), st.booleans())
def test_any_markup_gives_text_that_is_valid_unicode(html: str, main_content: bool) -> None:
    found = extract(html, HtmlSettings(main_content=main_content))
    found.text.encode()
    json.dumps(found.metadata, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("html", "reason"),
    [
        ("<div>" * 100_000 + "words" + "</div>" * 100_000, "nested too deeply"),
        ("<article>" * 100_000 + "words", "nested too deeply"),
        ("<OL><LI>words" * 100_000, "nested too deeply"),
        ("<select>" + "<option>x" * 20_000, "more than 10,000 options that are not closed"),
        ("<p>" * ((1 << 20) + 1), "more than 1,048,576 tags"),
        ("x" * ((16 << 20) + 1), r"larger than 16,777,216 bytes \(html.maximum_bytes\)"),
    ],
)
def test_a_page_that_would_take_hours_or_the_memory_is_refused(html: str, reason: str) -> None:
    with pytest.raises(PageError, match=reason):
        extract(html, DEFAULTS)


@pytest.mark.parametrize(
    "html",
    [
        "<span>" * 100_000 + "words",
        "<b>" * 100_000 + "words",
        "<div><p>words</p></div>" * 20_000,
        "<div>" * 30 + "<p>words" * 20_000,
        "<p>words" + "<select><option>a</option></select>" * 20_000,
    ],
)
def test_a_large_page_that_is_only_odd_is_read(html: str) -> None:
    assert "words" in extract(html, DEFAULTS).text


def test_each_file_is_a_page(read: Read) -> None:
    first = page("<p>清晨的码头</p>", head="<title>一</title>" + META.format("gbk"), attributes=" lang=zh").encode(
        "gbk"
    )
    second = page("<p>The harbour</p>").encode()
    reading = read({"b.zip": pack({"a.html": first, "b/index.HTM": second, "c.css": b"p {}"}, "b.zip")}, **HTML)
    assert reading.texts == ["清晨的码头", "The harbour"]
    assert [(row["path"], row["byte_start"], row["byte_end"]) for row in reading.documents] == [
        ("a.html", 0, len(first)),
        ("b/index.HTM", 0, len(second)),
    ]
    assert [json.loads(row["metadata"]) for row in reading.documents] == [{"language": "zh", "title": "一"}, {}]
    assert [(row["size"], row["encoding"]) for row in reading.files] == [
        (len(first), "gb18030"),
        (len(second), "ascii"),
    ]
    apart = read({"x.xhtml.gz": compress(second, ".gz"), "y.html": first}, **HTML)
    assert sorted(apart.ids) == sorted(reading.ids)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", r"is empty"),
        (b"<html><script>var x;</script></html>", "the page holds no text beside navigation and the like"),
        (b"<div>" * 100_000, "the page's elements are nested too deeply"),
        (b"<p>" + b"x" * 1022, r"the page is larger than 1,024 bytes"),
        (b"\x89PNG" + bytes(range(256)), "no encoding fits its bytes; name its encoding"),
    ],
)
def test_a_page_that_cannot_be_read_fails_or_is_skipped(read: Read, data: bytes, reason: str) -> None:
    fields = HTML | ({"html": {"maximum_bytes": 1024}} if "1,024" in reason else {})
    files = {"a.html": page("<p>good</p>").encode(), "b.html": data}
    with pytest.raises(RawTextError, match=rf"^source 'dump', file b\.html: {reason}.*on_invalid: skip"):
        read(files, **fields)
    reading = read(files, **fields, on_invalid="skip")
    assert reading.texts == ["good"]
    ((path, found),) = [(row["path"], row["reason"]) for row in reading.skipped]
    assert (path, found.startswith(reason.replace("\\", ""))) == ("b.html", True)
    assert [row["size"] for row in reading.files] == [len(files["a.html"]), len(data)]


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet"])
def test_records_may_hold_pages(read: Read, format: str) -> None:
    html = page("<p>清晨的码头</p>", head="<title>一</title>", attributes=" lang=zh").replace("\n", "")
    rows = [{"body": html, "title": "mine"}, {"body": "<nav></nav>", "title": "x"}]
    if format == "jsonl":
        data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    elif format == "csv":
        data = ("body,title\n" + "".join(f'"{row["body"]}",{row["title"]}\n' for row in rows)).encode()
    else:
        packed = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), packed)
        data = packed.getvalue()
    fields = {"format": format, "text_field": "body", "on_invalid": "skip"}
    reading = read({"a.dat": data}, markup="html", metadata_fields=["title"], **fields)
    assert reading.texts == ["清晨的码头"]
    assert json.loads(reading.documents[0]["metadata"]) == {"language": "zh", "title": "mine"}
    assert [row["reason"] for row in reading.skipped] == ["the page holds no text beside navigation and the like"]
    plain = read({"a.dat": data}, **fields)
    assert plain.texts == [row["body"] for row in rows]
    assert plain.ids[0] == reading.ids[0]


def test_half_a_surrogate_pair_in_a_page_in_json(read: Read) -> None:
    with pytest.raises(RawTextError, match="half a surrogate pair"):
        read({"a.jsonl": b'{"text": "<p>a\\ud800</p>"}'}, format="jsonl", markup="html")
    assert extract("<p>a\ud800b</p>", DEFAULTS).text == "a?b"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": "txt", "markup": "html"}, "'text_field', 'markup', 'id_field'"),
        ({"format": "html", "text_field": "body"}, "this source's format is html"),
        ({"format": "html", "documents": {"by": "line"}}, "each page of html is a document"),
        ({"format": "html", "html": {"link": True}}, "unknown key 'html.link', did you mean 'links'"),
    ],
)
def test_settings_that_do_not_go_together(source: Callable[..., Any], fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        source(**fields)
