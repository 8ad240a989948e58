from __future__ import annotations

from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st

from training.corruption import Copy, Disagreement, bit_sum, find_disagreement, judge, remember_disagreement


@given(st.sampled_from([torch.float32, torch.bfloat16, torch.float64]), st.integers(0, 99), st.data())
def test_any_flipped_bit_changes_the_sum(dtype: torch.dtype, place: int, data: st.DataObject) -> None:
    values = torch.linspace(-3, 3, 100).to(dtype)
    bits = values.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[values.element_size()])
    before = int(bit_sum(values))
    width = 8 * values.element_size()
    flipped = data.draw(st.integers(0, width - 1))
    mask = 1 << flipped
    bits[place] ^= mask - (1 << width) if flipped == width - 1 else mask
    assert int(bit_sum(values)) != before


COLUMN, WHOLE = "blocks.0.attention.query.weight", "embedding.weight"


def test_ranks_are_compared_with_those_that_have_the_same_part() -> None:
    right = {COLUMN: [Copy(number % 2, None, False) for number in range(6)], WHOLE: [Copy(5, None, False)] * 6}
    assert find_disagreement(right, step=4, tensor_ranks=2) is None
    assert find_disagreement(right, step=4) is not None
    for name, ranks in ((COLUMN, (3,)), (WHOLE, (3,))):
        copies = list(right[name])
        copies[3] = Copy(9, None, False)
        found = find_disagreement(right | {name: copies}, step=4, tensor_ranks=2)
        assert found == Disagreement(4, name, ranks, tuple(copy.sum for copy in copies))
    # Of two ranks with the same part one is wrong, which one is seen later.
    pair = {COLUMN: [Copy(value, None, False) for value in (0, 1, 0, 8)]}
    found = find_disagreement(pair, step=4, tensor_ranks=2)
    assert found == Disagreement(4, COLUMN, (), (0, 1, 0, 8))


def test_a_step_computed_again_shows_whose_part_was_wrong(tmp_path: Path) -> None:
    remember_disagreement(tmp_path, Disagreement(4, COLUMN, (), (0, 1, 0, 8)))
    again = {COLUMN: [Copy(value, None, False) for value in (0, 1, 0, 1)]}
    assert judge(tmp_path, again, step=3) == ""
    assert f"the weights of {COLUMN} had been wrong on rank 3;" in judge(tmp_path, again, step=4)
