"""A training under torchrun, which another node joins."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from small_line import Jobs, run_configuration

from training.events import read_events


@pytest.mark.slow
def test_a_node_joins_by_the_script_that_the_run_leaves(
    run_jobs: Jobs, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = run_configuration(parallel={"micro_batch": 2, "compile": False})
    config["ops"]["language_model"]["config"]["launch"] = {
        "launcher": "torchrun",
        "nodes": 2,
        "interface": "lo",
        "torchrun": {"endpoint": f"127.0.0.1:{port}", "join_seconds": 120},
    }
    joined: list[subprocess.CompletedProcess[str]] = []

    def join() -> None:
        deadline = time.monotonic() + 400
        while time.monotonic() < deadline:
            if scripts := list((own_home / "training-runs").glob("*/join.sh")):
                joined.append(subprocess.run(["sh", str(scripts[0])], capture_output=True, text=True, check=False))
                return
            time.sleep(0.2)

    other = threading.Thread(target=join)
    other.start()
    (result,) = run_jobs([{"job": "raw_to_model", "config": config}])
    other.join()
    assert result["success"], result["failures"]
    assert [done.returncode for done in joined] == [0], joined[0].stdout[-2000:]
    (run,) = (own_home / "training-runs").glob("[!.]*")
    assert json.loads((run / "report.json").read_text())["ranks"] == 2
    assert len(json.loads((run / "nodes.json").read_text())["nodes"]) == 2
    assert any(f"waiting for 2 node(s) at 127.0.0.1:{port}: run sh" in event.message for event in read_events(run))
