from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.clean_text.decontamination import (
    CONTAMINATION,
    Contamination,
    contamination,
    contamination_table,
    cut_spans,
)
from assets.clean_text.errors import CleanTextError
from assets.clean_text.evaluation_sets import (
    DecontaminationSettings,
    EvaluationSets,
    evaluation_identity,
    load_evaluation_sets,
)
from training.settings import SettingsError

ENGLISH = "Which of the following gases makes up most of the air that we all breathe"  # 15 words
CHINESE = "下列哪一种气体在空气中所占的比例最大"  # 18 characters


def array(*texts: str) -> pa.StringArray:
    return pa.array(texts, pa.string())


def load(*sets: Sequence[str], **changes: Any) -> EvaluationSets:
    """Sets named 0, 1, ... whose items are given."""
    with TemporaryDirectory() as folder:
        for number, items in enumerate(sets):
            rows = [json.dumps({"text": item}) for item in items]
            Path(folder, f"{number}.jsonl").write_text("\n".join(rows))
        values = {"sets": [{"path": f"{number}.jsonl"} for number in range(len(sets))], **changes}
        return load_evaluation_sets(DecontaminationSettings.parse(values, origin="test"), folder=Path(folder))


def spans(found: Contamination, *texts: str) -> list[tuple[int, int, str]]:
    return [
        (document, number, texts[document].encode()[begin:end].decode())
        for document, number, begin, end in found.spans.tolist()
    ]


def test_share_is_of_the_items_different_ngrams() -> None:
    sets = load([ENGLISH, "What is the capital of the country that lies to the north of Spain and Andorra?"])
    texts = (
        f"Quiz! {ENGLISH}?",
        " ".join(ENGLISH.split()[:13]),
        " ".join(ENGLISH.split()[1:]),
        " ".join(ENGLISH.split()[:12]),
        "",
    )
    found = contamination(array(*texts), sets)
    assert found.share[:, 0].tolist() == pytest.approx([1, 1 / 3, 2 / 3, 0, 0])
    assert found.ngrams[:, 0].tolist() == [3, 1, 2, 0, 0]
    assert found.items[:, 0].tolist() == [1, 1, 1, 0, 0]
    assert spans(found, *texts) == [(0, 0, ENGLISH), (1, 0, texts[1]), (2, 0, texts[2])]


def test_chinese_is_compared_by_character() -> None:
    sets = load([CHINESE])
    texts = (f"问题：{CHINESE}？（单选）", CHINESE[:13], CHINESE[:12], "空气中所占的比例", CHINESE[::-1])
    found = contamination(array(*texts), sets)
    assert found.share[:, 0].tolist() == pytest.approx([1, 1 / 6, 0, 0, 0])
    assert spans(found, *texts) == [(0, 0, CHINESE), (1, 0, CHINESE[:13])]


@pytest.mark.parametrize(
    ("item", "document"),
    [
        (ENGLISH, ENGLISH.upper()),
        (ENGLISH, ENGLISH.replace(" ", ", ")),
        (ENGLISH, ENGLISH.replace(" ", "\n\n")),
        (ENGLISH, f"«{ENGLISH}»".replace(" ", " -- ")),
        (ENGLISH, ENGLISH.replace("following", "follow\u00ading").replace("gases", "g\u200dases")),
        (ENGLISH, "".join(chr(ord(c) + 0xFEE0) if c.isalpha() else c for c in ENGLISH)),
        (CHINESE, CHINESE[:8] + "，\n　" + CHINESE[8:] + "。"),
        (CHINESE, " ".join(CHINESE)),
        (CHINESE + "abc", CHINESE + " ＡＢＣ"),
        (" ".join(["caf\u00e9"] * 13), " ".join(["CAF\u00c9"] * 13)),
        (" ".join(["cafe\u0301"] * 13), " ".join(["café"] * 13)),
        ("สวัสดีชาวโลกทั้งหลาย", "(สวัสดีชาวโลก ทั้งหลาย)"),
    ],
)
def test_case_punctuation_spacing_and_width_do_not_matter(item: str, document: str) -> None:
    assert contamination(array(f"x {document} y"), load([item])).share.tolist() == [[1.0]]


@pytest.mark.parametrize(
    "document", [ENGLISH.replace("gases", "gasses"), ENGLISH.replace(" of the air", " the air of")]
)
def test_other_words_are_no_copy(document: str) -> None:
    assert not contamination(array(document), load([ENGLISH])).ngrams.any()


def test_short_items_are_found_whole_and_shorter_ones_are_reported() -> None:
    eight, seven = "one two three four five six seven eight", "one two three four five six seven"
    sets = load([eight, seven, "锄禾日当午，汗滴禾下土。", "...", seven])
    texts = (f"Count: {eight.title()}.", f"{seven} nine", "锄禾日当午 汗滴禾下土", "锄禾日当午，汗滴禾下")
    found = contamination(array(*texts), sets)
    assert found.share[:, 0].tolist() == [1, 0, 1, 0]
    assert found.items[:, 0].tolist() == [1, 0, 3, 0]
    assert sets.protected == (2,)
    assert sets.unprotected.to_pylist() == [
        {"set": "0", "item": item, "tokens": count, "reason": "short", "text": text}
        for item, count, text in [(2, 7, seven), (4, 0, "..."), (5, 7, seven)]
    ]


def test_common_ngrams_are_ignored_on_request() -> None:
    template = "choose the one best answer to the following question about the history of the world:"
    sets = load([f"{template} who was first", f"{template} who was last", template], maximum_items=2)
    found = contamination(array(template, f"{template} who was last"), sets)
    # "about ... last" and the two n-grams before it are no template.
    assert found.ngrams[:, 0].tolist() == [0, 3]
    assert found.items[:, 0].tolist() == [0, 2]
    assert sets.unprotected.select(["item", "reason"]).to_pylist() == [{"item": 3, "reason": "common"}]
    assert contamination(array(template), load([template] * 5, maximum_items=1)).share.tolist() == [[1.0]]


def test_sets_are_told_apart() -> None:
    sets = load([ENGLISH], [CHINESE, ENGLISH], ["一二三四五六七八"])
    assert sets.rules == ("contaminated:0", "contaminated:1", "contaminated:2")
    texts = (ENGLISH, CHINESE, f"{CHINESE}。{ENGLISH}")
    found = contamination(array(*texts), sets)
    assert found.share.tolist() == [[1, 1, 0], [0, 1, 0], [1, 1, 0]]
    assert spans(found, *texts) == [
        *((0, 0, ENGLISH), (0, 1, ENGLISH), (1, 1, CHINESE)),
        *((2, 0, ENGLISH), (2, 1, CHINESE), (2, 1, ENGLISH)),
    ]
    table = contamination_table(array("a", "b", "c"), found, sets)
    assert table.schema == CONTAMINATION
    assert table.to_pylist()[3:] == [
        {"doc_id": "c", "set": "0", "item": 1, "share": 1, "ngrams": 3, "bytes": len(ENGLISH)},
        {
            "doc_id": "c",
            "set": "1",
            "item": 1,
            "share": 1,
            "ngrams": 9,
            "bytes": len((ENGLISH + CHINESE).encode()),
        },
    ]


def test_cut_takes_out_what_is_contaminated_enough() -> None:
    sets = load([ENGLISH], [CHINESE], share=0.5)
    barely = " ".join(ENGLISH.split()[:13])
    texts = ("Nothing.", f"Before: {ENGLISH}. {CHINESE}！中间。{CHINESE} After.", barely, ENGLISH)
    cut = cut_spans(array(*texts), contamination(array(*texts), sets), sets)
    assert cut.texts.to_pylist() == ["Nothing.", "Before: . ！中间。 After.", barely, ""]
    assert cut.spans.tolist() == [0, 3, 0, 1]
    assert cut.bytes.tolist() == [0, len(ENGLISH) + 2 * len(CHINESE.encode()), 0, len(ENGLISH)]


def test_overlapping_spans_are_cut_once() -> None:
    words = [f"w{n}" for n in range(40)]
    sets = load([" ".join(words[:20])], [" ".join(words[10:30]), " ".join(words[28:38])])
    text = array(" ".join(words))
    cut = cut_spans(text, contamination(text, sets), sets)
    assert cut.texts.to_pylist() == [" w38 w39"]


def test_items_across_the_scanners_buffers() -> None:
    sets = load([ENGLISH, "锄禾日当午汗滴禾下土"])
    texts = [f"{'甲 ' * before}{ENGLISH} 锄禾日当午汗滴禾下土" for before in range(990, 1060)]
    found = contamination(array(*texts), sets)
    assert found.share.tolist() == [[1.0]] * len(texts)
    assert spans(found, *texts) == [
        (document, 0, text) for document in range(len(texts)) for text in (ENGLISH, "锄禾日当午汗滴禾下土")
    ]


def test_without_sets_nothing_is_contaminated() -> None:
    found = contamination(array(ENGLISH, ""), load())
    assert found.share.shape == (2, 0)
    assert cut_spans(array(ENGLISH), contamination(array(ENGLISH), load()), load()).texts.to_pylist() == [ENGLISH]
    assert contamination(array(), load([ENGLISH])).share.shape == (0, 1)


words = st.lists(st.sampled_from(["a", "B", "a1", "二", "三", ",", "\n", "。", "é"]), max_size=30).map(" ".join)


def python_tokens(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[二三]|[a-zé0-9]+", text.lower()))


def python_ngrams(item: tuple[str, ...], ngram: int, shortest: int) -> set[tuple[str, ...]]:
    if len(item) < shortest:
        return set()
    width = min(ngram, len(item))
    return {item[begin : begin + width] for begin in range(len(item) - width + 1)}


@settings(max_examples=150)
@given(items=st.lists(words, min_size=1, max_size=5), documents=st.lists(words, max_size=4), shortest=st.integers(2, 5))
def test_same_as_sets_of_tuples(items: list[str], documents: list[str], shortest: int) -> None:
    wanted = [python_ngrams(python_tokens(item), 5, shortest) for item in items]
    if not any(wanted):
        with pytest.raises(CleanTextError, match="can be protected"):
            load(items, ngram=5, shortest=shortest)
        return
    sets = load(items, ngram=5, shortest=shortest)
    found = contamination(array(*documents), sets)
    for document, share, ngrams in zip(documents, found.share[:, 0], found.ngrams[:, 0], strict=True):
        content = python_tokens(document)
        has = {content[a:b] for a in range(len(content)) for b in range(a + 1, len(content) + 1)}
        assert ngrams == len(set.union(*wanted) & has)
        assert share == max(len(each & has) / len(each) for each in wanted if each)


@settings(max_examples=100)
@given(
    item=st.lists(st.text("abcXYZ0一二三", min_size=1, max_size=6), min_size=8, max_size=40),
    before=st.text(max_size=40),
    after=st.text(max_size=40),
)
def test_planted_items_are_always_found(item: list[str], before: str, after: str) -> None:
    sets = load([" ".join(item)])
    text = f"{before}\n{'; '.join(item).swapcase()}\n{after}"
    found = contamination(array(text), sets)
    assert found.share.tolist() == [[1.0]]
    cut = cut_spans(array(text), found, sets)
    assert cut.bytes[0] == len(text.encode()) - len(str(cut.texts[0].as_py()).encode()) > 0


@settings(max_examples=30)
@given(st.lists(words, min_size=1, max_size=6), st.integers(0, 5))
def test_a_document_is_judged_alike_in_any_batch(documents: list[str], begin: int) -> None:
    sets = load(["a B a1 二 三", "a a a a a a a"], ngram=4, shortest=3)
    together, alone = contamination(array(*documents), sets), contamination(array(*documents).slice(begin), sets)
    assert np.array_equal(together.share[begin:], alone.share)
    assert np.array_equal(together.spans[together.spans[:, 0] >= begin] - [begin, 0, 0, 0], alone.spans)


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("\n\n".join(json.dumps(row) for row in rows))


def write_packed(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_bytes(gzip.compress("\n".join(json.dumps(row) for row in rows).encode("utf-8-sig")))


@pytest.mark.parametrize(
    ("name", "write"), [("q.jsonl", write_jsonl), ("q.parquet", write_parquet), ("q.jsonl.gz", write_packed)]
)
def test_fields_of_a_record_are_one_item(
    tmp_path: Path, name: str, write: Callable[[Path, list[dict[str, Any]]], None]
) -> None:
    rows: list[dict[str, Any]] = [
        {
            "id": 7,
            "q": "Which of these is a prime number",
            "choices": {"text": ["four", "six", "seven"], "label": ["A"]},
        },
        {"id": 8, "q": None, "choices": {"text": [], "label": []}},
    ]
    write(tmp_path / name, rows)
    described = {"path": name, "fields": ["q", "choices.text"]}
    sets = load_evaluation_sets(DecontaminationSettings.parse({"sets": [described]}, origin="test"), folder=tmp_path)
    assert sets.names == ("q",)
    text = "Which of these is a prime number?\n- four\n- six\n- seven"
    assert contamination(array(text, "Which of these is a prime number"), sets).share.tolist() == [[1.0], [0.0]]
    assert sets.unprotected.num_rows == 1


def test_lines_and_columns_are_items(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text(f"\n{ENGLISH}\n\n{CHINESE}\n", encoding="utf-8")
    (tmp_path / "table.csv").write_text(f'text,n\n"{ENGLISH},\nbut not more",1\n')
    (tmp_path / "table.tsv").write_text(f"n\ttext\n1\t{CHINESE}\n", encoding="utf-8")
    paths = [{"path": "lines.txt"}, {"path": "table.csv"}, {"path": "table.tsv", "name": "other"}]
    sets = load_evaluation_sets(DecontaminationSettings.parse({"sets": paths}, origin="test"), folder=tmp_path)
    assert sets.names == ("lines", "table", "other")
    found = contamination(array(CHINESE), sets)
    assert found.items.tolist() == [[4, 0, 1]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.txt", None, "none.txt is not there"),
        ("empty.txt", b"\n \n", "empty.txt holds no item"),
        ("empty.jsonl", b"", "empty.jsonl holds no item"),
        ("bad.jsonl", b'{"text": "a"}\n{"text"', "bad.jsonl, line 2: invalid JSON"),
        ("list.jsonl", b"[1]", "list.jsonl, line 1 is JSON but no object"),
        ("other.jsonl", b'{"question": "a"}', r"record 1 has no field 'text' \(it has: question\)"),
        ("bad.parquet", b"PAR1PAR1", "bad.parquet cannot be read"),
        ("bad.txt", b"\xff\xfe\xff", "bad.txt cannot be read"),
        ("bad.txt.gz", b"\x1f\x8b\x08", "bad.txt.gz is truncated or damaged"),
        ("set.docx", b"x", r"set.docx: its name ends in none of .txt"),
        ("short.txt", b"too short\n", "none of its 1 items can be protected"),
    ],
)
def test_a_set_that_cannot_be_used_is_named(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CleanTextError, match=message):
        load_evaluation_sets(DecontaminationSettings.parse({"sets": [{"path": name}]}, origin="test"), folder=tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sets": [{"path": "a/x.txt"}, {"path": "b/x.jsonl"}]}, "two sets are named 'x'"),
        ({"shortest": 20}, "'shortest' = 20 is more than 'ngram' = 13"),
        ({"share": 0}, "'share' = 0"),
    ],
)
def test_wrong_settings_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        DecontaminationSettings.parse(values, origin="test")


def test_identity_is_of_content_not_place(tmp_path: Path) -> None:
    for name, content in [("one/x.txt", ENGLISH), ("two/x.txt", ENGLISH), ("three/x.txt", CHINESE)]:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(content, encoding="utf-8")
    one, two, three = (
        evaluation_identity(
            DecontaminationSettings.parse({"sets": [{"path": f"{n}/x.txt"}]}, origin="t"), folder=tmp_path
        )
        for n in ("one", "two", "three")
    )
    assert one == two != three
    with pytest.raises(CleanTextError, match=r"none\.txt cannot be read"):
        evaluation_identity(
            DecontaminationSettings.parse({"sets": [{"path": "none.txt"}]}, origin="t"), folder=tmp_path
        )
