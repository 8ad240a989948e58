from __future__ import annotations

from typing import Any

import pytest

from assets.language_model.launchers.settings import LaunchSettings
from training.settings import SettingsError


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
