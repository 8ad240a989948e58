"""Dumps with stored hashes as the filter stage writes them, and what is cut from them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assets.clean_text.repeated_text.cuts import CUTS, apply_cuts
from assets.clean_text.repeated_text.find import find_repeated_text
from assets.clean_text.repeated_text.settings import CutSettings, HashSettings
from assets.clean_text.repeated_text.stored_hashes import HashWriter, hash_texts
from assets.raw_text.documents import DOCUMENTS, DocumentWriter

Texts = Mapping[str, Sequence[str]]
Row = dict[str, Any]


def doc_id(dump: str, index: int) -> str:
    return hashlib.sha256(f"{dump}/{index}".encode()).hexdigest()[:32]


def string_array(texts: Sequence[str]) -> pa.StringArray:
    return pa.array(list(texts), pa.string())


def write_dump(
    folder: Path,
    texts: Sequence[str],
    settings: HashSettings,
    *,
    source: str = "",
    batch: int = 3,
    group_bytes: int = 300,
) -> Path:
    """A dump named as its folder, in small batches and row groups."""
    folder.mkdir(parents=True)
    dump = folder.name
    with (
        DocumentWriter(folder, row_group_bytes=group_bytes, file_bytes=4 * group_bytes) as documents,
        HashWriter(folder, settings=settings) as hashes,
    ):
        for begin in range(0, len(texts), batch):
            part = texts[begin : begin + batch]
            rows = [
                {
                    **dict.fromkeys(DOCUMENTS.names, ""),
                    "doc_id": doc_id(dump, begin + index),
                    "text": text,
                    "source": source or dump,
                    "dump": dump,
                    "byte_start": 0,
                    "byte_end": len(text.encode()),
                }
                for index, text in enumerate(part)
            ]
            documents.write(pa.Table.from_pylist(rows, schema=DOCUMENTS))
            hashes.write(hash_texts(string_array(part), settings=settings))
    return folder


def write_dumps(base: Path, texts: Texts, settings: HashSettings, *, source: str = "") -> dict[str, Path]:
    return {dump: write_dump(base / dump, contents, settings, source=source) for dump, contents in texts.items()}


def find_cuts(dumps: Mapping[str, Path], out: Path, settings: CutSettings, **options: Any) -> dict[str, list[Row]]:
    """The cuts by dump, as read from the files, which hold what they must."""
    out.mkdir()
    report = find_repeated_text(dumps, out, settings=settings, **{"dropped": {}, "workers": 1, **options})
    found = {}
    for dump in dumps:
        table = pq.read_table(out / f"cuts-{dump}.parquet")
        assert table.schema == CUTS
        found[dump] = table.to_pylist()
        places = [(row["doc_id"], row["byte_start"]) for row in found[dump]]
        assert places == sorted(places)
        for one, other in pairwise(found[dump]):
            assert one["byte_start"] < one["byte_end"]
            assert one["doc_id"] != other["doc_id"] or one["byte_end"] <= other["byte_start"]
        assert sum(cut.cuts for cut in report.cuts[dump].values()) == table.num_rows
        assert sum(cut.bytes for cut in report.cuts[dump].values()) == sum(
            row["byte_end"] - row["byte_start"] for row in found[dump]
        )
    assert sorted(path.name for path in out.iterdir()) == sorted(f"cuts-{dump}.parquet" for dump in dumps)
    return found


def without_cuts(dump: str, texts: Sequence[str], cuts: Sequence[Row]) -> list[str]:
    """A dump's texts after its cuts."""
    doc_ids = string_array([doc_id(dump, index) for index in range(len(texts))])
    shortened, lost = apply_cuts(string_array(texts), doc_ids, pa.Table.from_pylist(list(cuts), schema=CUTS))
    result: list[str] = shortened.to_pylist()
    assert lost.to_pylist() == [
        len(text.encode()) - len(short.encode()) for text, short in zip(texts, result, strict=True)
    ]
    return result


def cut_texts(
    tmp_path: Path, texts: Texts, hashes: HashSettings, cuts: CutSettings, **options: Any
) -> dict[str, list[str]]:
    """All texts after all cuts."""
    base = tmp_path / str(len(list(tmp_path.iterdir())))
    found = find_cuts(write_dumps(base, texts, hashes, source=options.pop("source", "")), base / "out", cuts, **options)
    return {dump: without_cuts(dump, contents, found[dump]) for dump, contents in texts.items()}


def pieces(cuts: Sequence[Row], dump: str, texts: Sequence[str]) -> list[tuple[int, str, str, str | None]]:
    """Number of the document, kind, what is cut, and where it stays, for each cut in the order of the documents."""
    numbers = {doc_id(dump, index): index for index in range(len(texts))}
    return sorted(
        (
            numbers[row["doc_id"]],
            str(row["kind"]),
            texts[numbers[row["doc_id"]]].encode()[row["byte_start"] : row["byte_end"]].decode(),
            row["copy_of"],
        )
        for row in cuts
    )
