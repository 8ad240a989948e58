from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training import artifact
from training.artifact import ArtifactError, build_artifact, fingerprint, is_complete, open_artifact, verify

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=12,
)


def write_poem(folder: Path) -> dict[str, int]:
    (folder / "part").mkdir()
    (folder / "part" / "诗.txt").write_text("床前明月光", encoding="utf-8")
    (folder / "count.txt").write_text("1")
    return {"lines": 1}


def build(root: Path, produce: Any = write_poem, **changes: Any) -> artifact.Artifact:
    arguments: dict[str, Any] = {
        "kind": "poems",
        "inputs": {"source": "abc"},
        "settings": {"size": 3},
        "code_version": "1",
    }
    return build_artifact(root, **{**arguments, **changes}, produce=produce)


def test_an_artifact_is_built_once_and_then_reused(tmp_path: Path) -> None:
    first = build(tmp_path)

    def refuse(_: Path) -> dict[str, int]:
        raise AssertionError("built again")

    second = build(tmp_path, refuse)
    assert not first.reused
    assert second.reused
    assert second.manifest == first.manifest
    assert first.manifest.counts == {"lines": 1}
    assert [entry.path for entry in first.manifest.files] == ["count.txt", "part/诗.txt"]
    assert first.folder.name == first.manifest.fingerprint
    assert sorted(path.name for path in tmp_path.iterdir()) == [first.folder.name]


@pytest.mark.parametrize(
    "change", [{"kind": "prose"}, {"inputs": {"source": "abd"}}, {"settings": {"size": 4}}, {"code_version": "2"}]
)
def test_any_changed_input_gives_another_folder_and_equal_bytes_an_equal_digest(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    first, second = build(tmp_path), build(tmp_path, **change)
    assert first.folder != second.folder
    assert first.manifest.digest == second.manifest.digest


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> dict[str, int]:
        (folder / "half").write_text("x")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        build(tmp_path, fail)
    assert list(tmp_path.iterdir()) == []


def build_slowly(root: Path, started: Any) -> None:
    def produce(folder: Path) -> dict[str, int]:
        (folder / "half").write_text("x")
        started.set()
        time.sleep(60)
        return {}

    build(root, produce)


def test_a_killed_build_is_not_taken_for_complete_and_is_removed_by_the_next(tmp_path: Path) -> None:
    started = multiprocessing.Event()
    process = multiprocessing.Process(target=build_slowly, args=(tmp_path, started))
    process.start()
    assert started.wait(20)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert [path for path in tmp_path.iterdir() if is_complete(path)] == []
    assert len(list(tmp_path.iterdir())) == 1
    build(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_two_processes_that_build_the_same_artifact_both_get_it(tmp_path: Path) -> None:
    def produce(folder: Path) -> dict[str, int]:
        build(tmp_path)
        return write_poem(folder)

    assert build(tmp_path, produce).manifest == build(tmp_path).manifest


def test_a_missing_or_shortened_file_is_named(tmp_path: Path) -> None:
    folder = build(tmp_path).folder
    (folder / "count.txt").write_text("")
    with pytest.raises(ArtifactError, match=r"count\.txt has 0 bytes instead of 1; remove the folder"):
        open_artifact(folder)
    (folder / "count.txt").unlink()
    with pytest.raises(ArtifactError, match=r"count\.txt is missing"):
        open_artifact(folder)


def test_a_flipped_byte_is_found_by_verify(tmp_path: Path) -> None:
    folder = build(tmp_path).folder
    assert verify(folder).counts == {"lines": 1}
    (folder / "count.txt").write_text("2")
    with pytest.raises(ArtifactError, match=r"count\.txt is damaged"):
        verify(folder)


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    folder = build(tmp_path).folder
    for content in ("{", json.dumps({"format": 99}), json.dumps([])):
        (folder / artifact.MANIFEST).write_text(content)
        with pytest.raises(ArtifactError, match=r"manifest\.json is damaged"):
            open_artifact(folder)
    (folder / artifact.MANIFEST).unlink()
    with pytest.raises(ArtifactError, match="never completed"):
        open_artifact(folder)


@given(json_values)
def test_a_fingerprint_does_not_depend_on_the_order_of_keys(value: Any) -> None:
    def reverse(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: reverse(item[key]) for key in reversed(list(item))}
        return [reverse(part) for part in item] if isinstance(item, list) else item

    assert fingerprint(value) == fingerprint(reverse(value))
    assert len(fingerprint(value)) == 32


@pytest.mark.parametrize("value", [{"a": {1}}, [float("nan")], {"a": float("inf")}, {1: "a"}, object(), b"a"])
def test_a_value_without_a_stable_encoding_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="value"):
        fingerprint(value)


def test_a_fingerprint_is_the_same_on_every_machine() -> None:
    assert fingerprint({"b": 1, "a": ["文", 0.5, None]}) == fingerprint({"a": ["文", 0.5, None], "b": 1})
    assert fingerprint({}) == "44136fa355b3678a1146ad16f7e8649e"
