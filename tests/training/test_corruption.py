from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from training.corruption import bit_sum


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
