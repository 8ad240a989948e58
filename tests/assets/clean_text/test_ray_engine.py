from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import filtered_worlds as worlds
import pytest

from assets.clean_text.errors import CleanTextError
from assets.clean_text.filtering import filter_documents
from assets.clean_text.settings import FilterSettings

WORLD = [
    *worlds.large_world(40),
    *(("zh", text) for text in worlds.CHINESE),
    *(("en", text) for text in worlds.NASTY),
]
WITHOUT_RAY = """
import sys
from pathlib import Path

sys.modules["ray"] = None  # as where it is not installed
from assets.clean_text.errors import CleanTextError
from assets.clean_text.filtering import filter_documents
from assets.clean_text.settings import FilterSettings

raw, local, ray = map(Path, sys.argv[1:])
filter_documents(raw, local, dump="dump", settings=FilterSettings())
try:
    filter_documents(raw, ray, dump="dump", settings=FilterSettings(engine="ray"))
except CleanTextError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_cluster_writes_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    raw = worlds.write_world(tmp_path / "raw", WORLD, rows_per_group=6)
    on_ray = worlds.SETTINGS.model_copy(update={"engine": "ray"})
    outputs = {}
    # The cluster is begun twice: by the caller, who keeps it, and by the stage, which ends it.
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        for name, settings in (("local", worlds.SETTINGS), ("ray", on_ray)):
            (tmp_path / name).mkdir()
            reported: list[tuple[int, int, int]] = []
            filter_documents(
                raw,
                tmp_path / name,
                dump="dump",
                settings=settings,
                parts=tmp_path / f"parts-{name}",
                progress=lambda *numbers: reported.append(numbers),  # noqa: B023
            )
            outputs[name] = worlds.file_hashes(tmp_path / name)
            done, total, documents = reported[-1]
            assert done == total
            assert documents == len(WORLD)
        assert ray.is_initialized()
    finally:
        ray.shutdown()
    assert outputs["ray"] == outputs["local"]
    assert sorted(path.name for path in (tmp_path / "parts-ray").iterdir()) == sorted(
        path.name for path in (tmp_path / "parts-local").iterdir()
    )
    broken = bytearray((raw / "documents-00000.parquet").read_bytes())
    broken[4:400] = bytes(396)
    (raw / "documents-00000.parquet").write_bytes(broken)
    (tmp_path / "broken").mkdir()
    with pytest.raises(CleanTextError, match=r"^/.*documents-00000.parquet, row group 0 cannot be read"):
        filter_documents(raw, tmp_path / "broken", dump="dump", settings=on_ray, workers=2)
    assert not ray.is_initialized()


def test_without_ray_only_the_engine_ray_is_an_error(tmp_path: Path) -> None:
    raw = worlds.write_world(tmp_path / "raw", WORLD[:3])
    for name in ("local", "ray"):
        (tmp_path / name).mkdir()
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_RAY, *(str(tmp_path / name) for name in ("raw", "local", "ray"))],
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "install corpusline[ray], or set the engine to 'local'" in run.stdout
    assert (tmp_path / "local" / "decisions.parquet").is_file()
    assert raw.is_dir()


def test_another_engine_is_refused() -> None:
    with pytest.raises(ValueError, match="engine"):
        FilterSettings.parse({"engine": "spark"}, origin="filtered_text")
