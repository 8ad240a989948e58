"""Whether machines fit a training and each other: what is said of which node."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models

from training.artifact import file_sha256
from training.events import read_events
from training.node_check import unfit
from training.node_facts import Gpu, NodeFacts, node_facts, parse_gpu
from training.run_settings import load_run_settings
from training.shards import ShardWriter

TRAINING = Path(__file__).parents[2] / "training"


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """A training's file, with its data and an empty folder."""
    vocabulary, shards, run = (tmp_path / name for name in ("vocabulary", "书", "run"))
    for folder in (vocabulary, shards, run):
        folder.mkdir()
    Tokenizer(models.WordLevel({"<|endoftext|>": 0, "一": 1}, unk_token="<|endoftext|>")).save(
        str(vocabulary / "tokenizer.json")
    )
    with ShardWriter(
        shards,
        vocabulary_hash=file_sha256(vocabulary / "tokenizer.json"),
        vocabulary_size=2,
        end_of_document=0,
        language="zh",
        source="书",
        dump="书",
    ) as writer:
        writer.add("train", "0" * 32, np.ones(5, dtype=np.int64), bytes=15)
    path = tmp_path / "run.json"
    path.write_text(
        json.dumps({"training": {}, "data": [{"folder": "书"}], "vocabulary": "vocabulary", "output": "run"})
    )
    return path


def start(configuration: Path, rank: int, port: int, *options: str, code: Path = TRAINING) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return subprocess.Popen(
        [sys.executable, str(code / "node_check.py"), "--config", str(configuration), *options],
        env=environment | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=configuration.parent,
    )


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_equal_nodes_are_fit_and_their_network_is_measured(configuration: Path, port: int) -> None:
    ranks = [start(configuration, rank, port) for rank in (0, 1)]
    output = [rank.communicate(timeout=120)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], output
    found = json.loads((configuration.parent / "run" / "nodes.json").read_text())
    assert [node["node"] for node in found["nodes"]] == [socket.gethostname()] * 2
    assert found["nodes"][0]["bandwidth"] > 1e6
    assert abs(found["nodes"][1]["offset"]) < 5
    (event,) = read_events(configuration.parent / "run")
    assert event.message.startswith("2 node(s) are fit for the training; an all-reduce of 64 MiB ran at ")
    assert output[0].startswith("node ")
    assert socket.gethostname() in output[0].splitlines()[2]


def test_other_code_on_a_node_is_an_error_that_names_it_and_all_end(
    configuration: Path, port: int, tmp_path: Path
) -> None:
    other = tmp_path / "other" / "training"
    shutil.copytree(TRAINING, other, ignore=shutil.ignore_patterns("__pycache__"))
    (other / "schedule.py").write_text((other / "schedule.py").read_text() + "# changed\n")
    ranks = [start(configuration, 0, port), start(configuration, 1, port, code=other)]
    output = [rank.communicate(timeout=120)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [2, 2], output
    assert f"error: node {socket.gethostname()}: code is " in output[0]
    assert json.loads((configuration.parent / "run" / "nodes.json").read_text())["problems"]


@pytest.mark.slow
def test_a_node_that_does_not_come_is_named(configuration: Path, port: int) -> None:
    rank = start(configuration, 0, port, "--nodes", "甲,乙", "--wait-seconds", "2")
    output = rank.communicate(timeout=120)[0]
    assert rank.returncode == 1
    assert "error: node(s) 乙 did not report to the first one within 2 s" in output


@pytest.mark.slow
def test_a_node_that_cannot_reach_the_first_says_where_it_looked(configuration: Path, port: int) -> None:
    rank = start(configuration, 1, port, "--wait-seconds", "2")
    output = rank.communicate(timeout=120)[0]
    assert rank.returncode == 1
    assert f"error: node {socket.gethostname()} cannot reach the first one at 127.0.0.1:{port}" in output


def test_what_differs_is_named_by_node_and_field() -> None:
    usual = {"torch": "2.13.0", "code": "aa"}
    assert unfit([NodeFacts("一", usual), NodeFacts("二", usual)]) == []
    nodes = [NodeFacts("一", {**usual, "torch": "2.11.0"}), NodeFacts("二", usual), NodeFacts("三", usual)]
    assert unfit(nodes) == ["node 一: torch is 2.11.0, and on 二 it is 2.13.0"]
    # Without a majority the first one is the example.
    assert unfit(nodes[:2]) == ["node 二: torch is 2.13.0, and on 一 it is 2.11.0"]
    assert unfit([NodeFacts("一", {"data x": "missing"})]) == ["node 一: data x is missing"]
    late = [NodeFacts("一", usual), NodeFacts("二", usual, offset=-61.0)]
    assert unfit(late) == ["node 二: its clock is -61.0 s off that of 一; run a time service"]
    assert unfit([NodeFacts("一", {}, problems=["it is on fire"]), NodeFacts("二", usual)]) == [
        "node 一: it is on fire"
    ]


def test_a_line_of_nvidia_smi_is_read() -> None:
    assert parse_gpu("NVIDIA H100 80GB HBM3, 550.54, 81559, 2") == Gpu(
        "NVIDIA H100 80GB HBM3", "550.54", "81559 MiB", 2
    )
    assert parse_gpu("NVIDIA GeForce RTX 4090, 550.54, 24564, [N/A]").errors == 0


def test_memory_errors_of_a_gpu_and_missing_ones_are_told(
    configuration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "programs" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'NVIDIA H100, 550.54, 81559, 0'\necho 'NVIDIA H100, 550.54, 81559, 2'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    settings = load_run_settings(configuration)
    two, three = (node_facts(settings, ranks=ranks, gpus=True) for ranks in (2, 3))
    wrong = "its GPU 1 has had 2 memory error(s) that could not be corrected; reset or replace it"
    assert two.problems == [wrong]
    assert three.problems == ["it has 2 GPU(s) for 3 rank(s)", wrong]
    assert two.same["GPUs"] == "NVIDIA H100"
    program.write_text("#!/bin/sh\necho 'Unable to determine the device handle: GPU is lost.'\nexit 15\n")
    (problem,) = node_facts(settings, ranks=2, gpus=True).problems
    assert problem == "its nvidia-smi fails: Unable to determine the device handle: GPU is lost."
