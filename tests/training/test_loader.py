from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.training.test_shards import write
from training.loader import WindowLoader, sample_order
from training.shards import ShardError, Shards

CONTEXT = 5


@pytest.fixture
def sources(tmp_path: Path) -> list[Shards]:
    english = [("train", [100 + n % 7] * (n % 4)) for n in range(40)]
    chinese = [("train", list(range(200 + n, 203 + n))) for n in range(15)]
    return [
        write(tmp_path / "en", english, shard_tokens=11, dump="en"),  # type: ignore[arg-type]
        write(tmp_path / "zh", chinese, dump="zh"),  # type: ignore[arg-type]
    ]


@pytest.fixture
def loader(sources: list[Shards]) -> WindowLoader:
    return WindowLoader(sources, sample_order(sources, [2.0, 1.0], context=CONTEXT, seed=1), CONTEXT)


def test_targets_follow_inputs(loader: WindowLoader) -> None:
    tokens, targets = loader.batch(10, 6)
    assert tokens.dtype == targets.dtype == torch.int64
    assert tokens.shape == targets.shape == (6, CONTEXT)
    assert torch.equal(tokens[:, 1:], targets[:, :-1])


def test_batches_do_not_depend_on_their_size(loader: WindowLoader) -> None:
    whole = loader.batch(0, 64)
    parts = [loader.batch(first, 4) for first in reversed(range(0, 64, 4))]
    assert torch.equal(whole.tokens, torch.cat([part.tokens for part in reversed(parts)]))


def test_samples_name_their_documents(loader: WindowLoader, sources: list[Shards]) -> None:
    for number in range(100):
        batch = loader.batch(number, 1)
        source, spans = loader.documents(number)
        ids = [
            int(token)
            for span in spans
            for token in sources[source].train.document(span.document).ids[span.offset : span.offset + span.length]
        ]
        assert ids == [*batch.tokens[0].tolist(), int(batch.targets[0, -1])]


def test_prefetch_gives_the_same_batches_and_measures_the_wait(loader: WindowLoader) -> None:
    with loader.prefetch(((first, 4) for first in range(0, 80, 4)), depth=2) as batches:
        tokens = [batch.tokens for batch in batches]
        assert batches.wait_seconds > 0
        assert list(batches) == []
    assert torch.equal(torch.cat(tokens), loader.batch(0, 80).tokens)


def test_prefetch_is_bounded_and_ends(loader: WindowLoader) -> None:
    asked = 0

    def endless() -> Iterator[tuple[int, int]]:
        nonlocal asked
        while True:
            asked += 1
            yield asked, 2

    with loader.prefetch(endless(), depth=3) as batches:
        next(batches)
        time.sleep(0.05)
        assert asked <= 6
    assert not [thread for thread in threading.enumerate() if thread.name == "window-loader"]
    with pytest.raises(StopIteration):
        next(batches)


def test_an_error_in_the_thread_reaches_the_reader(loader: WindowLoader, tmp_path: Path) -> None:
    (tmp_path / "zh" / "train-00000.bin").unlink()
    with loader.prefetch([(0, 64)]) as batches, pytest.raises(ShardError, match=r"zh/train-00000\.bin"):
        next(batches)


def test_context_longer_than_the_data(sources: list[Shards]) -> None:
    with pytest.raises(ShardError, match=r"zh has 60 training tokens, too few for one window of 81; shorten"):
        sample_order(sources, [1.0, 1.0], context=80, seed=0)


def test_different_vocabularies(sources: list[Shards], tmp_path: Path) -> None:
    path = tmp_path / "zh" / "shards.json"
    path.write_text(path.read_text().replace("ab" * 32, "cd" * 32))
    from training.shards import open_shards

    mixed = [sources[0], open_shards(tmp_path / "zh")]
    with pytest.raises(ShardError, match="different vocabularies"):
        WindowLoader(mixed, sample_order(mixed, [1.0, 1.0], context=CONTEXT, seed=0), CONTEXT)


def test_an_order_of_other_data(sources: list[Shards]) -> None:
    order = sample_order(sources, [1.0, 1.0], context=CONTEXT + 1, seed=0)
    with pytest.raises(ShardError, match="not the data it was made for"):
        WindowLoader(sources, order, CONTEXT)
