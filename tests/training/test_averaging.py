from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from training.averaging import WeightAverage, averaged_weights, read_average
from training.models import ModelSettings, build_model
from training.tensor_parallel import LayerShare


def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 3), nn.LayerNorm(3))


def test_it_is_the_weighted_mean_of_all_steps() -> None:
    model = module()
    average = WeightAverage(model, decay=0.9, rank=0, ranks=1)
    sums = {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}
    factors = 0.0
    for step in range(1, 5):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        average.update(step)
        for name, parameter in model.named_parameters():
            sums[name] = 0.9 * sums[name] + parameter.detach()
        factors = 0.9 * factors + 1
        found = averaged_weights(average, model.named_parameters(), keep=True)
        for name, values in sums.items():
            torch.testing.assert_close(found[name], values / factors)


def test_the_first_weights_are_no_part_of_a_short_trainings_average() -> None:
    model = module()
    average = WeightAverage(model, decay=0.9999, rank=0, ranks=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
    for step in range(1, 11):
        average.update(step)
    for values in averaged_weights(average, model.named_parameters(), keep=True).values():
        torch.testing.assert_close(values, torch.ones_like(values))


@pytest.mark.parametrize(("before", "after"), [(1, 1), (3, 1), (1, 4), (2, 3)])
def test_parts_are_cut_anew_for_other_ranks(tmp_path: Path, before: int, after: int) -> None:
    model = module()
    for rank in range(before):
        average = WeightAverage(model, decay=0.5, rank=rank, ranks=before)
        save_file(average.taken(), average.path(tmp_path))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    parts = []
    for rank in range(after):
        average = WeightAverage(model, decay=0.5, rank=rank, ranks=after)
        average.load(tmp_path)
        parts.append(average._parts)
    for name, parameter in module().named_parameters():
        whole = torch.cat([part[name] for part in parts])[: parameter.numel()]
        assert torch.equal(whole, parameter.flatten())


def test_a_checkpoint_without_it_is_explained(tmp_path: Path) -> None:
    average = WeightAverage(module(), decay=0.5, rank=0, ranks=1)
    with pytest.raises(FileNotFoundError, match="holds no average of the weights; set 'averaging' to 0"):
        average.load(tmp_path)


@pytest.mark.parametrize(("before", "after"), [((4, 2), (1, 1)), ((1, 1), (4, 2)), ((6, 2), (4, 4)), ((2, 2), (2, 2))])
def test_parts_are_cut_anew_where_ranks_share_layers_otherwise(
    tmp_path: Path, before: tuple[int, int], after: tuple[int, int]
) -> None:
    settings = ModelSettings(vocabulary_size=10, width=16, layers=1, heads=4, feed_forward_width=12)
    whole = build_model(settings)
    expected = {name: value.detach().clone() for name, value in whole.named_parameters()}

    def averages(ranks: int, tensor_ranks: int) -> Iterator[WeightAverage]:
        for rank in range(ranks):
            share = LayerShare(cast(Any, None), cast(Any, None), rank % tensor_ranks, tensor_ranks)
            model = build_model(settings.part(tensor_ranks))
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    parameter.copy_(share.part(name, expected[name]))
            yield WeightAverage(model, decay=0.5, rank=rank, ranks=ranks, share=share)

    for average in averages(*before):
        save_file(average.taken(), average.path(tmp_path))
    shapes = {name: value.shape for name, value in expected.items()}
    for name, value in read_average(tmp_path, shapes, tensor_ranks=before[1]).items():
        assert torch.equal(value, expected[name])
    for average in averages(*after):
        mine = average.taken()
        for part in average._parts.values():
            part.zero_()
        average.load(tmp_path, tensor_ranks=before[1])
        for name, value in average.taken().items():
            assert torch.equal(value, mine[name]), name
