from __future__ import annotations

from typing import Any

import pytest

from assets.language_model.launchers.settings import LaunchSettings, time_limit_seconds
from training.settings import SettingsError


@pytest.mark.parametrize(
    ("time", "seconds"),
    [("5", 300), ("5:30", 330), ("1:00:00", 3600), ("2-0", 172800), ("1-2:30", 95400), ("1-00:00:01", 86401)],
)
def test_slurms_ways_to_write_a_time_limit(time: str, seconds: int) -> None:
    def parse(before: int) -> LaunchSettings:
        return LaunchSettings.parse({"slurm": {"time": time, "before_limit_seconds": before}}, origin="launch")

    if seconds <= 65535:
        parse(seconds - 1)
        with pytest.raises(SettingsError, match="is no longer than"):
            parse(seconds)
    assert time_limit_seconds(time) == seconds


def test_ranks_are_those_of_all_nodes() -> None:
    launch = LaunchSettings.parse({"launcher": "slurm", "nodes": 3, "processes": 8}, origin="launch")
    assert (launch.ranks, launch.fewest, launch.most) == (24, 3, 3)
    assert LaunchSettings().ranks == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nodes": 2}, "'nodes' = 2, but 'launcher' = 'local' is one machine"),
        ({"launcher": "ssh"}, "'ssh.hostfile' is missing, which 'launcher' = 'ssh' needs"),
        ({"launcher": "kubernetes"}, "'kubernetes.image' is missing"),
        ({"launcher": "torchrun", "nodes": 2}, "'torchrun.endpoint' is missing"),
        ({"launcher": "torchrun", "torchrun": {"endpoint": "host"}}, "'torchrun.endpoint' = 'host'"),
        ({"launcher": "slurm", "slurm": {"time": "a day"}}, "'slurm.time' = 'a day'"),
        ({"launcher": "slurm", "slurm": {"time": "3"}}, "'time' = 3 is no longer than 'before_limit_seconds' = 180"),
        ({"launcher": "slurm", "slurm": {"time": "2:59"}}, "the job would be queued again as soon as it starts"),
        ({"launcher": "slurm", "nodes": 4, "min_nodes": 2}, "'min_nodes' and 'max_nodes' are for the launchers ssh"),
        ({"launcher": "slurm", "nodes": 4, "min_nodes": 5}, "'nodes' = 4 is not between 'min_nodes' = 5"),
        ({"launcher": "torchrun", "port": 29500}, "'port' = 29500 is for the launchers local, ssh and slurm"),
        (
            {"launcher": "kubernetes", "kubernetes": {"image": "registry/corpusline"}, "port": 29500},
            "kubernetes has ports of its own: leave 'port' out",
        ),
        ({"launcher": "salloc"}, "'launcher' = 'salloc'"),
        ({"interface": "eth0; reboot"}, "'interface' = 'eth0; reboot'"),
        ({"slurm": {"partitoin": "gpu"}}, "unknown key 'slurm.partitoin', did you mean 'partition'?"),
    ],
)
def test_what_does_not_fit_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as error:
        LaunchSettings.parse(values, origin="launch")
    assert message in str(error.value)
