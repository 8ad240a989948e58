"""The whole job over a real network: ssh, pdsh, DeepSpeed's hostfile, on two nodes that are namespaces of this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_line import Jobs, run_configuration
from two_nodes import Nodes, two_nodes

from training.events import read_events
from training.records import read_records


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
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


@pytest.mark.slow
def test_zero_2_and_3_train_on_two_nodes_as_on_one(run_jobs: Jobs, nodes: Nodes, own_home: Path) -> None:
    stages = [over_ssh(nodes, parallel={"zero_stage": stage}) for stage in (2, 3)]
    results = run_jobs([{"job": "raw_to_model", "config": config} for config in stages])
    runs = sorted((own_home / "training-runs").iterdir(), key=lambda path: path.stat().st_mtime)
    for result in results:
        assert result["success"], result["failures"]
    assert len(runs) == 2
    for run in runs:
        found = json.loads((run / "nodes.json").read_text())
        assert [node["node"] for node in found["nodes"]] == list(nodes.namespaces)
        assert found["nodes"][0]["bandwidth"] > 1e6
        assert json.loads((run / "report.json").read_text())["ranks"] == 2
    losses = [[record["loss"] for record in read_records(run / "metrics.jsonl") if "loss" in record] for run in runs]
    assert len(losses[0]) == 6
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert nodes.processes("training/train.py") == []
