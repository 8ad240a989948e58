"""Files that are copied and written after their states were handed over."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from enum import Enum
from pathlib import Path

import pytest
import torch
from torch import nn
from trainer_runs import TRAINER, Launch, finish, losses

from training.artifact import file_sha256
from training.checkpoint import RECORD
from training.snapshot import DamagedFileError, Snapshot, SnapshotEngine, load_data, write_files


def copied(snapshot: Snapshot) -> dict[Path, object]:
    """As a thread copies it."""
    found: dict[Path, object] = {}

    def work() -> None:
        with snapshot.copying():
            found.update(snapshot.copy())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return found


def test_what_was_copied_stays_whatever_becomes_of_the_states(tmp_path: Path) -> None:
    engine = SnapshotEngine()
    weights, rates = torch.arange(6.0).reshape(2, 3), {"rate": 0.1, "betas": [0.9, 0.99]}
    engine.save({"模型": weights, "groups": [rates], "pair": (weights[0], None)}, str(tmp_path / "states.pt"))
    # Numbers and containers may change at once, tensors only after the copy.
    rates["rate"] = 7.0
    contents = copied(engine.take())
    weights.zero_()
    (entry,) = write_files(contents, tmp_path)
    read = load_data(tmp_path / "states.pt")
    assert torch.equal(read["模型"], torch.arange(6.0).reshape(2, 3))
    assert torch.equal(read["pair"][0], torch.arange(3.0))
    assert read["pair"][1] is None
    assert read["groups"] == [{"rate": 0.1, "betas": [0.9, 0.99]}]
    assert (entry.path, entry.sha256) == ("states.pt", file_sha256(tmp_path / "states.pt"))
    assert entry.size == (tmp_path / "states.pt").stat().st_size


class Stage(int, Enum):
    """As DeepSpeed's."""

    GRADIENTS = 2


def test_an_enumeration_is_written_as_its_value(tmp_path: Path) -> None:
    """Python 3.11.2, which is Debian 12's, writes a member as a call of getattr, which nobody should open."""
    engine = SnapshotEngine()
    engine.save({"states": [{"zero_stage": Stage.GRADIENTS}]}, str(tmp_path / "states.pt"))
    write_files(copied(engine.take()), tmp_path)
    (read,) = load_data(tmp_path / "states.pt")["states"]
    assert read == {"zero_stage": Stage.GRADIENTS}
    assert type(read["zero_stage"]) is int


def test_a_parameter_that_gets_other_memory_is_written_as_it_was(tmp_path: Path) -> None:
    """Sharded parameters are gathered into other memory by the next forward pass."""
    engine = SnapshotEngine()
    parameter = nn.Parameter(torch.ones(3))
    engine.save({"weight": parameter}, str(tmp_path / "states.pt"))
    parameter.data = torch.zeros(5)
    write_files(copied(engine.take()), tmp_path)
    assert torch.equal(load_data(tmp_path / "states.pt")["weight"], torch.ones(3))


def test_memory_is_used_again_where_shapes_and_types_stay(tmp_path: Path) -> None:
    engine = SnapshotEngine()
    path = tmp_path / "states.pt"

    def address(value: torch.Tensor) -> int:
        engine.save([value], str(path))
        contents = engine.take().copy()
        assert torch.equal(contents[path][0], value)
        pointer: int = contents[path][0].data_ptr()
        return pointer

    first = address(torch.ones(1000))
    assert address(torch.full((1000,), 2.0)) == first
    address(torch.ones(10, 2, dtype=torch.bfloat16))


def test_a_file_with_a_program_in_it_is_not_opened(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(2), "harm": Path}, tmp_path / "states.pt")
    with pytest.raises(DamagedFileError, match=r"more than data.*remove its checkpoint"):
        load_data(tmp_path / "states.pt")


SLOW = """
import sys
import time

sys.path.insert(0, {repository!r})
from training.snapshot import Snapshot
from training.train import main

copy = Snapshot.copy


def slow_copy(self):
    time.sleep(0.5)
    return copy(self)


Snapshot.copy = slow_copy
sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "stage"), [(1, 0), (2, 2), (2, 3)])
def test_no_step_overtakes_the_copying(
    tmp_path: Path, configure: Callable[..., Path], launch: Launch, ranks: int, stage: int
) -> None:
    """Copying that takes longer than many steps still finds the states of its own."""
    program = tmp_path / "slow.py"
    program.write_text(SLOW.format(repository=str(TRAINER.parents[1])))
    options = {"parallel": {"zero_stage": stage}, "averaging": 0.9, "steps": 12}
    finish(launch(configure("prompt", **options), ranks=ranks))
    finish(launch(configure("slow", **options), ranks=ranks, program=program))
    assert losses(tmp_path / "slow") == losses(tmp_path / "prompt")
    for tag in ("step-0000000006", "step-0000000012"):
        prompt, slow = (
            json.loads((tmp_path / run / "checkpoints" / tag / RECORD).read_text())["files"]
            for run in ("prompt", "slow")
        )
        assert slow == prompt
        assert any("optim_states" in file["path"] or stage == 0 for file in slow)
