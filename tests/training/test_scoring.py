from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.training.models.test_decoder import tiny_model
from training.models import IGNORED
from training.scoring import LogitsModel, Row, Score, document_rows, row_batches, rows_at_once, score_documents
from training.shards import Document

END = 0
CPU = torch.device("cpu")


def document(ids: Sequence[int], *, size: int = 10) -> Document:
    return Document("id", 0, np.array([*ids, END], dtype=np.int64), size)


def documents(lengths: Sequence[int]) -> list[Document]:
    generator = np.random.default_rng(0)
    return [document(generator.integers(1, 50, length).tolist(), size=2 * length) for length in lengths]


def score(model: LogitsModel, scored: Sequence[Document], *, context: int = 16, batch: int = 4) -> Score:
    return score_documents(model, scored, context=context, end_of_document=END, batch=batch, device=CPU)


@settings(deadline=None)
@given(length=st.integers(1, 150), context=st.integers(2, 40))
def test_every_token_is_a_target_once_and_sees_half_a_context(length: int, context: int) -> None:
    # The n-th token of the document is the number n, so a token that is one less comes before it.
    rows = document_rows(range(1, length + 1), context=context, end_of_document=END)
    counted = []
    for row in rows:
        assert 1 <= len(row.tokens) == len(row.targets) <= context
        assert row.tokens == list(range(row.tokens[0], row.tokens[0] + len(row.tokens)))
        for position, target in enumerate(row.targets):
            if target != IGNORED:
                assert row.tokens[position] == target - 1
                assert position + 1 >= min(target, context / 2)
                counted.append(target)
    assert counted == list(range(1, length + 1))


def test_rows_of_a_small_document() -> None:
    assert document_rows([5, 6, END], context=4, end_of_document=END) == [Row([END, 5, 6], [5, 6, END])]
    assert document_rows([END], context=4, end_of_document=END) == [Row([END], [END])]
    assert document_rows([1, 2, 3, 4, 5, 6, 7], context=4, end_of_document=END) == [
        Row([END, 1, 2, 3], [1, 2, 3, 4]),
        Row([2, 3, 4, 5], [IGNORED, IGNORED, 5, 6]),
        Row([3, 4, 5, 6], [IGNORED, IGNORED, IGNORED, 7]),
    ]


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), max_size=15),
    batch=st.integers(1, 5),
    context=st.sampled_from([12, 13, 16]),
)
def test_batches_hold_every_row_once(lengths: list[int], batch: int, context: int) -> None:
    rows = [Row([number] * length, [number] * length) for number, length in enumerate(lengths)]
    found = []
    for tokens, targets in row_batches(rows, batch=batch, context=context, padding=99):
        assert 1 <= len(tokens) <= batch
        assert tokens.shape == targets.shape
        time = tokens.shape[1]
        assert time == context or time & (time - 1) == 0
        assert time <= context
        for row, aims in zip(tokens.tolist(), targets.tolist(), strict=True):
            kept = [token for token in row if token != 99]
            assert aims == kept + [IGNORED] * (time - len(kept))
            found.append(kept)
    assert sorted(found) == sorted(row.tokens for row in rows)


@pytest.mark.parametrize("lengths", [[0], [3, 0, 40], [15, 16, 17, 100]])
def test_a_model_that_knows_nothing_takes_the_logarithm_of_the_vocabulary(lengths: list[int]) -> None:
    found = score(lambda tokens: torch.zeros(*tokens.shape, 50), documents(lengths))
    tokens = sum(lengths) + len(lengths)
    assert (found.tokens, found.bytes, found.documents) == (tokens, 2 * sum(lengths), len(lengths))
    assert found.loss == pytest.approx(math.log(50))
    assert found.nats == pytest.approx(tokens * math.log(50))
    if found.bytes:
        assert found.bits_per_byte == pytest.approx(tokens * math.log2(50) / found.bytes)


def test_a_model_that_knows_everything_has_no_loss() -> None:
    def successor(tokens: Tensor) -> Tensor:
        return 100 * F.one_hot((tokens + 1) % 50, 50).float()

    assert score(successor, [document(range(1, 50))], context=8).nats == pytest.approx(0, abs=1e-6)


def test_short_documents_score_as_in_one_forward() -> None:
    model = tiny_model().eval()
    scored = documents([3, 9, 15])
    expected = 0.0
    with torch.no_grad():
        for item in scored:
            ids = torch.from_numpy(item.ids)
            logits = model(torch.cat((torch.tensor([END]), ids[:-1]))[None])[0]
            expected += float(F.cross_entropy(logits, ids, reduction="sum"))
    assert score(model, scored).nats == pytest.approx(expected, rel=1e-5)


def test_neither_batches_nor_order_nor_neighbours_change_the_score() -> None:
    model = tiny_model().eval()
    scored = documents([0, 1, 2, 7, 16, 17, 30, 55, 5])
    whole = score(model, scored, batch=4)
    for batch in (1, 3, 100):
        assert score(model, scored, batch=batch).nats == pytest.approx(whole.nats, rel=1e-5)
    assert score(model, scored[::-1]).nats == pytest.approx(whole.nats, rel=1e-5)
    parts = sum((score(model, [item]) for item in scored), Score(0.0, 0, 0, 0))
    assert parts.nats == pytest.approx(whole.nats, rel=1e-5)
    assert (parts.tokens, parts.bytes, parts.documents) == (whole.tokens, whole.bytes, whole.documents)


@pytest.mark.parametrize(
    ("vocabulary", "context", "rows"), [(4096, 256, 32), (32_768, 1024, 2), (128_000, 512, 1), (128_000, 4096, 1)]
)
def test_so_many_rows_are_scored_at_once_as_their_logits_have_room(vocabulary: int, context: int, rows: int) -> None:
    assert rows_at_once(32, vocabulary=vocabulary, context=context) == rows
    assert rows == 1 or rows * context * vocabulary <= 1 << 26


def test_no_documents_score_nothing() -> None:
    found = score(tiny_model(), [])
    assert found == Score(0.0, 0, 0, 0)
    assert (found.loss, found.bits_per_byte) == (0.0, 0.0)


def test_scoring_keeps_no_gradients() -> None:
    model = tiny_model()
    score(model, documents([5]))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.is_grad_enabled()
