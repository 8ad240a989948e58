"""A training as a job of a real Slurm, from the Dagster run that submits it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_line import run_configuration
from small_slurm import query, small_slurm
from started_job import start_job, wait_for_path

from tests.training.trainer_runs import wait_for_step
from training.checkpoint import newest_checkpoint
from training.events import read_events
from training.records import read_records

STEPS = 100_000


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "slurm"
    folder.mkdir()
    # Both nodes share the cores of this machine.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with small_slurm(folder) as configuration:
        monkeypatch.setenv("SLURM_CONF", str(configuration))
        yield configuration


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_job_is_submitted_queued_again_on_a_signal_and_cancelled_with_the_run(
    slurm: Path, sources: Path, own_home: Path, tmp_path: Path
) -> None:
    config = run_configuration(
        steps=STEPS,
        checkpoint_every=50,
        validate_every=STEPS,
        parallel={"micro_batch": 2, "compile": False, "zero_stage": 2},
    )
    config["ops"]["language_model"]["config"]["launch"] = {
        "launcher": "slurm",
        "nodes": 2,
        "interface": "lo",
        "slurm": {"poll_seconds": 0.5, "time": "01:00:00", "partition": "main"},
    }
    environment = dict(os.environ)
    process, _ = start_job(tmp_path, config)
    try:
        written = wait_for_path(own_home / "training-runs", "*/slurm-job", process)
        run, job = written.parent, written.read_text()
        wait_for_step(run, 60, process, 400)
        found = json.loads((run / "nodes.json").read_text())
        assert [node["node"] for node in found["nodes"]] == ["n1", "n2"]
        # What Slurm itself sends some time before the limit.
        query(environment, "scancel", "--batch", "--signal=USR1", job)
        log = run / "trainer.log"
        while f"job {job} is queued again and goes on from its checkpoint" not in log.read_text():
            assert process.poll() is None
            time.sleep(0.1)
        first, _ = newest_checkpoint(run)
        assert first is not None
        reached = first[1].step
        assert reached >= 60
        wait_for_step(run, reached + 60, process, 400)
        assert f"resumed from the checkpoint of step {reached}" in log.read_text()
        assert (run / "slurm-job").read_text() == job
        assert not any(event.kind == "restart" for event in read_events(run))

        process.send_signal(signal.SIGINT)
        process.wait(timeout=300)
        assert query(environment, "squeue", "--noheader", "--states=PENDING,RUNNING") == ""
        last, _ = newest_checkpoint(run)
        assert last is not None
        steps = [record["step"] for record in read_records(run / "metrics.jsonl") if "loss" in record]
        assert steps == list(range(1, last[1].step + 1))
        assert f"stopped by a signal after step {last[1].step};" in log.read_text()
        assert query(environment, "pgrep", "-f", str(run / "configuration.json")) == ""
    finally:
        process.kill()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_text_stages_are_arrays_over_the_dumps(slurm: Path, sources: Path, own_home: Path, tmp_path: Path) -> None:
    preset, launch, script = (tmp_path / name for name in ("preset.yaml", "launch.yaml", "text.sh"))
    preset.write_text(json.dumps(run_configuration()))
    launch.write_text(json.dumps({"launcher": "slurm", "slurm": {"partition": "main"}}))
    command = [sys.executable, "-m", "pipelines.command_line"]
    home = subprocess.run([*command, "home"], capture_output=True, text=True, check=True).stdout.strip()
    environment = {**os.environ, "DAGSTER_HOME": home}
    written = subprocess.run(
        [*command, "slurm-text", str(preset), "--launch", str(launch)], capture_output=True, text=True, check=True
    )
    script.write_text(written.stdout)
    submitted = subprocess.run(
        ["bash", str(script)], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert [line.split(": ")[1] for line in submitted.splitlines()[-5:]] == [
        "raw_text,filtered_text",
        "duplicates",
        "clean_text",
        "vocabulary,vocabulary_report",
        "token_shards",
    ]
    deadline = time.monotonic() + 500
    while query(environment, "squeue", "--noheader"):
        assert time.monotonic() < deadline, query(environment, "squeue")
        time.sleep(0.5)
    logs = "".join(path.read_text() for path in tmp_path.glob("corpusline-*.log"))
    made = {path.parent.name for path in (own_home / "outputs" / "token_shards").glob("*/*")}
    assert made == {"tales", "reviews"}, logs[-4000:]
    # Eight jobs: three arrays of two and two single ones.
    assert logs.count("RUN_SUCCESS") == 8
