"""Small worlds of every shape: sources, ways of packing, phases; every row is checked against the documents."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from torch.utils.data import DataLoader

from tests.training.test_shards import END, Documents, write
from training.fill_in_the_middle import SENTINEL
from training.loader import BatchStream, Prefetch, SampleReader
from training.models import IGNORED
from training.run_settings import TrainingSettings
from training.samples import MIDDLE, PREFIX, SUFFIX, training_samples
from training.shards import ShardError, Shards

SENTINELS = {PREFIX: 997, MIDDLE: 998, SUFFIX: 999}


def settings_of(**changes: Any) -> TrainingSettings:
    model = {"width": 16, "layers": 1, "heads": 2, "key_value_heads": 2, "feed_forward_width": 16, "context": 4}
    return TrainingSettings.model_validate(
        {"model": model, "batch": 4, "steps": 30, "parallel": {"micro_batch": 2}, "seed": 1} | changes
    )


def reader_of(folder: Path, sources: list[Shards], how: TrainingSettings) -> SampleReader:
    tokenizer = Tokenizer(models.WordLevel(SENTINELS, unk_token=PREFIX))
    tokenizer.save(str(folder / "tokenizer.json"))
    return training_samples(
        how, sources, [float(number + 1) for number in range(len(sources))], vocabulary=folder, plans=folder / "plans"
    )


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[list[int]], dict[str, Any], int]:
    """Lengths of the documents by source, settings, and tokens of a file."""
    lengths = draw(st.lists(st.lists(st.integers(1, 14), min_size=7, max_size=25), min_size=1, max_size=2))
    packing = draw(st.sampled_from(["cut", "best_fit"]))
    changes: dict[str, Any] = {"samples": {"packing": packing}}
    if draw(st.booleans()):
        changes["samples"]["fill_in_the_middle"] = 0.7
    if draw(st.booleans()):
        changes["samples"]["shuffle_chunk_tokens"] = draw(st.integers(1, 30))
    context = draw(st.sampled_from([4, 8, 12]))
    changes["model"] = settings_of().model_dump()["model"] | {"context": context}
    if draw(st.booleans()):
        shorter = None if packing == "best_fit" else draw(st.sampled_from([None, context // 2, context // 4]))
        changes["curriculum"] = [
            {"steps": 12, "batch": 2, "context": shorter},
            {"steps": 18, "weights": {"source-0": 1.0}},
        ]
    return lengths, changes, draw(st.sampled_from([15, 40, 1000]))


def made(folder: Path, lengths: list[list[int]], shard_tokens: int) -> list[Shards]:
    """Every token of a source is another number, but for the ends of documents."""
    sources = []
    for number, source in enumerate(lengths):
        first = iter(range(1, 900))
        documents = [("train", [next(first) for _ in range(length)]) for length in source]
        name = f"source-{number}"
        sources.append(write(folder / name, documents, shard_tokens=shard_tokens, dump=name))  # type: ignore[arg-type]
    return sources


@settings(max_examples=60)
@given(world=worlds())
def test_every_row_is_what_its_positions_say_and_back(world: tuple[list[list[int]], dict[str, Any], int]) -> None:
    lengths, changes, shard_tokens = world
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = made(folder, lengths, shard_tokens)
        how = settings_of(**changes)
        reader = reader_of(folder, sources, how)
        forward: list[Counter[int]] = [Counter() for _ in sources]
        seen_by: dict[tuple[int, int], set[int]] = {}
        total = reader.order.step(how.steps).first
        for step in range(how.steps):
            first, batch, parts = reader.order.step(step)
            context = how.model.context // parts
            rows, counted = reader.batch(first, batch)
            assert counted is None
            assert rows.shape == (batch, context + 1)
            for row, number in zip(rows.tolist(), range(first, first + batch), strict=True):
                source, positions = reader.positions(number)
                split = sources[source].train
                for target, position in zip(row[1:], positions.tolist(), strict=True):
                    if position >= 0:
                        assert target == int(split.tokens(position, 1)[0])
                        forward[source][position] += 1
                        seen_by.setdefault((source, position), set()).add(number)
                    elif position == SENTINEL:
                        assert target in SENTINELS.values()
                    else:
                        assert target == END
                if how.samples.packing == "best_fit":
                    assert row[0] == END
                elif not how.samples.fill_in_the_middle:
                    assert row[0] == int(split.tokens((positions[0] - 1) % split.token_count, 1)[0])
        # Backwards: for every document, the samples that hold a token of it.
        for source, shards in enumerate(sources):
            for document in shards.train.iterate():
                places = range(document.start, document.start + document.ids.size)
                expected = sorted(set().union(*(seen_by.get((source, place), set()) for place in places)))
                assert reader.samples_of(source, document.start, document.ids.size, samples=total) == expected


def test_a_source_of_one_window_is_found_in_every_phase_of_short_sequences(tmp_path: Path) -> None:
    """Each phase reads some of the window's eight parts and leaves the others out."""
    documents: list[Documents] = [[("train", [n + 1] * 9) for n in range(count)] for count in (100, 2)]
    shards = [write(tmp_path / name, pages, dump=name) for name, pages in zip(("en", "zh"), documents, strict=True)]
    how = settings_of(
        model=settings_of().model_dump()["model"] | {"context": 16},
        steps=12,
        curriculum=[{"steps": 2, "context": 2, "weights": {"en": 0.7, "zh": 0.3}}] * 6,
    )
    reader = reader_of(tmp_path, shards, how)
    places = [reader.positions(number) for number in range(48)]
    for document in shards[1].train.iterate():
        inside = range(document.start, document.start + document.ids.size)
        expected = [n for n, (source, positions) in enumerate(places) if source == 1 and {*positions} & {*inside}]
        assert reader.order.sample(expected[-1]).epoch > 3
        assert reader.samples_of(1, document.start, document.ids.size, samples=48) == expected


@settings(max_examples=40)
@given(world=worlds())
def test_no_token_is_a_target_twice_before_all_were(world: tuple[list[list[int]], dict[str, Any], int]) -> None:
    lengths, changes, shard_tokens = world
    changes["samples"].pop("fill_in_the_middle", None)
    with tempfile.TemporaryDirectory() as name:
        sources = made(Path(name), lengths, shard_tokens)
        how = settings_of(**changes)
        reader = reader_of(Path(name), sources, how)
        seen: list[Counter[int]] = [Counter() for _ in sources]
        for number in range(reader.order.step(how.steps).first):
            source, positions = reader.positions(number)
            seen[source].update(positions[positions >= 0].tolist())
            most, least = max(seen[source].values()), reader.order.epochs(number + 1)[source]
            assert most <= int(np.ceil(least)) + (how.samples.packing == "cut")


@pytest.fixture
def sources(tmp_path: Path) -> list[Shards]:
    english = [("train", [100 + n % 7] * (1 + n % 4)) for n in range(40)]
    chinese = [("train", list(range(200 + n, 203 + n))) for n in range(15)]
    return [
        write(tmp_path / "en", english, shard_tokens=11, dump="en"),  # type: ignore[arg-type]
        write(tmp_path / "zh", chinese, dump="zh"),  # type: ignore[arg-type]
    ]


@pytest.fixture
def reader(tmp_path: Path, sources: list[Shards]) -> SampleReader:
    return reader_of(tmp_path, sources, settings_of())


def rows_of(stream: BatchStream) -> list[list[int]]:
    return [row for batch in stream for row in batch.rows.tolist()]


def test_few_of_many_files_are_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    documents: Documents = [("train", [number + 1] * 9) for number in range(700)]
    source = write(tmp_path / "shards", documents, shard_tokens=10)
    assert len(source.train.files) == 700
    read = reader_of(tmp_path, [source], settings_of(batch=1750)).batch(0, 1750)
    assert len(list(Path("/proc/self/fd").iterdir())) - before < 300
    assert set(read.rows.ravel().tolist()) == {END, *range(1, 701)}


def test_inputs_and_targets(reader: SampleReader) -> None:
    batch = reader.batch(8, 4)
    inputs, targets = batch.inputs(), batch.targets(END)
    assert inputs.dtype == targets.dtype == torch.int64
    assert inputs.shape == targets.shape == (4, 4)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])


def test_padding_is_not_a_target(tmp_path: Path) -> None:
    shards = write(tmp_path / "zh", [("train", [7, 8]), ("train", [9, 10, 11, 12])], dump="zh")
    how = settings_of(samples={"packing": "best_fit"}, model=settings_of().model_dump()["model"] | {"context": 6})
    batch = reader_of(tmp_path, [shards], how).batch(0, 2)
    targets = sorted(batch.targets(END).tolist())
    assert targets == sorted([[7, 8, END, *[IGNORED] * 3], [9, 10, 11, 12, END, IGNORED]])
    assert batch.inputs()[:, 0].tolist() == [END, END]


@pytest.mark.parametrize(("ranks", "micro_batch"), [(1, 1), (1, 4), (2, 2), (2, 1), (4, 1)])
def test_a_step_is_the_same_for_any_ranks_and_micro_batches(
    tmp_path: Path, sources: list[Shards], ranks: int, micro_batch: int
) -> None:
    how = settings_of(curriculum=[{"steps": 10}, {"steps": 20, "batch": 8, "context": 2, "weights": {"zh": 1}}])
    reader = reader_of(tmp_path, sources, how)
    streams = [
        iter(BatchStream(reader, steps=30, micro_batch=micro_batch, rank=rank, ranks=ranks)) for rank in range(ranks)
    ]
    for step in range(30):
        first, batch, _ = reader.order.step(step)
        expected = reader.batch(first, batch).rows.tolist()
        rows = [
            row
            for _ in range(batch // ranks // micro_batch)
            for stream in streams
            for row in next(stream).rows.tolist()
        ]
        assert rows == expected
    assert all(next(stream, None) is None for stream in streams)


def test_a_stream_goes_on_from_four_integers(reader: SampleReader) -> None:
    whole = [batch.rows.tolist() for batch in BatchStream(reader, steps=9, micro_batch=2)]
    stream = BatchStream(reader, steps=9, micro_batch=2)
    batches = iter(stream)
    begun = [next(batches).rows.tolist() for _ in range(7)]
    state = stream.state_dict()
    assert state == {"step": 3, "micro_batch": 1, "rank": 0, "ranks": 1}
    again = BatchStream(reader, steps=9, micro_batch=2)
    again.load_state_dict(state)
    assert begun + [batch.rows.tolist() for batch in again] == whole
    other = BatchStream(reader, steps=9, micro_batch=2, rank=1, ranks=2)
    with pytest.raises(ValueError, match="micro-batch 1 of step 3 of rank 0 of 1 cannot be gone on from by rank 1"):
        other.load_state_dict(state)
    other.load_state_dict(state | {"micro_batch": 0})
    assert len(list(other)) == 6


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_torch_data_loader_reads_the_same(reader: SampleReader, workers: int) -> None:
    stream = BatchStream(reader, steps=5, micro_batch=2)
    loader: DataLoader[Any] = DataLoader(stream, batch_size=None, num_workers=workers)
    expected = rows_of(BatchStream(reader, steps=5, micro_batch=2))
    assert [row for batch in loader for row in batch.rows.tolist()] == expected


def test_prefetch_gives_the_same_batches_and_measures_the_wait(reader: SampleReader) -> None:
    with Prefetch(iter(BatchStream(reader, steps=9, micro_batch=2)), depth=2) as batches:
        rows = [row for batch in batches for row in batch.rows.tolist()]
        assert batches.wait_seconds > 0
        assert list(batches) == []
    assert rows == rows_of(BatchStream(reader, steps=9, micro_batch=2))


def test_prefetch_is_bounded_and_ends(reader: SampleReader) -> None:
    asked = 0

    def endless() -> Iterator[Any]:
        nonlocal asked
        while True:
            asked += 1
            yield reader.batch(asked * 4, 2)

    with Prefetch(endless(), depth=3) as batches:
        next(batches)
        time.sleep(0.05)
        assert asked <= 6
    assert not [thread for thread in threading.enumerate() if thread.name == "batch-reader"]
    with pytest.raises(StopIteration):
        next(batches)


def test_an_error_in_the_thread_reaches_the_reader(reader: SampleReader, tmp_path: Path) -> None:
    (tmp_path / "zh" / "train-00000.bin").unlink()
    with (
        Prefetch(iter(BatchStream(reader, steps=30, micro_batch=4))) as batches,
        pytest.raises(ShardError, match=r"zh/train-00000\.bin"),
    ):
        list(batches)


def test_context_longer_than_the_data(tmp_path: Path, sources: list[Shards]) -> None:
    how = settings_of(model=settings_of().model_dump()["model"] | {"context": 80})
    with pytest.raises(ShardError, match=r"zh has 60 training tokens, too few for one sequence of 80; shorten"):
        reader_of(tmp_path, sources, how)


def test_different_vocabularies(sources: list[Shards], tmp_path: Path) -> None:
    path = tmp_path / "zh" / "shards.json"
    path.write_text(path.read_text().replace("ab" * 32, "cd" * 32))
    from training.shards import open_shards

    with pytest.raises(ShardError, match="different vocabularies"):
        reader_of(tmp_path, [sources[0], open_shards(tmp_path / "zh")], settings_of())


def test_an_order_of_other_data(tmp_path: Path, sources: list[Shards], reader: SampleReader) -> None:
    other = reader_of(tmp_path, sources, settings_of(model=settings_of().model_dump()["model"] | {"context": 5}))
    with pytest.raises(ShardError, match="not the data it was made for"):
        SampleReader(sources, other._rows, reader.order, 5)
