from __future__ import annotations

import itertools
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.clean_text.errors import CleanTextError
from assets.clean_text.repeated_text.cut_reader import CutReader
from assets.clean_text.repeated_text.cuts import CUTS
from assets.clean_text.repeated_text.find import Cut, find_repeated_text
from assets.clean_text.repeated_text.settings import CutSettings, HashSettings
from tests.assets.clean_text.repeated_dumps import doc_id, find_cuts, pieces, write_dump, write_dumps
from training.settings import SettingsError

HASHES = HashSettings(
    lines=True, line_characters=4, paragraphs=True, paragraph_characters=4, passages=True, passage_words=6
)
EVERYTHING = CutSettings(lines="first", line_documents=1, paragraphs="first", paragraph_documents=1, passages=True)
PARAGRAPH = "It was the best of times,\nit was the worst of times."
TEXTS = {
    "one": [f"First.\n\n{PARAGRAPH}\n\nEnd of one.", "一二三四五六七八九十。\n\n完"],
    "two": [f"Second.\n\n{PARAGRAPH}\n\nEnd of two.", "第二篇。\n一二三四五六七八九十。"],
    "three": ["Third, it was the best of times, it was the worst of times. End of three.", ""],
}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_cuts_of_several_kinds_do_not_overlap(tmp_path: Path) -> None:
    found = find_cuts(write_dumps(tmp_path / "in", TEXTS, HASHES), tmp_path / "out", EVERYTHING)
    assert found["one"] == []
    assert pieces(found["two"], "two", TEXTS["two"]) == [
        (0, "repeated_paragraph", PARAGRAPH, doc_id("one", 0)),
        (1, "repeated_line", "一二三四五六七八九十。", doc_id("one", 1)),
    ]
    # Only the words of the passage are the same; no sentence begins near its edge.
    assert pieces(found["three"], "three", TEXTS["three"]) == [
        (0, "repeated_text", "it was the best of times, it was the worst of times.", doc_id("one", 0))
    ]


def test_the_report_counts_cuts_documents_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    dumps = write_dumps(tmp_path / "in", TEXTS, HASHES)
    report = find_repeated_text(dumps, tmp_path / "out", dropped={}, settings=EVERYTHING, workers=1)
    assert report.cuts == {
        "one": {},
        "two": {
            "repeated_line": Cut(1, 1, len("一二三四五六七八九十。".encode())),
            "repeated_paragraph": Cut(1, 1, len(PARAGRAPH)),
        },
        "three": {"repeated_text": Cut(1, 1, len(PARAGRAPH))},
    }


def test_nothing_is_hashed_or_cut_by_default(tmp_path: Path) -> None:
    dumps = write_dumps(tmp_path / "in", TEXTS, HashSettings())
    assert all(path.name.startswith("documents-") for folder in dumps.values() for path in folder.iterdir())
    assert find_cuts(dumps, tmp_path / "out", CutSettings()) == {"one": [], "two": [], "three": []}


def test_hashes_cut_nothing_by_themselves(tmp_path: Path) -> None:
    dumps = write_dumps(tmp_path / "in", TEXTS, HASHES)
    assert find_cuts(dumps, tmp_path / "out", CutSettings()) == {"one": [], "two": [], "three": []}


def test_a_dump_without_documents_has_its_file(tmp_path: Path) -> None:
    dumps = write_dumps(tmp_path / "in", {"one": [], "two": ["", "\n\n"]}, HASHES)
    assert find_cuts(dumps, tmp_path / "out", EVERYTHING) == {"one": [], "two": []}
    assert find_cuts({}, tmp_path / "none", EVERYTHING) == {}


def test_the_catalogue_decides_where_text_stays(tmp_path: Path) -> None:
    dumps = write_dumps(tmp_path / "in", TEXTS, HASHES)
    reordered = {name: dumps[name] for name in ("three", "two", "one")}
    found = find_cuts(reordered, tmp_path / "out", EVERYTHING)
    assert found["three"] == []
    assert [row["copy_of"] for row in found["two"]].count(doc_id("three", 0)) == 1
    assert {row["copy_of"] for row in found["one"]} == {doc_id("two", 0), doc_id("two", 1)}


def test_order_of_processing_does_not_matter(tmp_path: Path) -> None:
    results = []
    for order in itertools.permutations(TEXTS):
        base = tmp_path / "-".join(order)
        for dump in order:
            write_dump(base / dump, TEXTS[dump], HASHES)
        find_cuts({dump: base / dump for dump in TEXTS}, base / "out", EVERYTHING)
        results.append(contents(base / "out"))
    assert all(result == results[0] for result in results)


@settings(max_examples=20)
@given(st.lists(st.lists(st.text("ab一 .\n", max_size=40), max_size=4), min_size=2, max_size=4))
def test_a_dump_added_later_changes_nothing_for_those_before(
    tmp_path_factory: pytest.TempPathFactory, texts: list[list[str]]
) -> None:
    tmp_path = tmp_path_factory.mktemp("property")
    dumps = write_dumps(tmp_path / "in", {f"dump{index}": part for index, part in enumerate(texts)}, HASHES)
    find_cuts(dumps, tmp_path / "all", EVERYTHING)
    last = list(dumps)[-1]
    find_cuts({dump: folder for dump, folder in dumps.items() if dump != last}, tmp_path / "before", EVERYTHING)
    everything = contents(tmp_path / "all")
    everything.pop(f"cuts-{last}.parquet")
    assert contents(tmp_path / "before") == everything


def test_documents_that_go_anyway_neither_keep_nor_lose_a_passage(tmp_path: Path) -> None:
    dumps = write_dumps(tmp_path / "in", TEXTS, HASHES)
    pq.write_table(pa.table({"doc_id": [doc_id("one", 0)], "duplicate_of": [""]}), tmp_path / "duplicates.parquet")
    pq.write_table(pa.table({"doc_id": pa.array([], pa.string())}), tmp_path / "near.parquet")
    dropped = {"one": [tmp_path / "duplicates.parquet"], "two": [tmp_path / "near.parquet"]}
    found = find_cuts(dumps, tmp_path / "out", CutSettings(passages=True), dropped=dropped)
    assert found["one"] == []
    assert [(row["doc_id"], row["copy_of"]) for row in found["three"]] == [(doc_id("three", 0), doc_id("two", 0))]


def test_little_memory_more_processes_and_other_batches_give_the_same(tmp_path: Path) -> None:
    generator = random.Random(0)
    lines = [" ".join("".join(generator.choices("abcdefgh", k=5)) for _ in range(12)) for _ in range(6_000)]
    texts = ["\n".join(generator.choices(lines, k=60)) for _ in range(4_000)]
    hashes = HashSettings(lines=True, paragraphs=True, passages=True)
    cuts = CutSettings(lines="first", paragraphs="first", passages=True)
    variants = [
        ({"batch": 4_000, "group_bytes": 16 << 20}, {"memory_limit": "2GB", "threads": 2}),
        ({"batch": 100, "group_bytes": 3 << 20}, {"memory_limit": "96MB", "threads": 1, "workers": 2}),
    ]
    results = []
    for number, (writing, finding) in enumerate(variants):
        dump = write_dump(tmp_path / str(number) / "dump", texts, hashes, **writing)
        found = find_cuts({"dump": dump}, tmp_path / str(number) / "out", cuts, **finding)
        results.append((tmp_path / str(number) / "out" / "cuts-dump.parquet").read_bytes())
        assert len(found["dump"]) > 200_000
    assert results[0] == results[1]


def test_cuts_are_read_in_the_order_of_the_documents(tmp_path: Path) -> None:
    texts = [f"Line of {number % 7}.\nOwn {number}.\nLine of {number % 5}." for number in range(50)]
    dump = write_dump(tmp_path / "dump", texts, HASHES)
    (rows,) = find_cuts({"dump": dump}, tmp_path / "out", CutSettings(lines="boilerplate", line_documents=1)).values()
    taken = []
    with CutReader(tmp_path / "out" / "cuts-dump.parquet", dump) as reader:
        for begin, count in ((0, 1), (1, 0), (1, 30), (31, 19), (50, 5)):
            cuts = reader.take(count)
            assert cuts.schema == CUTS
            assert set(cuts["doc_id"].to_pylist()) == {doc_id("dump", n) for n in range(begin, min(begin + count, 50))}
            taken += cuts.to_pylist()
    numbers = {doc_id("dump", number): number for number in range(50)}
    assert taken == sorted(rows, key=lambda row: (numbers[row["doc_id"]], row["byte_start"]))


def test_cuts_of_other_documents_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    one, other = (write_dump(tmp_path / name, ["Same line.", "Same line."], HASHES) for name in ("one", "other"))
    find_cuts({"one": one}, tmp_path / "out", EVERYTHING)
    with pytest.raises(CleanTextError, match=r"cuts-one\.parquet names the document .* run the stage"):
        CutReader(tmp_path / "out" / "cuts-one.parquet", other)
    with pytest.raises(CleanTextError, match="is missing"):
        CutReader(tmp_path / "out" / "cuts-two.parquet", one)


def test_too_little_memory_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    dump = write_dump(
        tmp_path / "dump", [f"line number {n}" for n in range(9_000)], HASHES, batch=9_000, group_bytes=1 << 20
    )
    (tmp_path / "out").mkdir()
    with pytest.raises(CleanTextError, match="allow more memory"):
        find_repeated_text({"d": dump}, tmp_path / "out", dropped={}, settings=EVERYTHING, memory_limit="1MB")


@pytest.mark.parametrize(
    ("cuts", "missing"),
    [
        (CutSettings(lines="first"), r"two: .* holds no lines\.parquet; hash lines and run the filter stage again"),
        (CutSettings(paragraphs="boilerplate"), r"two: .* holds no paragraphs\.parquet; hash paragraphs"),
        (CutSettings(passages=True), r"two: .* holds no windows\.parquet; hash passages"),
    ],
)
def test_missing_hashes_are_an_error_that_names_the_dump(tmp_path: Path, cuts: CutSettings, missing: str) -> None:
    dumps = {
        "one": write_dump(tmp_path / "one", ["text"], HASHES),
        "two": write_dump(tmp_path / "two", ["text"], HashSettings()),
    }
    with pytest.raises(CleanTextError, match=missing):
        find_repeated_text(dumps, tmp_path, dropped={}, settings=cuts)


def test_hashes_made_otherwise_are_an_error_that_names_both_dumps(tmp_path: Path) -> None:
    dumps = {
        str(words): write_dump(tmp_path / str(words), ["text"], HashSettings(passages=True, passage_words=words))
        for words in (50, 40)
    }
    with pytest.raises(CleanTextError, match=r"50 and 40: windows\.parquet .* a least length of 50 and 40"):
        find_repeated_text(dumps, tmp_path, dropped={}, settings=CutSettings(passages=True))


def test_a_dump_without_documents_files_is_an_error(tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "dump", ["text"], HASHES)
    (dump / "documents-00000.parquet").unlink()
    with pytest.raises(CleanTextError, match=r"holds no documents-\*\.parquet"):
        find_repeated_text({"dump": dump}, tmp_path, dropped={}, settings=EVERYTHING)


def test_wrong_settings_name_the_field() -> None:
    with pytest.raises(SettingsError, match="'passage_words' = 2"):
        HashSettings.parse({"passage_words": 2}, origin="filtered_text")
    with pytest.raises(SettingsError, match="'lines' = 'last'"):
        CutSettings.parse({"lines": "last"}, origin="duplicates")
