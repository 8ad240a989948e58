from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.clean_text.conservation import check_conservation
from assets.clean_text.copies import find_copies
from assets.clean_text.errors import CleanTextError
from assets.clean_text.filtering import filter_documents
from assets.clean_text.ledger import LEDGER, CleanTextReport, finish_documents
from assets.clean_text.repeated_text.settings import CutSettings, HashSettings
from assets.clean_text.settings import DuplicateSettings, FilterSettings
from assets.clean_text.signatures import signatures
from assets.clean_text.summaries import dropped_examples, funnel

WriteRawText = Callable[..., Path]
ReadRows = Callable[[Path, str], list[dict[str, Any]]]
DocId = Callable[[str, int], str]

GOOD = "Rough winds do shake the darling buds of May."
OTHER = "And summer's lease hath all too short a date."
SKIPPED = [{"path": "a.jsonl", "line": 3, "byte_start": 120, "reason": "no JSON"}]


def clean(
    base: Path,
    raw: dict[str, Path],
    *,
    filter_settings: FilterSettings | None = None,
    duplicate_settings: DuplicateSettings | None = None,
) -> dict[str, CleanTextReport]:
    """Clean dumps, in the catalogue's order, into ``base/clean/<dump>``."""
    settings = filter_settings or FilterSettings()
    for dump, folder in raw.items():
        (base / "filtered" / dump).mkdir(parents=True)
        filter_documents(folder, base / "filtered" / dump, dump=dump, settings=settings)
    (base / "duplicates").mkdir()
    find_copies(
        {dump: base / "filtered" / dump for dump in raw},
        base / "duplicates",
        settings=duplicate_settings or DuplicateSettings(),
        signed=[settings.near_duplicates.model_dump(mode="json") for _ in raw],
    )
    reports = {}
    for dump in raw:
        (base / "clean" / dump).mkdir(parents=True)
        reports[dump] = finish_documents(
            base / "filtered" / dump, base / "duplicates", base / "clean" / dump, dump=dump
        )
    return reports


@pytest.fixture
def cleaned(tmp_path: Path, write_raw_text: WriteRawText) -> Path:
    clean(
        tmp_path,
        {
            "one": write_raw_text(tmp_path / "raw" / "one", [GOOD, "short", GOOD + "!"], dump="one", skipped=SKIPPED),
            "two": write_raw_text(tmp_path / "raw" / "two", [OTHER, GOOD.upper()], dump="two"),
        },
    )
    return tmp_path


def test_every_document_has_its_row(cleaned: Path, read_rows: ReadRows, doc_id: DocId) -> None:
    ledger = read_rows(cleaned / "clean" / "one", "ledger")
    assert pq.read_schema(cleaned / "clean" / "one" / "ledger.parquet").equals(LEDGER)
    assert [(row["path"], row["kept"], row["rule"], row["value"], row["duplicate_of"]) for row in ledger] == [
        ("00000.txt", True, None, None, None),
        ("00001.txt", False, "too_short", 5.0, None),
        ("00002.txt", False, "exact_duplicate", None, doc_id("one", 0)),
        ("a.jsonl", False, "unreadable", None, None),
    ]
    assert [row["text"] for row in read_rows(cleaned / "clean" / "one", "documents")] == [GOOD]
    assert [row["text"] for row in read_rows(cleaned / "clean" / "two", "documents")] == [OTHER]
    assert read_rows(cleaned / "clean" / "two", "ledger")[1]["duplicate_of"] == doc_id("one", 0)


def test_signatures_are_those_of_the_clean_documents_in_their_order(cleaned: Path, read_rows: ReadRows) -> None:
    for dump in ("one", "two"):
        signed = read_rows(cleaned / "clean" / dump, "signatures")
        documents = read_rows(cleaned / "clean" / dump, "documents")
        assert [row["doc_id"] for row in signed] == [row["doc_id"] for row in documents]
        expected = signatures(pa.array([row["text"] for row in documents], pa.string()))
        assert [row["signature"] for row in signed] == expected.to_pylist()


def test_the_report_counts(tmp_path: Path, write_raw_text: WriteRawText) -> None:
    texts = [GOOD, "short", GOOD, "", "夏日的时光总是太短促"]
    reports = clean(tmp_path, {"one": write_raw_text(tmp_path / "raw", texts, dump="one", language="fr")})
    assert reports["one"] == CleanTextReport(
        documents=5,
        kept=1,
        dropped={"too_short": 2, "empty": 1, "exact_duplicate": 1},
        bytes=len(GOOD),
        characters=len(GOOD),
    )


def test_nothing_is_lost(cleaned: Path) -> None:
    conservation = check_conservation(cleaned / "raw" / "one", cleaned / "clean" / "one")
    assert conservation.holds
    assert (conservation.read, conservation.unreadable, conservation.kept, conservation.dropped) == (3, 1, 1, 3)
    assert conservation.documents == 1


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path)), path)


@pytest.mark.parametrize(
    ("file", "change", "violation"),
    [
        ("ledger", lambda t: t.slice(1), "1 rows that were read or skipped are missing"),
        ("ledger", lambda t: t.slice(1), "1 documents that were read have no ledger row"),
        ("ledger", lambda t: t.slice(0, 3), "1 rows that were skipped at reading are not in the ledger"),
        ("ledger", lambda t: pa.concat_tables([t, t.slice(0, 1)]), "1 document ids occur twice in the ledger"),
        ("documents-00000", lambda t: t.slice(1), "1 documents the ledger keeps are not among the clean ones"),
        ("documents-00000", lambda t: pa.concat_tables([t, t]), "1 document ids occur twice among the clean"),
        (
            "ledger",
            lambda t: t.set_column(0, "doc_id", pc.binary_replace_slice(t["doc_id"], 0, 1, "x")),
            "3 ledger rows belong to no document",
        ),
        (
            "ledger",
            lambda t: t.set_column(t.column_names.index("kept"), "kept", pa.array([False] * 4)),
            "1 clean documents are not kept in the ledger",
        ),
        (
            "ledger",
            lambda t: t.set_column(t.column_names.index("kept"), "kept", pa.array([False] * 4)),
            "1 dropped documents have no rule",
        ),
        (
            "ledger",
            lambda t: t.set_column(t.column_names.index("kept"), "kept", pa.array([True] * 4)),
            "3 kept documents have a rule that dropped them",
        ),
        (
            "ledger",
            lambda t: t.set_column(t.column_names.index("duplicate_of"), "duplicate_of", pa.nulls(4, pa.string())),
            "1 copies do not name the document",
        ),
    ],
)
def test_each_violation_is_named(
    cleaned: Path, file: str, change: Callable[[pa.Table], pa.Table], violation: str
) -> None:
    rewrite(cleaned / "clean" / "one" / f"{file}.parquet", change)
    conservation = check_conservation(cleaned / "raw" / "one", cleaned / "clean" / "one")
    assert not conservation.holds
    assert any(sentence.startswith(violation) for sentence in conservation.violations), conservation.violations


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.sampled_from([GOOD, OTHER, GOOD.lower(), "x", "", "\ufeff", "好！" * 9]), max_size=7)))
def test_documents_are_conserved(
    tmp_path_factory: pytest.TempPathFactory, write_raw_text: WriteRawText, read_rows: ReadRows, dumps: list[list[str]]
) -> None:
    base = tmp_path_factory.mktemp("property")
    raw = {
        f"dump{index}": write_raw_text(base / "raw" / str(index), texts, dump=f"dump{index}")
        for index, texts in enumerate(dumps)
    }
    reports = clean(base, raw)
    for dump, folder in raw.items():
        conservation = check_conservation(folder, base / "clean" / dump)
        assert conservation.holds, conservation.violations
        assert reports[dump].documents == conservation.kept + conservation.dropped == conservation.read
    texts = [row["text"] for dump in raw for row in read_rows(base / "clean" / dump, "documents")]
    assert len({text.lower() for text in texts}) == len(texts)


def test_funnel(cleaned: Path) -> None:
    rows = [(row.rule, row.documents, row.share) for row in funnel(cleaned / "clean" / "one")]
    assert rows == [("exact_duplicate", 1, 0.25), ("too_short", 1, 0.25), ("unreadable", 1, 0.25), (None, 1, 0.25)]


def test_dropped_examples(cleaned: Path, doc_id: DocId) -> None:
    examples = dropped_examples(cleaned / "raw" / "one", cleaned / "clean" / "one", per_rule=2)
    examples = sorted(examples, key=lambda example: example.rule)
    assert [(example.rule, example.excerpt) for example in examples] == [
        ("exact_duplicate", GOOD + "!"),
        ("too_short", "short"),
        ("unreadable", "no JSON"),
    ]
    assert examples[0].duplicate_of == doc_id("one", 0)
    assert (examples[1].value, examples[1].threshold, examples[1].path) == (5.0, 16.0, "00001.txt")


def test_documents_of_another_run_are_refused(cleaned: Path) -> None:
    filtered = cleaned / "filtered" / "one"
    rewrite(filtered / "documents-00000.parquet", lambda t: t.slice(1))
    (cleaned / "out").mkdir()
    with pytest.raises(CleanTextError, match=r"name different documents|should stay"):
        finish_documents(filtered, cleaned / "duplicates", cleaned / "out", dump="one")


def test_missing_duplicates_are_an_error(cleaned: Path) -> None:
    with pytest.raises(CleanTextError, match=r"duplicates-three\.parquet is missing"):
        finish_documents(cleaned / "filtered" / "one", cleaned / "duplicates", cleaned / "out", dump="three")


STORY = (
    "The ferry left the harbour at dawn with nine sheep, two carpenters and a piano nobody had tuned since the war."
    " By noon the fog had lifted, the carpenters were asleep among the sheep, and a girl from the second deck played a "
    "waltz so slowly that the gulls settled on the rail to listen."
)
BANNER = "Subscribe to our letter and read a new story of the islands every week, free of charge and without notices."


def test_near_copies_name_what_is_kept(
    tmp_path: Path, write_raw_text: WriteRawText, read_rows: ReadRows, doc_id: DocId
) -> None:
    nearly = STORY.replace("nine sheep", "eight sheep")
    texts = [nearly, STORY + " Then it rained.", OTHER]
    clean(tmp_path, {"one": write_raw_text(tmp_path / "raw", texts, dump="one")})
    first, second, third = read_rows(tmp_path / "clean" / "one", "ledger")
    # The longer one stays.
    assert (first["rule"], first["duplicate_of"], second["kept"], third["kept"]) == (
        "near_duplicate",
        doc_id("one", 1),
        True,
        True,
    )
    # 51 shingles of five words, five of them with the changed word; three more in the longer text: 46 of 51 + 54 - 46.
    assert first["similarity"] == pytest.approx(46 / 59)
    assert check_conservation(tmp_path / "raw", tmp_path / "clean" / "one").holds


def test_an_exact_copy_of_a_near_copy_names_what_stays(
    tmp_path: Path, write_raw_text: WriteRawText, read_rows: ReadRows, doc_id: DocId
) -> None:
    nearly = STORY.replace("nine sheep", "eight sheep")
    texts = [nearly, STORY + " Then it rained.", nearly.upper()]
    clean(tmp_path, {"one": write_raw_text(tmp_path / "raw", texts, dump="one")})
    ledger = read_rows(tmp_path / "clean" / "one", "ledger")
    assert [row["rule"] for row in ledger] == ["near_duplicate", None, "exact_duplicate"]
    assert ledger[2]["duplicate_of"] == doc_id("one", 1) == ledger[0]["duplicate_of"]


def test_near_copies_can_stay(tmp_path: Path, write_raw_text: WriteRawText) -> None:
    texts = [STORY, STORY.replace("nine sheep", "eight sheep")]
    settings = DuplicateSettings(near=False)
    raw = {"one": write_raw_text(tmp_path / "raw", texts, dump="one")}
    assert clean(tmp_path, raw, duplicate_settings=settings)["one"].kept == 2


def test_repeated_text_is_cut_and_told(
    tmp_path: Path, write_raw_text: WriteRawText, read_rows: ReadRows, doc_id: DocId
) -> None:
    texts = [f"{STORY}\n\n{BANNER}", f"{BANNER}\n\n{OTHER} {OTHER}", BANNER + "\n\n" + STORY.swapcase()[:120]]
    reports = clean(
        tmp_path,
        {
            "one": write_raw_text(tmp_path / "raw", texts[:2], dump="one"),
            "two": write_raw_text(tmp_path / "raw2", [f"{BANNER}"], dump="two"),
        },
        filter_settings=FilterSettings(repeated_text=HashSettings(paragraphs=True, paragraph_characters=80)),
        duplicate_settings=DuplicateSettings(repeated_text=CutSettings(paragraphs="first")),
    )
    first, second = read_rows(tmp_path / "clean" / "one", "ledger")
    (third,) = read_rows(tmp_path / "clean" / "two", "ledger")
    assert first["edits"] == []
    assert [(edit["rule"], edit["count"]) for edit in second["edits"]] == [("repeated_paragraph", 1)]
    assert second["clean_bytes"] == len(f"{OTHER} {OTHER}") == second["characters"]
    assert (third["kept"], third["rule"], third["clean_bytes"]) == (False, "nothing_left", 0)
    assert [row["text"] for row in read_rows(tmp_path / "clean" / "one", "documents")][1] == f"{OTHER} {OTHER}"
    assert reports["two"].dropped == {"nothing_left": 1}
    assert len(read_rows(tmp_path / "clean" / "one", "signatures")) == 2
    assert read_rows(tmp_path / "clean" / "two", "signatures") == []
    for dump, raw in (("one", "raw"), ("two", "raw2")):
        assert check_conservation(tmp_path / raw, tmp_path / "clean" / dump).holds


def test_an_empty_document_stays_where_a_policy_keeps_it_and_repeated_text_is_cut(
    tmp_path: Path, write_raw_text: WriteRawText, read_rows: ReadRows
) -> None:
    policy = tmp_path / "none.yaml"
    policy.write_text("name: none\n")
    raw = write_raw_text(tmp_path / "raw", [f"{GOOD}\n\n{BANNER}", "", f"{OTHER}\n\n{BANNER}"])
    clean(
        tmp_path,
        {"dump": raw},
        filter_settings=FilterSettings(policy=str(policy), repeated_text=HashSettings(lines=True)),
        duplicate_settings=DuplicateSettings(repeated_text=CutSettings(lines="first", line_documents=1)),
    )
    assert [row["text"] for row in read_rows(tmp_path / "clean" / "dump", "documents")] == [
        f"{GOOD}\n\n{BANNER}",
        "",
        OTHER,
    ]
    assert check_conservation(raw, tmp_path / "clean" / "dump").holds


def test_every_failing_rule_and_every_mask_is_told(
    tmp_path: Path, write_raw_text: WriteRawText, read_rows: ReadRows
) -> None:
    texts = ["1 2", "Write to anna.example@mail.example.org and to nobody else, she answers within the day."]
    clean(tmp_path, {"one": write_raw_text(tmp_path / "raw", texts, dump="one")})
    short, masked = read_rows(tmp_path / "clean" / "one", "ledger")
    assert [failure["rule"] for failure in short["failures"]][:3] == ["too_short", "few_letters", "many_digits"]
    assert short["failures"][0] == {"rule": "too_short", "value": 2.0, "threshold": 16.0}
    assert [(edit["rule"], edit["count"]) for edit in masked["edits"]] == [("mask_email", 1)]
    assert "example@" not in read_rows(tmp_path / "clean" / "one", "documents")[0]["text"]
