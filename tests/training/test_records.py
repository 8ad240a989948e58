from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training.records import Recorder, read_records


def recorder(run: Path, *, first_step: int = 0, is_first_rank: bool = True) -> Recorder:
    return Recorder(run, steps=10, first_step=first_step, is_first_rank=is_first_rank)


def test_records_are_lines_of_json_with_step_and_time(tmp_path: Path) -> None:
    before = time.time()
    with recorder(tmp_path) as opened:
        opened.advance({"loss": "3.2"})
        opened.write(1, {"loss": 3.2, "by_source": {"海": 1.5}})
        opened.say("half way")
        assert len(read_records(tmp_path / "metrics.jsonl")) == 1
        opened.write(2, {"loss": 3.0})
    first, second = read_records(tmp_path / "metrics.jsonl")
    assert first | {"time": 0} == {"step": 1, "time": 0, "loss": 3.2, "by_source": {"海": 1.5}}
    assert before <= first["time"] <= second["time"] <= time.time()
    assert (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").count("\n") == 2


def test_a_line_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_records(path) == []
    line = json.dumps({"step": 1, "loss": 2.5})
    for end in range(len(line) + 1):
        path.write_text(line[:end], encoding="utf-8")
        assert read_records(path) == []
        path.write_text(f"{line}\n{line[:end]}", encoding="utf-8")
        assert read_records(path) == [{"step": 1, "loss": 2.5}]


def test_a_resumed_recorder_drops_later_and_broken_records(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with recorder(tmp_path) as opened:
        for step in range(1, 6):
            opened.write(step, {"loss": float(step)})
    kept = read_records(path)[:3]
    path.write_text(path.read_text() + '{"step": 6, "lo')
    with recorder(tmp_path, first_step=3) as opened:
        assert read_records(path) == kept
        opened.write(4, {"loss": 40.0})
    assert [(record["step"], record["loss"]) for record in read_records(path)] == [(1, 1), (2, 2), (3, 3), (4, 40)]


def test_a_new_run_begins_with_no_records(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n')
    with recorder(tmp_path):
        assert read_records(tmp_path / "metrics.jsonl") == []


def test_other_ranks_write_nothing(tmp_path: Path) -> None:
    with recorder(tmp_path, is_first_rank=False) as opened:
        opened.advance({})
        opened.write(1, {"loss": 1.0})
        opened.say("nothing")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_in_json_is_refused_whole(tmp_path: Path, value: float) -> None:
    with recorder(tmp_path) as opened:
        with pytest.raises(ValueError, match="not JSON compliant"):
            opened.write(1, {"fine": 1.0, "loss": value})
        opened.write(2, {"loss": 1.0})
    assert [record["step"] for record in read_records(tmp_path / "metrics.jsonl")] == [2]


def test_tensorboard_shows_the_same_numbers(tmp_path: Path) -> None:
    with recorder(tmp_path) as opened:
        for step in (1, 2, 3):
            opened.write(step, {"loss": float(step), "validation": {"en": {"loss": 0.5}}})
    with recorder(tmp_path, first_step=2) as opened:
        opened.write(3, {"loss": 30.0})
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "validation/en/loss"}
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_an_error_closes_the_files(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="diverged"), recorder(tmp_path) as opened:
        opened.write(1, {"loss": 1.0})
        raise RuntimeError("diverged")
    assert [record["step"] for record in read_records(tmp_path / "metrics.jsonl")] == [1]
    with pytest.raises(ValueError, match="closed file"):
        opened.write(2, {"loss": 1.0})
