from __future__ import annotations

from pathlib import Path

import pytest

from assets.language_model.launchers.hostfile import choose_nodes, read_hostfile
from training.settings import SettingsError


def test_nodes_are_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "hostfile"
    path.write_text("# 机房\n\nworker-1 slots=8\nroot@10.0.0.2   slots=4  # older\n")
    assert read_hostfile(path, processes=4) == ["worker-1", "root@10.0.0.2"]
    with pytest.raises(SettingsError, match=r"line 4: node root@10.0.0.2 has slots=4, and 'processes' = 8"):
        read_hostfile(path, processes=8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("worker-1\n", "line 1: 'worker-1' is no node; write 'name slots=2'"),
        ("a slots=2\na slots=2\n", "line 2: node a stands there twice"),
        ("# none\n", "names no node"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "hostfile"
    path.write_text(text)
    with pytest.raises(SettingsError) as error:
        read_hostfile(path, processes=2)
    assert message in str(error.value)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_hostfile(tmp_path / "none", processes=2)


def test_as_many_nodes_as_the_batch_can_be_divided_among() -> None:
    nodes = ["a", "b", "c", "d"]
    # A batch of three micro-batches.
    fits = {1: True, 2: False, 3: True, 4: False}
    assert choose_nodes(nodes, {}, fewest=1, most=3, fits=fits) == ["a", "b", "c"]
    assert choose_nodes(nodes, {}, fewest=1, most=4, fits=fits) == ["a", "b", "c"]
    # A spare node takes the place of one that is away.
    assert choose_nodes(nodes, {"b": "down"}, fewest=3, most=3, fits=fits) == ["a", "c", "d"]
    assert choose_nodes(nodes, {"b": "down", "a": "down"}, fewest=1, most=3, fits=fits) == ["c"]
    with pytest.raises(
        SettingsError, match=r"2 of 4 nodes of the hostfile answer, and at least 3 .* node b is away: down"
    ):
        choose_nodes(nodes, {"a": "off", "b": "down"}, fewest=3, most=3, fits=fits)
    with pytest.raises(SettingsError, match="the batch cannot be divided among 2 to 2 nodes"):
        choose_nodes(nodes, {"a": "off", "b": "down"}, fewest=2, most=3, fits=fits)
