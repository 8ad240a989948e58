"""The whole job over a real network: ssh, pdsh and DeepSpeed's hostfile, on two namespaces of this machine."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from small_line import Jobs, run_configuration
from started_job import start_job, wait_for_path
from two_nodes import Nodes, two_nodes

from tests.training.trainer_runs import wait_for_step
from training.checkpoint import newest_checkpoint
from training.events import read_events
from training.records import read_records


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    # Both nodes share the cores of this machine.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    folder = tmp_path / "nodes"
    folder.mkdir()
    with two_nodes(folder) as found:
        yield found


def over_ssh(nodes: Nodes, launch: dict[str, Any] | None = None, **training: Any) -> dict[str, Any]:
    """The small line's configuration, trained on both nodes."""
    configuration = run_configuration(
        parallel={"micro_batch": 2, "compile": False} | training.pop("parallel", {}), **training
    )
    ssh = {"hostfile": str(nodes.hostfile), "options": nodes.ssh, "connect_seconds": 5, "silent_seconds": 6}
    configuration["ops"]["language_model"]["config"]["launch"] = {
        "launcher": "ssh",
        "nodes": 2,
        "interface": "eth0",
        "ssh": ssh,
        **(launch or {}),
    }
    return configuration


def ranks_of(run: Path) -> list[psutil.Process]:
    """What runs of a training, on both nodes."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(run / "configuration.json") in word for word in process.info["cmdline"] or ()):
            found.append(process)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("stage", [2, 3])
def test_a_model_is_trained_on_two_nodes(run_jobs: Jobs, nodes: Nodes, own_home: Path, stage: int) -> None:
    config = over_ssh(nodes, parallel={"zero_stage": stage}, optimizer={"learning_rate": 0.01})
    (result,) = run_jobs([{"job": "raw_to_model", "config": config}])
    assert result["success"], result["failures"]
    (run,) = (own_home / "training-runs").glob("[!.]*")
    found = json.loads((run / "nodes.json").read_text())
    assert [node["node"] for node in found["nodes"]] == list(nodes.namespaces)
    assert found["nodes"][0]["bandwidth"] > 1e6
    assert json.loads((run / "report.json").read_text())["ranks"] == 2
    losses = [record["loss"] for record in read_records(run / "metrics.jsonl") if "loss" in record]
    assert len(losses) == 6
    assert losses[0] == pytest.approx(math.log(400), abs=0.05)
    assert losses[-1] < losses[0] - 0.1
    assert ranks_of(run) == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_node_that_is_cut_off_is_left_out_and_taken_back(
    run_jobs: Jobs, nodes: Nodes, own_home: Path, tmp_path: Path
) -> None:
    """The interface of a node goes down; the other one goes on alone with the same batch, until it is up again."""
    steps = 4000
    config = over_ssh(
        nodes,
        launch={"min_nodes": 1, "grace_seconds": 20.0},
        steps=steps,
        checkpoint_every=20,
        validate_every=steps,
        parallel={"zero_stage": 1},
    )
    config["ops"]["language_model"]["config"]["launch"]["ssh"]["look_again_seconds"] = 2.0
    process, _ = start_job(tmp_path, config)
    try:
        run = wait_for_path(own_home / "training-runs", "[!.]*", process)
        wait_for_step(run, 40, process, 400)
        nodes.link(1, "down")
        cut_off = len(read_records(run / "metrics.jsonl"))
        alone = wait_for_event(run, "the training runs on 1 of 2 nodes", process)
        assert f"({nodes.addresses[0]}) with the same batch; node {nodes.addresses[1]} is left out: " in alone
        (lost,) = [event for event in read_events(run) if event.kind == "restart"]
        assert f"lost node {nodes.addresses[1]}: its ssh connection broke off" in lost.message
        wait_for_step(run, cut_off + 40, process, 300)
        nodes.link(1, "up")
        wait_for_event(run, f"since node {nodes.addresses[1]} answers again", process)
        wait_for_step(run, last_step(run) + 20, process, 300)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=300)
        assert ranks_of(run) == []
        steps_done = [record["step"] for record in read_records(run / "metrics.jsonl") if "loss" in record]
        assert steps_done == list(range(1, len(steps_done) + 1))
        newest, _ = newest_checkpoint(run)
        assert newest is not None
        assert (newest[1].step, newest[1].ranks) == (steps_done[-1], 2)
    finally:
        process.kill()


def last_step(run: Path) -> int:
    return int(read_records(run / "metrics.jsonl")[-1]["step"])


def wait_for_event(run: Path, words: str, process: subprocess.Popen[str]) -> str:
    deadline = time.monotonic() + 400
    while True:
        for event in read_events(run):
            if words in event.message:
                return event.message
        assert process.poll() is None
        assert time.monotonic() < deadline, [event.message for event in read_events(run)]
        time.sleep(0.2)
