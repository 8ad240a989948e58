from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from assets.language_model.launchers.settings import LaunchSettings
from assets.language_model.launchers.ssh import node_variables, ssh_command


def settings(**ssh: object) -> LaunchSettings:
    values = {"launcher": "ssh", "nodes": 2, "processes": 3, "interface": "eth0", "ssh": {"hostfile": "h", **ssh}}
    return LaunchSettings.parse(values, origin="launch")


def test_nodes_get_the_variables_of_training_and_no_password() -> None:
    here = {
        "NCCL_DEBUG": "WARN",
        "AWS_SECRET_ACCESS_KEY": "秘密",
        "MLFLOW_TRACKING_PASSWORD": "秘密",
        "HOME": "/root",
        "NCCL_TOPO_FILE": "two\nlines",
        "SITE": "north",
    }
    passed = node_variables(here, settings(pass_on=["SITE"]))
    assert passed.keys() == {
        "NCCL_DEBUG",
        "SITE",
        "GLOO_SOCKET_IFNAME",
        "NCCL_SOCKET_IFNAME",
        "OMP_NUM_THREADS",
        "PATH",
    }
    assert passed["NCCL_SOCKET_IFNAME"] == "eth0"
    # A node's shell divides its own cores among its ranks.
    for expression, expected in (
        (passed["OMP_NUM_THREADS"], "2"),
        (node_variables(here | {"OMP_NUM_THREADS": "7"}, settings())["OMP_NUM_THREADS"], "7"),
    ):
        script = f'nproc() {{ echo 4; }}; echo "{expression}"'
        assert (
            subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.strip()
            == expected
        )


def test_values_reach_the_nodes_as_they_are_here() -> None:
    value = 'a "quoted" $HOME `date` C:\\x'
    passed = node_variables({"SITE": value}, settings(pass_on=["SITE"]))["SITE"]
    script = f'export SITE="{passed}"; printf %s "$SITE"'
    assert subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout == value


def test_nodes_are_checked_and_then_trained_on() -> None:
    config, hostfile = Path("/data/我的 run/configuration.json"), Path("/data/hostfile")
    line = ssh_command(config, hostfile, ["me@10.0.0.1", "10.0.0.2"], settings(), {"A": "b"})
    check, train = (shlex.split(part) for part in line.split(" && exec "))
    assert check[check.index("-w") + 1] == "me@10.0.0.1,10.0.0.2"
    on_node = shlex.split(check[-1])
    assert "A=b;" in on_node
    assert "MASTER_ADDR=10.0.0.1;" in on_node
    assert on_node[on_node.index("--config") + 1] == str(config)
    assert on_node[-4:] == ["--processes", "3", "--nodes", "me@10.0.0.1,10.0.0.2"]
    assert train[train.index("--master_addr") + 1] == "10.0.0.1"
    assert {"--force_multi", "--no_ssh_check"} <= set(train)
    assert train[-2:] == ["--config", str(config)]
