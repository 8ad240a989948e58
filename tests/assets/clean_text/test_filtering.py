from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assets.clean_text.errors import CleanTextError
from assets.clean_text.filtering import filter_documents
from assets.clean_text.settings import FilterSettings

WriteRawText = Callable[..., Path]
ReadRows = Callable[[Path, str], list[dict[str, Any]]]
DocId = Callable[[str, int], str]

TEXTS = [
    "Shall I compare thee to a summer's day?\r\nThou art more lovely and more temperate.  ",
    "[Exeunt.]",
    "",
    "A text that is good enough, cafÃ© and all.",
    "-------------------- 17 --------------------",
    "Rough winds do shake the darling buds of May.",
    "\u200b\ufeff \n",
]
POLICY = """
name: plain
rules:
  - {name: empty, signal: visible_characters, at_least: 1}
  - {name: too_short, signal: visible_characters, at_least: 16}
  - {name: few_letters, signal: letter_share, at_least: 0.75}
"""


def test_every_document_is_judged(
    tmp_path: Path, write_raw_text: WriteRawText, read_rows: ReadRows, doc_id: DocId
) -> None:
    raw = write_raw_text(tmp_path / "raw", TEXTS)
    out = tmp_path / "out"
    out.mkdir()
    policy = tmp_path / "plain.yaml"
    policy.write_text(POLICY)
    report = filter_documents(raw, out, dump="dump", settings=FilterSettings(policy=str(policy)))
    documents, decisions = read_rows(out, "documents"), read_rows(out, "decisions")
    assert [row["text"] for row in documents] == [
        "Shall I compare thee to a summer's day?\nThou art more lovely and more temperate.",
        "A text that is good enough, café and all.",
        "Rough winds do shake the darling buds of May.",
    ]
    assert [(row["doc_id"], row["rule"]) for row in decisions] == list(
        zip(
            [doc_id("dump", index) for index in range(7)],
            [None, "too_short", "empty", None, "few_letters", None, "empty"],
            strict=True,
        )
    )
    assert decisions[1] == {
        "doc_id": doc_id("dump", 1),
        "dump": "dump",
        "source": "dump",
        "path": "00001.txt",
        "byte_start": 0,
        "byte_end": 9,
        "language": "en",
        "kept": False,
        "rule": "too_short",
        "value": 9.0,
        "threshold": 16.0,
        "failures": [
            {"rule": "too_short", "value": 9.0, "threshold": 16.0},
            {"rule": "few_letters", "value": 6 / 9, "threshold": 0.75},
        ],
        "edits": [],
        "detail": None,
        "characters": 9,
        "raw_bytes": 9,
        "clean_bytes": 9,
    }
    assert [row["doc_id"] for row in read_rows(out, "signals")] == [row["doc_id"] for row in decisions]
    assert [row["doc_id"] for row in read_rows(out, "signatures")] == [row["doc_id"] for row in documents]
    assert (report.documents, report.kept, report.changed) == (7, 3, 3)
    assert report.dropped == {"empty": 2, "few_letters": 1, "too_short": 1}
    assert report.raw_bytes == sum(len(text.encode()) for text in TEXTS)
    assert report.kept_bytes == sum(len(row["text"].encode()) for row in documents)


def test_rows_skipped_at_reading_are_decided_as_unreadable(
    tmp_path: Path, write_raw_text: WriteRawText, read_rows: ReadRows
) -> None:
    skipped = [
        {"path": "a.jsonl", "line": 3, "byte_start": 120, "reason": "no JSON: Expecting ',' delimiter"},
        {"path": "a.jsonl", "line": 9, "byte_start": None, "reason": "no field 'text'"},
    ]
    raw = write_raw_text(tmp_path / "raw", TEXTS[:1], skipped=skipped)
    out = tmp_path / "out"
    out.mkdir()
    report = filter_documents(raw, out, dump="dump", settings=FilterSettings())
    rows = read_rows(out, "decisions")[1:]
    assert [(row["path"], row["byte_start"], row["rule"], row["detail"], row["kept"]) for row in rows] == [
        ("a.jsonl", 120, "unreadable", "no JSON: Expecting ',' delimiter", False),
        ("a.jsonl", None, "unreadable", "no field 'text'", False),
    ]
    assert len({row["doc_id"] for row in rows}) == 2
    assert report.documents == 3
    assert report.dropped == {"unreadable": 2}


def test_output_does_not_depend_on_workers(tmp_path: Path, write_raw_text: WriteRawText) -> None:
    texts = [f"Document number {n} says something, and then {n * n} more things." for n in range(200)]
    raw = write_raw_text(tmp_path / "raw", texts, rows_per_group=30, files=3)
    digests = []
    for workers in (1, 2):
        out = tmp_path / str(workers)
        out.mkdir()
        filter_documents(raw, out, dump="dump", settings=FilterSettings(), workers=workers)
        digests.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir()})
    assert digests[0] == digests[1]
    assert sorted(digests[0]) == [
        "contamination.parquet",
        "decisions.parquet",
        "documents-00000.parquet",
        "minhash.parquet",
        "signals-00000.parquet",
        "signatures.parquet",
    ]


def test_preprocessing_comes_before_the_rules(
    tmp_path: Path, write_raw_text: WriteRawText, read_rows: ReadRows
) -> None:
    raw = write_raw_text(tmp_path / "raw", ["我爱北京天安门，真的。", "！！！？？？……"], language="zh")
    out = tmp_path / "out"
    out.mkdir()
    settings = FilterSettings(segment_words=True, strip_punctuation=True)
    filter_documents(raw, out, dump="dump", settings=settings)
    assert [row["text"] for row in read_rows(out, "documents")] == ["我 爱 北京 天安门 真的"]
    assert [row["rule"] for row in read_rows(out, "decisions")] == [None, "empty"]


@pytest.mark.parametrize("texts", [[], ["", "x"]])
def test_nothing_may_be_left(
    tmp_path: Path, write_raw_text: WriteRawText, read_rows: ReadRows, texts: list[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    report = filter_documents(write_raw_text(tmp_path / "raw", texts), out, dump="dump", settings=FilterSettings())
    assert (report.documents, report.kept) == (len(texts), 0)
    assert list(out.glob("documents-*.parquet"))
    assert read_rows(out, "documents") == []
    assert read_rows(out, "signatures") == []


def test_cleaning_clean_text_changes_nothing(tmp_path: Path, write_raw_text: WriteRawText, read_rows: ReadRows) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    once.mkdir()
    twice.mkdir()
    filter_documents(write_raw_text(tmp_path / "raw", TEXTS), once, dump="dump", settings=FilterSettings())
    report = filter_documents(once, twice, dump="dump", settings=FilterSettings())
    assert read_rows(twice, "documents") == read_rows(once, "documents")
    assert (report.changed, report.dropped) == (0, {})


def test_only_a_text_in_the_metadata_is_a_url(
    tmp_path: Path, write_raw_text: WriteRawText, read_rows: ReadRows
) -> None:
    blocked, out = tmp_path / "domains.txt", tmp_path / "out"
    blocked.write_text("mill.example\n")
    out.mkdir()
    urls = ['"https://mill.example:/x"', "5", '["https://mill.example"]', '{"url": "https://mill.example"}', "null"]
    raw = write_raw_text(tmp_path / "raw", [TEXTS[5]] * len(urls), metadata=[f'{{"url": {url}}}' for url in urls])
    settings = FilterSettings.parse({"opt_out": {"domains": [blocked]}}, origin="a test")
    filter_documents(raw, out, dump="dump", settings=settings)
    assert [row["rule"] for row in read_rows(out, "decisions")] == ["opt_out_domain", *[None] * 4]


def test_a_folder_without_documents_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CleanTextError, match=r"holds no documents-\*.parquet"):
        filter_documents(tmp_path, tmp_path, dump="dump", settings=FilterSettings())
