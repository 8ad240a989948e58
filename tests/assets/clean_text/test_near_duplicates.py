from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from shingle_oracle import jaccard

from assets.clean_text.duplicates import DUPLICATES
from assets.clean_text.errors import CleanTextError
from assets.clean_text.near_duplicates.minhash import minhash_schema, sign_documents
from assets.clean_text.near_duplicates.search import NEAR_DUPLICATES, NearDuplicatesReport, find_near_duplicates
from assets.clean_text.near_duplicates.settings import NearDuplicateSettings
from assets.clean_text.tables import TableWriter, document_files

WriteRawText = Callable[..., Path]
DocId = Callable[[str, int], str]
Row = dict[str, Any]

DEFAULT = NearDuplicateSettings()
SURE = NearDuplicateSettings(bands=24, rows=1, threshold=0.5, comparisons=1024, shingle_words=2, shingle_characters=2)
"""Finds a pair of similarity 0.5 with a probability of 1 - 2^-24 at least."""


class Corpus:
    """Dumps on disk, as the filter leaves them, and what goes of them."""

    def __init__(self, folder: Path, write: WriteRawText, chosen: NearDuplicateSettings = DEFAULT) -> None:
        self.folder, self.write, self.settings = folder, write, chosen
        self.dumps: dict[str, Path] = {}
        self.searches = 0

    def add(
        self, dump: str, texts: Sequence[str], *, quality: Sequence[float | None] | None = None, **how: Any
    ) -> None:
        self.dumps[dump] = self.write(self.folder / dump, texts, dump=dump, **how)
        sign_dump(self.dumps[dump], self.settings, quality=quality)

    def search(
        self, dumps: Sequence[str] | None = None, **how: Any
    ) -> tuple[dict[str, list[Row]], NearDuplicatesReport]:
        self.searches += 1
        out = self.folder / f"out{self.searches}"
        out.mkdir()
        chosen = {dump: self.dumps[dump] for dump in dumps or self.dumps}
        report = find_near_duplicates(chosen, out, settings=self.settings, **how)
        assert sorted(path.name for path in out.iterdir()) == sorted(f"near-duplicates-{d}.parquet" for d in chosen)
        rows = {}
        for dump in chosen:
            table = pq.read_table(out / f"near-duplicates-{dump}.parquet")
            assert table.schema == NEAR_DUPLICATES
            rows[dump] = table.to_pylist()
            assert [row["doc_id"] for row in rows[dump]] == sorted(row["doc_id"] for row in rows[dump])
            assert report.near_duplicates[dump] == table.num_rows
        return rows, report

    def removed(self, **how: Any) -> dict[str, str]:
        return {row["doc_id"]: row["duplicate_of"] for rows in self.search(**how)[0].values() for row in rows}


def sign_dump(folder: Path, chosen: NearDuplicateSettings, *, quality: Sequence[float | None] | None = None) -> None:
    documents = pa.concat_tables([pq.read_table(path) for path in document_files(folder)]).combine_chunks()
    columns = [pa.concat_arrays([pa.array([], pa.string()), *documents[name].chunks]) for name in ("doc_id", "text")]
    values = None if quality is None else pa.array(quality, pa.float64())
    with TableWriter(folder / "minhash.parquet", minhash_schema(chosen)) as writer:
        writer.write(sign_documents(*columns, chosen, quality=values))


@pytest.fixture
def corpus(tmp_path: Path, write_raw_text: WriteRawText) -> Corpus:
    return Corpus(tmp_path, write_raw_text)


def english(count: int, seed: int = 0, vocabulary: int = 5000) -> list[str]:
    """Words of one length, so that texts of as many words are of one length."""
    draw = random.Random(seed)
    return [
        "".join(chr(97 + (word // 26**i) % 26) for i in range(4)) for word in draw.choices(range(vocabulary), k=count)
    ]


def chinese(count: int, seed: int = 0) -> list[str]:
    return [chr(0x4E00 + point) for point in random.Random(seed).choices(range(3000), k=count)]


def changed(words: list[str], places: Sequence[int], new: str) -> list[str]:
    return [new if place in places else word for place, word in enumerate(words)]


def test_similarity_by_hand(corpus: Corpus, doc_id: DocId) -> None:
    words = english(104)  # 100 shingles, of which the change of one word changes 5
    other = changed(words, [50], "other")
    corpus.add("web", [" ".join(words), " ".join(other), " ".join(english(104, seed=1))])
    rows, report = corpus.search()
    assert rows == {
        "web": [{"doc_id": doc_id("web", 0), "duplicate_of": doc_id("web", 1), "similarity": 95 / 105}]
    }  # the longer one stays
    assert report == NearDuplicatesReport({"web": 3}, {"web": 1}, candidates=1, compared=1, largest=1)


def test_chinese_without_spaces(corpus: Corpus, doc_id: DocId) -> None:
    characters = chinese(207)  # 200 shingles, of which the change of one character changes 8
    corpus.add("zh", ["".join(changed(characters, [100], "龘")), "".join(characters) + "。", "".join(chinese(207, 1))])
    rows, _ = corpus.search()
    assert rows == {"zh": [{"doc_id": doc_id("zh", 0), "duplicate_of": doc_id("zh", 1), "similarity": 192 / 208}]}


def test_below_the_threshold_nothing_goes(corpus: Corpus) -> None:
    words = english(1004)  # 1000 shingles; J = 850 / 1150 = 0.739 and 860 / 1140 = 0.754
    corpus.add("web", [" ".join(words), " ".join(changed(words, range(10, 310, 10), "b"))])
    assert corpus.removed() == {}
    corpus.add("more", [" ".join(changed(words, range(10, 290, 10), "b"))])
    [(_, report)] = [corpus.search(["web", "more"])]
    assert report.near_duplicates == {"web": 0, "more": 1}


def test_who_stays(corpus: Corpus, doc_id: DocId) -> None:
    words = english(200)
    text = " ".join(words)
    corpus.add("short-in-first", [text[:-5]])
    corpus.add("long-in-second", [text])
    assert corpus.removed() == {doc_id("long-in-second", 0): doc_id("short-in-first", 0)}
    assert corpus.removed(dumps=["long-in-second", "short-in-first"]) == {
        doc_id("short-in-first", 0): doc_id("long-in-second", 0)
    }
    corpus.add("length", [text[:-5], text, text[:-10]], quality=[1.0, 0.0, 0.5])
    assert set(corpus.removed(dumps=["length"]).values()) == {doc_id("length", 1)}
    corpus.add("quality", [text] * 4, quality=[0.5, None, 0.9, 0.9])
    best = min(doc_id("quality", 2), doc_id("quality", 3))
    assert set(corpus.removed(dumps=["quality"]).values()) == {best}
    corpus.add("id", [text] * 4)
    assert set(corpus.removed(dumps=["id"]).values()) == {min(doc_id("id", index) for index in range(4))}


def test_star_and_no_chain(corpus: Corpus, tmp_path: Path, write_raw_text: WriteRawText, doc_id: DocId) -> None:
    # A ~ B ~ C, A unlike C: 96 of 100 words, each ten words further; J = 86/106 = 0.81 next to another, 76/116 = 0.66
    # over two. In their order of preference every second one goes, for the one before it.
    corpus.settings = NearDuplicateSettings(bands=32, rows=3)
    words = english(200, vocabulary=26**4)
    windows = [" ".join(words[begin : begin + 100]) for begin in range(0, 100, 10)]
    by_id = sorted(range(len(windows)), key=lambda index: doc_id("web", index))
    texts = [""] * len(windows)
    for window, index in zip(windows, by_id, strict=True):
        texts[index] = window
    corpus.add("web", texts)
    ids = [doc_id("web", index) for index in by_id]
    assert corpus.removed() == {ids[place]: ids[place - 1] for place in range(1, len(ids), 2)}


def test_no_word_is_no_near_duplicate(corpus: Corpus) -> None:
    corpus.add("web", ["", "...", "😀😀😀", "...", "😀"])
    rows, report = corpus.search()
    assert rows == {"web": []} and report.documents == {"web": 0}


def test_texts_shorter_than_a_shingle(corpus: Corpus, doc_id: DocId) -> None:
    corpus.add("web", ["good morning", "Good morning!", "good evening", "好的", "好的。", "不好"])
    assert corpus.removed() == {doc_id("web", 0): doc_id("web", 1), doc_id("web", 3): doc_id("web", 4)}


def test_dumps_without_documents_have_their_file(corpus: Corpus) -> None:
    corpus.add("empty", [])
    corpus.add("one", ["a text"])
    rows, report = corpus.search()
    assert rows == {"empty": [], "one": []}
    assert report == NearDuplicatesReport({"empty": 0, "one": 1}, {"empty": 0, "one": 0}, 0, 0, 0)
    assert corpus.search(["empty"])[0] == {"empty": []}


def test_exact_copies_are_left_out(corpus: Corpus, tmp_path: Path, doc_id: DocId) -> None:
    words = english(104)
    corpus.add("web", [" ".join(words), " ".join(words), " ".join(changed(words, [50], "x"))])
    corpus.add("other", [])
    exact = tmp_path / "exact"
    exact.mkdir()
    copies = pa.table([[doc_id("web", 1)], [doc_id("web", 0)]], schema=DUPLICATES)
    pq.write_table(copies, exact / "duplicates-web.parquet")
    pq.write_table(DUPLICATES.empty_table(), exact / "duplicates-other.parquet")
    assert corpus.removed(exact=exact) == {doc_id("web", 2): doc_id("web", 0)}
    assert corpus.search(exact=exact)[1].documents == {"web": 2, "other": 0}
    (exact / "duplicates-other.parquet").unlink()
    with pytest.raises(CleanTextError, match=r"other: .* holds no duplicates-other\.parquet"):
        corpus.search(exact=exact)


def test_long_texts_with_common_phrases_all_stay(corpus: Corpus) -> None:
    # As the books of Project Gutenberg: the same licence in each, and sentences that many have in common.
    licence, phrases = english(600, seed=1), [english(9, seed=100 + index) for index in range(40)]
    books = []
    for book in range(30):
        draw, words = random.Random(book), list(licence)
        own = english(4000, seed=1000 + book)
        for begin in range(0, 4000, 40):
            words += own[begin : begin + 40] + draw.choice(phrases)
        books.append(" ".join(words))
    corpus.settings = NearDuplicateSettings(bands=64, rows=1)
    corpus.add("gutenberg", books)
    rows, report = corpus.search()
    assert report.compared > 20  # candidates there are
    assert rows == {"gutenberg": []}
    assert 0 < max(jaccard(books[0], book) for book in books[1:4]) < 0.3


def planted_dumps() -> dict[str, list[str]]:
    draw = random.Random(7)
    bases = [english(draw.randint(40, 90), seed=seed) for seed in range(12)] + [
        chinese(draw.randint(40, 90), seed=seed) for seed in range(12)
    ]
    dumps: dict[str, list[str]] = {"one": [], "two": [], "three": []}
    for number in range(160):
        base = draw.choice(bases)
        words = changed(base, draw.sample(range(len(base)), draw.randint(0, 3)), "new" if len(base[0]) > 1 else "新")
        dumps[draw.choice(list(dumps))].append((" " if len(base[0]) > 1 else "").join([*words, str(number % 3 or "")]))
    return dumps


def test_order_of_arrival_does_not_matter(tmp_path: Path, write_raw_text: WriteRawText) -> None:
    contents = planted_dumps()
    results = []
    for order in itertools.permutations(contents):
        corpus = Corpus(tmp_path / "-".join(order), write_raw_text)
        for dump in order:
            corpus.add(dump, contents[dump])
        results.append(corpus.search(list(contents)))
    assert all(result == results[0] for result in results)
    assert sum(results[0][1].near_duplicates.values()) > 30


def test_a_new_dump_changes_nothing_in_those_before(tmp_path: Path, write_raw_text: WriteRawText) -> None:
    corpus = Corpus(tmp_path, write_raw_text)
    for dump, texts in planted_dumps().items():
        corpus.add(dump, texts)
    before, _ = corpus.search(["one", "two"])
    after, _ = corpus.search(["one", "two", "three"])
    assert {dump: after[dump] for dump in before} == before
    assert after["three"]


def test_files_and_row_groups_do_not_matter(tmp_path: Path, write_raw_text: WriteRawText) -> None:
    texts = list(itertools.chain(*planted_dumps().values()))
    results = []
    for number, how in enumerate(({}, {"files": 3}, {"rows_per_group": 7}, {"files": 2, "rows_per_group": 1000})):
        corpus = Corpus(tmp_path / str(number), write_raw_text)
        corpus.add("web", texts, **how)
        results += [corpus.search(threads=1), corpus.search(threads=4)]
    assert all(result == results[0] for result in results)


WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "今", "天", "气"]), max_size=9).map(" ".join)


@hypothesis_settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(WORDS, max_size=7), min_size=1, max_size=3))
def test_greedy_over_all_pairs(
    tmp_path_factory: pytest.TempPathFactory, write_raw_text: WriteRawText, doc_id: DocId, contents: list[list[str]]
) -> None:
    corpus = Corpus(tmp_path_factory.mktemp("property"), write_raw_text, SURE)
    for number, texts in enumerate(contents):
        corpus.add(f"dump{number}", texts)
    rows, _ = corpus.search()
    found = {(row["doc_id"], row["duplicate_of"], row["similarity"]) for dump in rows.values() for row in dump}
    assert found == expected_removals({f"dump{number}": texts for number, texts in enumerate(contents)}, doc_id)


def expected_removals(dumps: Mapping[str, Sequence[str]], doc_id: DocId) -> set[tuple[str, str, float]]:
    """Every document in the order of preference against every one kept so far."""
    removed = set()
    kept: list[tuple[str, str]] = []
    for dump, texts in dumps.items():
        order = sorted(range(len(texts)), key=lambda index: (-len(texts[index].encode()), doc_id(dump, index)))
        for index in order:
            for other, text in kept:
                similarity = jaccard(texts[index], text, words=2, characters=2)
                if similarity >= 0.5:
                    removed.add((doc_id(dump, index), other, float(similarity)))
                    break
            else:
                kept.append((doc_id(dump, index), texts[index]))
    return removed


@pytest.mark.parametrize("comparisons", [2, 4, 16, 100])
def test_a_large_group_of_copies_leaves_one(corpus: Corpus, comparisons: int) -> None:
    corpus.settings = NearDuplicateSettings(comparisons=comparisons)
    words = english(300)
    texts = [" ".join(changed(words, [index], "other")) for index in range(0, 300, 3)]
    corpus.add("web", texts)
    _, report = corpus.search()
    assert report.near_duplicates == {"web": 99} and report.largest == 99
    assert report.compared <= 99 + 5 * comparisons


def test_a_large_group_of_several_kinds_leaves_one_of_each(corpus: Corpus) -> None:
    # A hundred words that all have in common make a large group in each of the two bands. In it are forty kinds of
    # three texts, which are like their neighbours in size and unlike the first of the group.
    corpus.settings = NearDuplicateSettings(bands=2, rows=1, comparisons=8, shingle_words=1)
    words = iter(sorted(set(english(20_000, vocabulary=26**4))))
    common = [next(words) for _ in range(100)]
    kinds = [[*common, *(next(words) for _ in range(30 + 2 * kind))] for kind in range(40)]
    for dump in ("one", "two", "three"):
        corpus.add(dump, [" ".join([*kind, next(words)]) for kind in kinds])
    _, report = corpus.search()
    assert report.near_duplicates == {"one": 0, "two": 40, "three": 40} and report.largest == 2


def test_exactly_the_threshold_goes(corpus: Corpus, doc_id: DocId) -> None:
    words = english(10)
    longer = [*words, "last"]  # 7 shingles, of which another last word changes one: J = 6 / 8
    corpus.add("goes", [" ".join(longer), " ".join([*words, "end"])])
    assert corpus.search()[0]["goes"] == [
        {"doc_id": doc_id("goes", 1), "duplicate_of": doc_id("goes", 0), "similarity": 0.75}
    ]
    corpus.add("stays", [" ".join(longer[1:]), " ".join([*words[1:], "end"])])  # 5 / 7
    assert corpus.removed(dumps=["stays"]) == {}


def test_other_settings_are_an_error_that_names_them(corpus: Corpus) -> None:
    corpus.add("web", ["a text"])
    corpus.settings = NearDuplicateSettings(shingle_words=4)
    with pytest.raises(CleanTextError, match=r'web: .*minhash\.parquet was made with .*"shingle_words": 5'):
        corpus.search()
    corpus.settings = NearDuplicateSettings(threshold=0.9)  # is no matter of signatures
    corpus.search()


def test_missing_and_foreign_files_are_errors_that_name_them(corpus: Corpus, tmp_path: Path) -> None:
    words = english(104)
    corpus.add("web", [" ".join(words), " ".join(changed(words, [50], "x")), "a", "b"])
    corpus.add("more", [" ".join(words[:-1]), "c"])
    documents = corpus.dumps["web"] / "documents-00000.parquet"
    table = pq.read_table(documents)
    for wrong, message in (
        (table.slice(1), "holds 3 documents and 4 signatures"),
        (table.take([1, 0, 2, 3]), "other documents than minhash.parquet"),
        (
            table.set_column(1, "text", pa.array(["changed since", "x", "y", "z"])),
            "other documents than minhash.parquet",
        ),
    ):
        pq.write_table(wrong, documents)
        with pytest.raises(CleanTextError, match=message):
            corpus.search()
    documents.unlink()
    with pytest.raises(CleanTextError, match=r"holds no documents-\*\.parquet"):
        corpus.search()
    (corpus.dumps["more"] / "minhash.parquet").unlink()
    with pytest.raises(CleanTextError, match=r"more: .* holds no minhash\.parquet"):
        corpus.search()
