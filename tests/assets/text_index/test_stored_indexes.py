from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.home import outputs_folder
from assets.partitions import dumps
from assets.text_index import stored
from assets.text_index.asset import text_index
from assets.text_index.errors import TextIndexError
from assets.text_index.search import count
from assets.text_index.settings import TextIndexSettings
from assets.text_index.stored import build_stored_index, open_stored_index
from pipelines.definitions import defs
from tests.assets.text_index.indexed_texts import write_shards
from tests.assets.vocabulary.documents import CHINESE, ENGLISH
from training.artifact import Artifact, build_artifact, verify
from training.shards import open_shards

BUILD_SLOWLY = Path(__file__).with_name("build_slowly.py")
TEXTS = [*ENGLISH, *CHINESE]


def folders(dump: str = "tales") -> list[Path]:
    return [path for path in outputs_folder("text_index", dump).glob("*") if not path.name.startswith(".")]


def test_an_index_is_built_once_and_found_again(tmp_path: Path, byte_bpe: Path) -> None:
    write_shards(tmp_path / "shards", TEXTS, byte_bpe)
    shards = open_shards(tmp_path / "shards")
    index = open_stored_index(shards, byte_bpe)
    assert count([index], "守夜人").occurrences == 2
    assert open_stored_index(shards, byte_bpe).folder == index.folder
    assert folders() == [index.folder]
    verify(index.folder)


def test_one_of_other_settings_is_as_good(tmp_path: Path, byte_bpe: Path) -> None:
    write_shards(tmp_path / "shards", TEXTS, byte_bpe)
    made = build_stored_index(tmp_path / "shards", byte_bpe, settings=TextIndexSettings(part_bytes=100))
    assert open_stored_index(open_shards(tmp_path / "shards"), byte_bpe).folder == made.folder
    again = build_stored_index(tmp_path / "shards", byte_bpe, settings=TextIndexSettings(part_bytes=100, workers=2))
    assert again.reused
    assert again.folder == made.folder


def test_changed_shards_have_an_index_of_their_own(tmp_path: Path, byte_bpe: Path) -> None:
    write_shards(tmp_path / "old", TEXTS, byte_bpe)
    write_shards(tmp_path / "new", [*TEXTS, "a word more"], byte_bpe)
    old, new = (open_stored_index(open_shards(tmp_path / name), byte_bpe) for name in ("old", "new"))
    assert (count([old], "a word more").occurrences, count([new], "a word more").occurrences) == (0, 1)
    assert len(folders()) == 2


def test_the_same_shards_elsewhere_have_the_same_index(tmp_path: Path, byte_bpe: Path) -> None:
    for name in ("here", "there"):
        write_shards(tmp_path / name, TEXTS, byte_bpe)
    here, there = (open_stored_index(open_shards(tmp_path / name), byte_bpe) for name in ("here", "there"))
    assert here.folder == there.folder


def test_a_damaged_one_is_refused_not_rebuilt_in_silence(tmp_path: Path, byte_bpe: Path) -> None:
    write_shards(tmp_path / "shards", TEXTS, byte_bpe)
    shards = open_shards(tmp_path / "shards")
    folder = open_stored_index(shards, byte_bpe).folder
    (folder / "text-00000.bin").unlink()
    with pytest.raises(TextIndexError, match=r"text-00000.bin is missing; remove the folder"):
        open_stored_index(shards, byte_bpe)


def test_killed_and_run_again_gives_the_same_bytes(
    tmp_path: Path, byte_bpe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shards(tmp_path / "shards", TEXTS * 200, byte_bpe)
    arguments = [sys.executable, str(BUILD_SLOWLY), str(tmp_path / "shards"), str(byte_bpe), "1000"]
    with subprocess.Popen(arguments, cwd=Path(__file__).parents[3]) as process:
        while process.poll() is None and not list(outputs_folder("text_index", "tales").glob(".*/text-00003.bin")):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert folders() == []
    settings = TextIndexSettings(part_bytes=1000, workers=1)
    again = build_stored_index(tmp_path / "shards", byte_bpe, settings=settings)
    assert [path.name for path in outputs_folder("text_index", "tales").iterdir()] == [again.folder.name]
    monkeypatch.setenv("CORPUSLINE_HOME", str(tmp_path / "undisturbed"))
    assert build_stored_index(tmp_path / "shards", byte_bpe, settings=settings).manifest == again.manifest


def materialize(shards: Artifact, vocabulary: Artifact, dump: str, **settings: Any) -> dg.ExecuteInProcessResult:
    instance = dg.DagsterInstance.ephemeral()
    for asset, artifact, partition in (("token_shards", shards, dump), ("vocabulary", vocabulary, None)):
        metadata = {"folder": dg.MetadataValue.path(str(artifact.folder))}
        instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=partition, metadata=metadata))
    config = {"ops": {"text_index": {"config": settings}}}
    return dg.materialize([text_index], instance=instance, partition_key=dump, run_config=config, raise_on_error=False)


def test_the_asset_makes_what_the_command_finds(tmp_path: Path, byte_bpe: Path) -> None:
    dump = dumps.get_partition_keys()[0]

    def write(folder: Path) -> dict[str, int]:
        write_shards(folder / "shards", TEXTS, byte_bpe, dump=dump)
        for path in (folder / "shards").iterdir():
            path.rename(folder / path.name)
        (folder / "shards").rmdir()
        return {}

    def copy(folder: Path) -> dict[str, int]:
        (folder / "tokenizer.json").write_bytes((byte_bpe / "tokenizer.json").read_bytes())
        return {}

    shards, vocabulary = (
        build_artifact(tmp_path / kind, kind=kind, inputs={}, settings={}, code_version="1", produce=produce)
        for kind, produce in (("token_shards", write), ("vocabulary", copy))
    )
    result = materialize(shards, vocabulary, dump, part_bytes=200)
    assert result.success
    (made,) = result.asset_materializations_for_node("text_index")
    assert made.metadata["dagster/partition_row_count"].value == len(TEXTS)
    index = open_stored_index(open_shards(shards.folder), vocabulary.folder)
    assert str(index.folder) == made.metadata["folder"].value
    assert count([index], "港口").occurrences == 2

    (shards.folder / "train-00000.bin").unlink()
    assert not materialize(shards, vocabulary, dump).success


def test_no_job_includes_it() -> None:
    for job in ("raw_to_model", "text_stages"):
        keys = {key.to_user_string() for key in defs.resolve_job_def(job).asset_layer.selected_asset_keys}
        assert "token_shards" in keys
        assert stored.KIND not in keys
