"""Runs that are killed anywhere and begun again write the bytes of one that was left alone."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.token_shards.encoding import encode_dump
from assets.token_shards.parts import is_whole, remove_parts
from assets.token_shards.settings import TokenShardSettings
from tests.assets.vocabulary.documents import CHINESE, ENGLISH, train, write_documents

RUN = """
import sys
from pathlib import Path
from assets.token_shards.encoding import encode_dump
from assets.token_shards.settings import TokenShardSettings

if __name__ == "__main__":
    documents, vocabulary, out, parts, settings = sys.argv[1:]
    Path(out).mkdir()
    encode_dump(
        Path(documents),
        Path(vocabulary),
        dump="dump",
        language="en",
        source="house",
        settings=TokenShardSettings.model_validate_json(settings),
        out=Path(out),
        parts=Path(parts),
    )
"""
GROUPS = 60
SETTINGS = TokenShardSettings(validation_share=0.3, shard_tokens=5_000, workers=1)

Begin = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = random.Random(0)
    texts = [
        " ".join(words.choices(ENGLISH, k=12)) + "".join(words.choices(CHINESE, k=12)) + str(number)
        for number in range(4 * GROUPS)
    ]
    return write_documents(tmp_path_factory.mktemp("clean") / "documents", texts, rows_per_group=4, files=2)


def encode(documents: Path, vocabulary: Path, out: Path, **options: object) -> dict[str, str]:
    """Hashes of the files that a run in this process writes."""
    out.mkdir()
    chosen = SETTINGS.model_copy(update={"workers": options.pop("workers", 1)})
    encode_dump(
        documents,
        vocabulary,
        dump="dump",
        language="en",
        source="house",
        settings=chosen,
        out=out,
        **options,  # type: ignore[arg-type]
    )
    return file_hashes(out)


def file_hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def uninterrupted(documents: Path, vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    hashes = encode(documents, vocabulary, tmp_path_factory.mktemp("uninterrupted") / "out")
    assert len(hashes) > 9
    return hashes


@pytest.fixture
def begin(documents: Path, vocabulary: Path, tmp_path: Path) -> Begin:
    """Begins a run in a process of its own, its parts in ``parts`` below the test's folder."""

    def run(out: Path, *, workers: int, vocabulary: Path = vocabulary) -> subprocess.Popen[bytes]:
        script = tmp_path / "run.py"
        script.write_text(RUN)
        chosen = SETTINGS.model_copy(update={"workers": workers}).model_dump_json()
        arguments = [documents, vocabulary, out, tmp_path / "parts", chosen]
        return subprocess.Popen(
            [sys.executable, str(script), *map(str, arguments)], env=os.environ | {"PYTHONPATH": str(Path.cwd())}
        )

    return run


def finished(parts: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of the last change of each finished part."""
    states = {path.stem: path.stat() for path in parts.glob("[!.]*.sha256")}
    return {name: (state.st_ino, state.st_mtime_ns) for name, state in states.items()}


def kill_after(process: subprocess.Popen[bytes], parts: Path, count: int) -> None:
    """Kill a run with -9, and wait until its workers have ended too."""
    while len(finished(parts)) < count:
        assert process.poll() is None, "it ended too early to be killed"
        time.sleep(0.001)
    children = psutil.Process(process.pid).children()
    process.kill()
    process.wait()
    psutil.wait_procs(children, timeout=30)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_was_killed_goes_on_where_it_was(
    tmp_path: Path, begin: Begin, uninterrupted: dict[str, str], workers: int
) -> None:
    parts = tmp_path / "parts"
    chance = random.Random(workers)
    count = 0
    for number in range(3):
        count = chance.randint(count + 1, count + 12)
        kill_after(begin(tmp_path / f"killed-{number}", workers=workers), parts, count)
        assert not (tmp_path / f"killed-{number}" / "shards.json").exists()
    before = finished(parts)
    assert count <= len(before) < GROUPS
    # Another number of workers: parts belong to nobody.
    assert begin(tmp_path / "last", workers=3 - workers).wait() == 0
    after = finished(parts)
    assert len(after) == GROUPS
    assert {name: after[name] for name in before} == before
    assert file_hashes(tmp_path / "last") == uninterrupted
    remove_parts(parts)
    assert not parts.exists()


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing(tmp_path: Path, documents: Path, begin: Begin) -> None:
    """Of an encoder that needs processes."""
    vocabulary = of_another_pattern(tmp_path)
    process = begin(tmp_path / "out", workers=2, vocabulary=vocabulary)
    while len(finished(tmp_path / "parts")) < 3:
        assert process.poll() is None
        time.sleep(0.001)
    children = psutil.Process(process.pid).children()
    next(child for child in children if any("spawn_main" in word for word in child.cmdline())).kill()
    assert process.wait() == 0
    assert file_hashes(tmp_path / "out") == encode(documents, vocabulary, tmp_path / "alone")


def of_another_pattern(folder: Path) -> Path:
    """A vocabulary that our own encoder leaves to others."""
    train(folder, {"en": ENGLISH, "zh": CHINESE}, size=400, pattern="gpt2")
    return folder / "vocabulary"


def test_any_number_of_workers_writes_the_same_bytes(
    tmp_path: Path, documents: Path, vocabulary: Path, uninterrupted: dict[str, str]
) -> None:
    assert encode(documents, vocabulary, tmp_path / "two", workers=2) == uninterrupted
    assert encode(documents, vocabulary, tmp_path / "five", workers=5) == uninterrupted
    assert sorted(path.name for path in tmp_path.iterdir()) == ["five", "two"]


def test_an_encoder_that_needs_processes_writes_the_same_bytes(tmp_path: Path, documents: Path) -> None:
    vocabulary = of_another_pattern(tmp_path)
    alone = encode(documents, vocabulary, tmp_path / "one")
    assert encode(documents, vocabulary, tmp_path / "two", workers=2) == alone


@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty", "missing", "no hash"])
def test_a_damaged_part_is_made_again(
    tmp_path: Path, documents: Path, vocabulary: Path, uninterrupted: dict[str, str], damage: str
) -> None:
    parts = tmp_path / "parts"
    encode(documents, vocabulary, tmp_path / "first", parts=parts)
    before = finished(parts)
    file = parts / f"{sorted(before)[3]}.arrow"
    content = file.read_bytes()
    flipped = content[:200] + bytes([content[200] ^ 1]) + content[201:]
    if damage in (damaged := {"truncated": content[:-100], "one bit": flipped, "empty": b""}):
        file.write_bytes(damaged[damage])
    else:
        (file if damage == "missing" else file.with_suffix(".sha256")).unlink()
    assert not is_whole(file)
    assert encode(documents, vocabulary, tmp_path / "second", parts=parts) == uninterrupted
    after = finished(parts)
    assert is_whole(file)
    assert [name for name in after if after[name] != before.get(name)] == [file.stem]


def test_parts_that_vanish_while_they_are_joined_are_made_again(
    tmp_path: Path, documents: Path, vocabulary: Path, uninterrupted: dict[str, str]
) -> None:
    """As when another run of the same dump is complete first."""
    parts = tmp_path / "parts"

    def remove(done: int, total: int, documents: int) -> None:
        remove_parts(parts)

    assert encode(documents, vocabulary, tmp_path / "out", parts=parts, workers=2, progress=remove) == uninterrupted


def test_other_documents_and_settings_need_other_parts(tmp_path: Path, documents: Path, vocabulary: Path) -> None:
    parts = tmp_path / "parts"
    encode(documents, vocabulary, tmp_path / "first", parts=parts)
    whole = finished(parts)
    assert len(whole) == GROUPS
    other = tmp_path / "other"
    write_documents(other, ["one", "two", "three", "four", "five"], rows_per_group=4)
    encode(other, vocabulary, tmp_path / "second", parts=parts)
    assert len(finished(parts)) == GROUPS + 2
    changed = (SETTINGS.model_copy(update={"seed": 1}), SETTINGS.model_copy(update={"validation_share": 0.2}))
    for number, settings in enumerate(changed):
        out = tmp_path / f"changed-{number}"
        out.mkdir()
        encode_dump(documents, vocabulary, dump="d", language="en", source="s", settings=settings, out=out, parts=parts)
        assert len(finished(parts)) == GROUPS + 2 + (number + 1) * GROUPS
    assert {name: state for name, state in finished(parts).items() if name in whole} == whole


def test_a_text_cut_elsewhere_is_another_content(tmp_path: Path, vocabulary: Path) -> None:
    """The ends of texts count: "ab", "c" is not "a", "bc"."""
    parts = tmp_path / "parts"
    digits = [str(number) * 32 for number in range(4)]
    for count, texts in enumerate((["evening", " ship", "3", "4"], ["evening ", "ship", "3", "4"]), 1):
        documents = write_documents(tmp_path / str(count), texts, rows_per_group=4)
        signed = pq.read_table(documents / "signatures.parquet")
        pq.write_table(signed.set_column(1, "signature", pa.array(digits)), documents / "signatures.parquet")
        encode(documents, vocabulary, tmp_path / f"out-{count}", parts=parts)
        assert len(finished(parts)) == count
