"""What holds of the filter stage for every world of documents."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import filtered_worlds as worlds
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.clean_text.conservation import check_conservation
from assets.clean_text.copies import find_copies
from assets.clean_text.filtering import FilterReport, filter_documents
from assets.clean_text.ledger import finish_documents
from assets.clean_text.row_groups import batches
from assets.clean_text.settings import DuplicateSettings, FilterSettings

World = list[tuple[str, str]]
WORLDS = st.lists(worlds.documents(), max_size=14)


def filtered(raw: Path, out: Path, **arguments: Any) -> FilterReport:
    out.mkdir()
    arguments = {"settings": worlds.SETTINGS, "workers": 1} | arguments
    return filter_documents(raw, out, dump="dump", **arguments)


def by_document(path: Path) -> dict[str, dict[str, Any]]:
    return {row["doc_id"]: row for row in pq.read_table(path).to_pylist()}


@settings(max_examples=12)
@given(world=WORLDS, rows_per_group=st.integers(1, 20), batch_bytes=st.sampled_from([1, 50, 200, 1000]))
def test_bytes_do_not_depend_on_row_groups_and_batches(world: World, rows_per_group: int, batch_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        one = worlds.write_world(base / "one", world, rows_per_group=1000)
        other = worlds.write_world(base / "other", world, rows_per_group=rows_per_group)
        filtered(one, base / "out-one")
        filtered(other, base / "out-other", batch_bytes=batch_bytes)
        assert worlds.file_hashes(base / "out-one") == worlds.file_hashes(base / "out-other")


@pytest.mark.slow
@settings(max_examples=4)
@given(world=st.lists(worlds.documents(), min_size=6, max_size=14), batch_bytes=st.sampled_from([1, 200]))
def test_bytes_do_not_depend_on_workers(world: World, batch_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        raw = worlds.write_world(base / "raw", world, rows_per_group=2)
        filtered(raw, base / "one")
        filtered(raw, base / "two", workers=2, batch_bytes=batch_bytes)
        assert worlds.file_hashes(base / "one") == worlds.file_hashes(base / "two")


@settings(max_examples=12)
@given(world=WORLDS, data=st.data())
def test_an_order_of_the_documents_is_an_order_of_the_outcomes(world: World, data: st.DataObject) -> None:
    order: Sequence[int] = data.draw(st.permutations(range(len(world))))
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        reports = [
            filtered(worlds.write_world(base / "one", world), base / "out-one"),
            filtered(worlds.write_world(base / "other", world, order=order), base / "out-other"),
        ]
        assert reports[0] == reports[1]
        for file in ("documents-00000", "signals-00000", "decisions", "signatures", "minhash"):
            one, other = (by_document(base / f"out-{name}" / f"{file}.parquet") for name in ("one", "other"))
            assert one == other
        places = pq.read_table(base / "out-other" / "decisions.parquet")["byte_start"].to_pylist()
        assert places == list(order)


@settings(max_examples=12)
@given(world=WORLDS)
def test_every_document_is_kept_or_dropped(world: World) -> None:
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        raw = worlds.write_world(base / "raw", world)
        report = filtered(raw, base / "filtered")
        decisions = pq.read_table(base / "filtered" / "decisions.parquet")
        assert report.documents == len(world) == decisions.num_rows
        assert report.documents == report.kept + sum(report.dropped.values())
        assert report.kept == pc.sum(decisions["kept"], min_count=0).as_py()
        assert report.raw_bytes == sum(len(text.encode()) for _, text in world)
        (base / "copies").mkdir()
        (base / "clean").mkdir()
        find_copies(
            {"dump": base / "filtered"},
            base / "copies",
            settings=DuplicateSettings(),
            signed=[worlds.SETTINGS.near_duplicates.model_dump(mode="json")],
        )
        finish_documents(base / "filtered", base / "copies", base / "clean", dump="dump")
        conservation = check_conservation(raw, base / "clean")
        assert conservation.holds, conservation.violations
        assert conservation.read == len(world) == conservation.kept + conservation.dropped


@settings(max_examples=20)
@given(world=WORLDS)
def test_cleaning_clean_text_changes_nothing(world: World) -> None:
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        filtered(worlds.write_world(base / "raw", world), base / "once", settings=FilterSettings())
        again = filtered(base / "once", base / "twice", settings=FilterSettings())
        assert (again.changed, again.dropped) == (0, {})
        once, twice = (pq.read_table(base / name / "documents-00000.parquet") for name in ("once", "twice"))
        assert once.equals(twice)


@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), max_size=30),
    batch_bytes=st.integers(1, 100),
)
def test_batches_are_all_rows_in_order_and_no_larger_than_asked(texts: list[str], batch_bytes: int) -> None:
    table = pa.table({"text": pa.array(texts, pa.string())})
    found = list(batches(table, batch_bytes=batch_bytes))
    assert pa.concat_tables(found).equals(table)
    for batch in found:
        size = sum(len(text.encode()) for text in batch["text"].to_pylist())
        assert size <= batch_bytes or batch.num_rows == 1
