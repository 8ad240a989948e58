from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from cleaned_dumps import ENGLISH, WriteRawText, clean_dumps, filter_settings

from assets.clean_text.errors import CleanTextError
from assets.clean_text.ledger_report import StoredDump, document_account, ledger_report, policy_of_run
from assets.clean_text.ledger_report.numbers import share, size
from assets.clean_text.ledger_report.page import ledger_page
from assets.clean_text.ledger_report.texts import read_excerpts
from assets.clean_text.named_files import named_files
from assets.clean_text.summaries import dropped_examples, funnel_markdown


@pytest.fixture(scope="module")
def module_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dumps")


@pytest.fixture
def dumps(module_folder: Path, write_raw_text: WriteRawText) -> list[StoredDump]:
    """Two cleaned dumps, made once for all tests here, which only read them."""
    if not _MADE:
        _MADE.extend(clean_dumps(module_folder, write_raw_text))
    return _MADE


_MADE: list[StoredDump] = []


def test_the_funnel_leads_from_all_that_was_read_to_what_is_kept(dumps: list[StoredDump]) -> None:
    whole, reviews, tales = ledger_report(dumps, examples=0).funnels
    assert (whole.source, whole.language, whole.documents, whole.kept) == (None, None, 14, 6)
    assert (tales.source, tales.language, tales.documents, tales.kept) == ("tales", "en", 9, 4)
    assert [(step.rule, step.documents, step.remaining) for step in tales.steps] == [
        ("unreadable", 1, 8),
        ("too_short", 1, 7),
        ("few_letters", 2, 5),
        ("exact_duplicate", 1, 4),
    ]
    assert [(step.rule, step.documents, step.remaining) for step in reviews.steps] == [
        ("too_short", 1, 4),
        ("wrong_script_han", 1, 3),
        ("repeated_text", 1, 2),
    ]
    for funnel in (whole, reviews, tales):
        assert sum(step.documents for step in funnel.steps) + funnel.kept == funnel.documents
        assert sum(step.bytes for step in funnel.steps) + funnel.kept_bytes == funnel.bytes
    assert whole.bytes == reviews.bytes + tales.bytes
    assert tales.bytes == sum(len(text.encode()) for text in ENGLISH)
    assert tales.clean_bytes == tales.kept_bytes - len("keeper@mill.example") + len("<EMAIL>")


def test_what_each_rule_does_alone_and_with_others(dumps: list[StoredDump]) -> None:
    effects = {effect.rule: effect for effect in ledger_report(dumps, examples=0).rules}
    too_short, digits, letters = (effects[name] for name in ("too_short", "many_digits", "few_letters"))
    assert (too_short.first, too_short.would, too_short.alone, too_short.alone_bytes) == (2, 2, 1, len("Nobody came."))
    assert (letters.first, letters.would, letters.alone) == (2, 2, 0)
    assert (digits.first, digits.would, digits.alone) == (0, 1, 0)
    assert (effects["short_words"].would, effects["exact_duplicate"].alone) == (1, 1)
    assert list(effects)[:2] == ["too_short", "few_letters"]
    assert "near_duplicate" not in effects


def test_edits_are_counted(dumps: list[StoredDump]) -> None:
    (mask,) = ledger_report(dumps, examples=0).edits
    assert (mask.rule, mask.documents, mask.pieces) == ("mask_email", 1, 1)


def test_examples_say_what_was_measured_and_where_the_text_lies(dumps: list[StoredDump]) -> None:
    report = ledger_report(dumps, examples=2)
    found = {(example.rule, example.excerpt): example for example in report.dropped}
    short = found["too_short", "很好"]
    assert (short.signal, short.value, short.threshold) == ("visible_characters", 2.0, 6.0)
    assert (short.path, short.byte_start, short.byte_end) == ("00002.txt", 0, 6)
    assert short.others == ("few_characters",)
    unread = found["unreadable", "no JSON: '<b>'"]
    assert (unread.path, unread.byte_start, unread.value) == ("broken.jsonl", 120, None)
    copy = found["exact_duplicate", ENGLISH[0]]
    assert copy.duplicate_of is not None and copy.path == "00003.txt"
    digits = found["many_digits", ENGLISH[5]]
    assert (digits.value, digits.threshold) == (1.0, 0.3), "of the rule, though another came first"
    assert max(sum(example.rule == rule for example in report.dropped) for rule, _ in found) <= 2


def test_the_same_seed_gives_the_same_examples(tmp_path: Path, write_raw_text: WriteRawText) -> None:
    texts = {"notes": ("en", [f"No. {number}." for number in range(40)])}
    dumps = clean_dumps(tmp_path, write_raw_text, texts)

    def chosen(seed: int) -> list[str]:
        return [example.doc_id for example in ledger_report(dumps, examples=5, rule="too_short", seed=seed).dropped]

    assert chosen(0) == chosen(0)
    assert len(set(chosen(0))) == 5
    assert set(chosen(0)) != set(chosen(1))


def test_near_examples_are_the_kept_documents_nearest_to_a_limit(tmp_path: Path, write_raw_text: WriteRawText) -> None:
    texts = ["abcd efgh ijkl mnop", "abcd efgh ijkl mnop q", "abcd efgh ijkl", ENGLISH[1], "abcd efgh ijkl mnop qrs"]
    dumps = clean_dumps(tmp_path, write_raw_text, {"notes": ("en", texts)})
    near = ledger_report(dumps, examples=2, rule="too_short").near
    assert [(example.value, example.excerpt) for example in near] == [(16.0, texts[0]), (17.0, texts[1])]
    assert {(example.threshold, example.signal) for example in near} == {(16.0, "visible_characters")}
    more = ledger_report(dumps, examples=9, rule="too_short").near
    assert [example.value for example in more] == [16.0, 17.0, 19.0], "one far from the limit is no example"


def test_language_and_rule_narrow_the_report(dumps: list[StoredDump]) -> None:
    chinese = ledger_report(dumps, language="zh")
    assert [(funnel.source, funnel.documents) for funnel in chinese.funnels] == [("reviews", 5)]
    assert {example.language for example in chinese.dropped} == {"zh"}
    english = ledger_report(dumps, language="en", examples=0)
    assert english.funnels[0].documents == 9, "what could not be read has its dump's language"
    one = ledger_report(dumps, rule="too_short")
    assert {effect.rule for effect in one.rules} == {example.rule for example in one.dropped} == {"too_short"}
    assert len(one.funnels) == 3
    with pytest.raises(CleanTextError, match=r"no rule 'to_short'.*did you mean 'too_short'"):
        ledger_report(dumps, rule="to_short")
    with pytest.raises(CleanTextError, match="no document in the language fr"):
        ledger_report(dumps, language="fr")


def test_without_signals_and_texts_the_ledger_still_tells(dumps: list[StoredDump]) -> None:
    report = ledger_report([StoredDump("tales", dumps[0].clean)])
    assert report.funnels[0].kept == 4
    assert {example.excerpt for example in report.dropped} == {"", "no JSON: '<b>'"}
    assert not report.near
    assert [note.partition(":")[0] for note in report.notes] == [
        "signals of tales are gone",
        "texts of tales are gone",
    ]


def test_a_ledger_of_an_earlier_version_is_refused(dumps: list[StoredDump], tmp_path: Path) -> None:
    pq.write_table(pq.read_table(dumps[0].clean / "ledger.parquet").drop(["failures"]), tmp_path / "ledger.parquet")
    with pytest.raises(CleanTextError, match=r"ledger\.parquet has no column 'failures': an earlier version"):
        ledger_report([StoredDump("tales", tmp_path)])
    with pytest.raises(CleanTextError, match="missing"):
        ledger_report([StoredDump("tales", tmp_path / "none")])


def test_all_about_one_document(dumps: list[StoredDump]) -> None:
    copy = next(example for example in ledger_report(dumps).dropped if example.rule == "exact_duplicate")
    account = document_account(dumps, copy.doc_id[:12])
    assert (account.row["doc_id"], account.row["rule"], account.excerpt) == (copy.doc_id, "exact_duplicate", ENGLISH[3])
    assert [(row["path"], row["kept"]) for row in account.originals] == [("00000.txt", True)]
    assert account.signals["words"] == 19
    assert ("too_short", "visible_characters", "at_least", 16.0) in account.limits
    kept = document_account(dumps, str(copy.duplicate_of))
    assert (kept.row["kept"], kept.copy_count, [row["doc_id"] for row in kept.copies]) == (True, 1, [copy.doc_id])
    assert kept.originals == ()
    digits = next(example for example in ledger_report(dumps).dropped if example.rule == "many_digits")
    failures = document_account(dumps, digits.doc_id).row["failures"]
    assert [failure["rule"] for failure in failures][:2] == ["few_letters", "many_digits"]


def test_a_copy_of_a_near_copy_leads_to_the_one_that_is_kept(tmp_path: Path, write_raw_text: WriteRawText) -> None:
    near = "The keeper of the old mill counted nine lanterns before the evening bell rang and wrote it down in the book"
    dumps = clean_dumps(tmp_path, write_raw_text, {"one": ("en", [near + " again", near, near])})
    rows = {row["path"]: row for row in pq.read_table(dumps[0].clean / "ledger.parquet").to_pylist()}
    account = document_account(dumps, rows["00002.txt"]["doc_id"])
    assert (account.row["rule"], account.originals[-1]["path"]) == ("exact_duplicate", "00000.txt")
    assert account.originals[-1]["kept"]


def test_a_document_is_named_by_a_beginning_that_is_enough(dumps: list[StoredDump]) -> None:
    with pytest.raises(CleanTextError, match="no document 'ffffffffffff' in the ledgers of tales, reviews"):
        document_account(dumps, "ffffffffffff")
    with pytest.raises(CleanTextError, match="no document ''"):
        document_account(dumps, "")
    ids = pq.read_table(dumps[0].clean / "ledger.parquet")["doc_id"].to_pylist()
    beginnings = [str(doc_id)[:1] for doc_id in ids]
    twice = next((letter for letter in beginnings if beginnings.count(letter) > 1), None)
    assert twice is not None
    with pytest.raises(CleanTextError, match="is the beginning of several documents"):
        document_account(dumps, twice)


class Page(HTMLParser):
    """Collects a page's tags and texts, and complains of what is closed in the wrong order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.addresses: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_needs_nothing_else_and_shows_texts_as_they_are(tmp_path: Path, write_raw_text: WriteRawText) -> None:
    evil = ["<script>alert(1)</script>", "\x00\x1b[31m</style>", "&lt;谢谢&gt;"]
    texts = {"<u>": ("en", [*evil, *ENGLISH]), "评论": ("zh", ["好<b>"])}
    dumps = clean_dumps(tmp_path, write_raw_text, texts, rules={"too_short.en": 40})
    page = ledger_page(ledger_report(dumps, examples=9))
    parsed = Page(page)
    assert not parsed.open and not parsed.addresses
    assert not {"script", "b", "u", "link", "img"} & parsed.seen
    assert "url(" not in page and "@import" not in page
    shown = "".join(parsed.texts)
    for text in ("<script>alert(1)</script>", "␀␛[31m</style>", "&lt;谢谢&gt;", "好<b>", "<u>, en", "被去掉的例子"):
        assert text in shown, text
    widths = [float(width) for width in re.findall(r"width:([0-9.]+)%\"", page)]
    assert widths and all(0 <= width <= 100 for width in widths)


def test_a_page_of_no_examples_has_no_empty_sections(dumps: list[StoredDump]) -> None:
    page = ledger_page(ledger_report(dumps, examples=0))
    assert "What was dropped" not in page and "What was nearly dropped" not in page


def test_markdown_for_a_run_has_a_column_for_each_language(dumps: list[StoredDump]) -> None:
    lines = funnel_markdown(dumps[1].clean, policy=dumps[1].policy).splitlines()
    assert lines[:5] == [
        "|  | reviews, zh |",
        "| --- | ---: |",
        "| **read** | 5 |",
        "| too_short | 1 (20.0%) |",
        "| wrong_script_han | 1 (20.0%) |",
    ]
    assert lines[-3] == "| **kept** | 2 (40.0%) |"


def test_examples_for_a_run(dumps: list[StoredDump]) -> None:
    assert dumps[0].raw is not None
    examples = dropped_examples(dumps[0].raw, dumps[0].clean, per_rule=1)
    assert ("too_short", "Nobody came.") in [(example.rule, example.excerpt) for example in examples]


def test_excerpts_are_cut_between_characters(tmp_path: Path, write_raw_text: WriteRawText) -> None:
    folder = write_raw_text(tmp_path / "raw", ["房间很干净", "x" * 9, "", "第四"], rows_per_group=1, files=2)
    ids = [row for path in sorted(folder.iterdir()) for row in pq.read_table(path)["doc_id"].to_pylist()]
    assert read_excerpts(folder, [ids[0], ids[3], ids[2], "none"], characters=3) == {
        ids[0]: "房间很",
        ids[2]: "",
        ids[3]: "第四",
    }


def test_the_policy_of_a_run_is_read_from_its_manifest(tmp_path: Path) -> None:
    settings = filter_settings(tmp_path, rules={"too_short": 50, "few_letters.zh": None})
    policy = policy_of_run(named_files(settings))
    assert [rule.thresholds for rule in policy.rules] == [rule.thresholds for rule in settings.load_policy().rules]
    with pytest.raises(CleanTextError, match="names no policy"):
        policy_of_run({"raw_text": "0"})


@pytest.mark.parametrize(
    ("length", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (999_500, "1.00 MB"), (12_345_678, "12.3 MB"), (10**18, "1000 PB")],
)
def test_sizes(length: int, text: str) -> None:
    assert size(length) == text


def test_a_tiny_share_is_not_nothing() -> None:
    assert [share(count, 1_000_000) for count in (0, 1, 5_000, 500_000)] == ["0.00%", "< 0.01%", "0.50%", "50.0%"]
    assert share(0, 0) == "-"


def test_an_empty_dump_has_no_rows(tmp_path: Path, write_raw_text: WriteRawText) -> None:
    dumps = clean_dumps(tmp_path, write_raw_text, {"empty": ("en", []), "one": ("en", [ENGLISH[0]])})
    funnels = ledger_report(dumps).funnels
    assert [(funnel.source, funnel.documents, funnel.kept) for funnel in funnels] == [("one", 1, 1)]
    assert dumps[0].raw is not None and dropped_examples(dumps[0].raw, dumps[0].clean) == []
