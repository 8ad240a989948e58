from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import filtered_worlds as worlds
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.clean_text.errors import CleanTextError
from assets.clean_text.filtering import filter_documents
from assets.clean_text.parts import is_whole, part_name, parts_identity, read_part, remove_parts
from assets.clean_text.row_groups import content_digest, row_groups
from assets.clean_text.settings import FilterSettings

RUN = """
import sys
from pathlib import Path
from assets.clean_text.filtering import filter_documents
from assets.clean_text.settings import FilterSettings

if __name__ == "__main__":
    raw, out, parts, settings, workers = sys.argv[1:]
    Path(out).mkdir()
    filter_documents(
        Path(raw),
        Path(out),
        dump="dump",
        settings=FilterSettings.model_validate_json(settings),
        workers=int(workers),
        parts=Path(parts),
        code_version="1",
    )
"""
GROUPS = 40
WORLD = [*worlds.large_world(GROUPS * 8 - 16), *(("zh", text) for text in worlds.CHINESE * 4)]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return worlds.write_world(tmp_path_factory.mktemp("raw") / "raw", WORLD, rows_per_group=8)


@pytest.fixture(scope="module")
def uninterrupted(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Hashes of the files that a run without any accident writes."""
    out = tmp_path_factory.mktemp("uninterrupted") / "out"
    out.mkdir()
    filter_documents(raw, out, dump="dump", settings=worlds.SETTINGS, workers=1)
    return worlds.file_hashes(out)


@pytest.fixture
def begin(raw: Path, tmp_path: Path) -> Callable[..., subprocess.Popen[bytes]]:
    """Begins a run in a process of its own, its parts in ``parts`` below the test's folder."""

    def run(out: Path, *, workers: int) -> subprocess.Popen[bytes]:
        script = tmp_path / "run.py"
        script.write_text(RUN)
        arguments = [raw, out, tmp_path / "parts", worlds.SETTINGS.model_dump_json(), workers]
        return subprocess.Popen(
            [sys.executable, str(script), *map(str, arguments)], env=os.environ | {"PYTHONPATH": str(Path.cwd())}
        )

    return run


def finished(parts: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of the last change of each finished part's record."""
    states = {}
    for record in parts.glob("[!.]*/part.json"):
        state = record.stat()
        states[record.parent.name] = (state.st_ino, state.st_mtime_ns)
    return states


def wait_for_parts(process: subprocess.Popen[bytes], parts: Path, count: int) -> None:
    while len(finished(parts)) < count:
        assert process.poll() is None, "it ended too early to be killed"
        time.sleep(0.002)


def workers_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children()
    return [child for child in children if any("spawn_main" in word for word in child.cmdline())]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_was_killed_goes_on_where_it_was(
    tmp_path: Path, begin: Callable[..., subprocess.Popen[bytes]], uninterrupted: dict[str, str], workers: int
) -> None:
    parts = tmp_path / "parts"
    first = begin(tmp_path / "first", workers=workers)
    wait_for_parts(first, parts, 5)
    children = workers_of(first)
    first.kill()
    first.wait()
    psutil.wait_procs(children, timeout=30)
    before = finished(parts)
    assert 5 <= len(before) < GROUPS
    # Another number of workers: parts belong to nobody.
    assert begin(tmp_path / "second", workers=3 - workers).wait() == 0
    after = finished(parts)
    assert len(after) == GROUPS
    assert {name: after[name] for name in before} == before
    assert worlds.file_hashes(tmp_path / "second") == uninterrupted
    assert not list(parts.glob(".*"))
    remove_parts(parts)
    assert not parts.exists()


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing(
    tmp_path: Path, begin: Callable[..., subprocess.Popen[bytes]], uninterrupted: dict[str, str]
) -> None:
    parts = tmp_path / "parts"
    process = begin(tmp_path / "out", workers=2)
    wait_for_parts(process, parts, 3)
    workers_of(process)[0].kill()
    assert len(finished(parts)) < GROUPS
    assert process.wait() == 0
    assert len(finished(parts)) == GROUPS
    assert worlds.file_hashes(tmp_path / "out") == uninterrupted


@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty", "missing", "no record", "record is no JSON"])
def test_a_damaged_part_is_made_again(tmp_path: Path, raw: Path, uninterrupted: dict[str, str], damage: str) -> None:
    parts, first, second = (tmp_path / name for name in ("parts", "first", "second"))
    first.mkdir()
    second.mkdir()
    filter_documents(raw, first, dump="dump", settings=worlds.SETTINGS, parts=parts)
    before = finished(parts)
    folder = parts / sorted(before)[3]
    file = folder / ("part.json" if "record" in damage else "documents.arrow")
    content = file.read_bytes()
    flipped = content[:200] + bytes([content[200] ^ 1]) + content[201:]
    damaged = {"truncated": content[:-100], "one bit": flipped, "empty": b"", "record is no JSON": content[:-1]}
    if damage in damaged:
        file.write_bytes(damaged[damage])
    else:
        file.unlink()
    assert not is_whole(folder)
    with pytest.raises(CleanTextError, match=r"is no whole part .*run the stage again"):
        read_part(folder)
    filter_documents(raw, second, dump="dump", settings=worlds.SETTINGS, parts=parts)
    after = finished(parts)
    assert is_whole(folder)
    assert [name for name in after if after[name] != before.get(name)] == [folder.name]
    assert worlds.file_hashes(second) == uninterrupted


def test_parts_that_vanish_while_they_are_merged_are_made_again(
    tmp_path: Path, raw: Path, uninterrupted: dict[str, str]
) -> None:
    """As when another run of the same dump is complete first."""
    out, parts = tmp_path / "out", tmp_path / "parts"
    out.mkdir()

    def remove(done: int, total: int, documents: int) -> None:
        remove_parts(parts)

    filter_documents(raw, out, dump="dump", settings=worlds.SETTINGS, workers=2, parts=parts, progress=remove)
    assert worlds.file_hashes(out) == uninterrupted


def test_other_settings_files_or_code_need_other_parts(tmp_path: Path) -> None:
    rules = tmp_path / "mine.yaml"

    def identity(*, code_version: str = "1", **settings: object) -> str:
        return parts_identity(FilterSettings.parse(settings, origin="a test"), code_version=code_version)

    names = [identity(), identity(code_version="2"), identity(blank_lines=3), identity(masks=[])]
    for minimum in (3, 4):
        rules.write_text(f"name: mine\nrules:\n  - {{name: short, signal: words, at_least: {minimum}}}\n")
        names.append(identity(policy=str(rules)))
    assert len(set(names)) == len(names)
    assert identity(engine="ray") == identity(engine="local")


def test_a_part_is_named_by_content_not_by_place(tmp_path: Path) -> None:
    world = [("en", text) for text in worlds.ENGLISH]
    one = worlds.write_world(tmp_path / "one", world, rows_per_group=2)
    other = worlds.write_world(tmp_path / "other", world, rows_per_group=2, order=[4, 5, 0, 1, 2, 3])
    digests = [[content_digest(group.read()) for group in row_groups(folder)] for folder in (one, other)]
    assert digests[1] == [digests[0][2], digests[0][0], digests[0][1]]
    assert len(set(digests[0])) == 3
    table = row_groups(one)[0].read()
    assert content_digest(pa.Table.from_batches(table.to_batches(max_chunksize=1))) == digests[0][0]
    for column in table.column_names:
        changed = table.set_column(table.schema.get_field_index(column), column, table[column].take([1, 1]))
        if not changed.equals(table):
            assert content_digest(changed) != digests[0][0], column
    assert part_name("identity", digests[0][0]) != part_name("another", digests[0][0])


def test_nothing_is_left_beside_the_output(tmp_path: Path, raw: Path) -> None:
    (tmp_path / "below" / "out").mkdir(parents=True)
    filter_documents(raw, tmp_path / "below" / "out", dump="dump", settings=FilterSettings())
    assert [path.name for path in (tmp_path / "below").iterdir()] == ["out"]


def test_a_file_that_is_damaged_is_named_with_its_row_group(tmp_path: Path) -> None:
    folder = worlds.write_world(tmp_path / "raw", worlds.large_world(40), rows_per_group=10)
    path = folder / "documents-00000.parquet"
    content = bytearray(path.read_bytes())
    column = pq.read_metadata(path).row_group(2).column(1)
    begin = column.data_page_offset + 40
    content[begin : begin + 200] = bytes(200)
    path.write_bytes(content)
    (tmp_path / "out").mkdir()
    with pytest.raises(CleanTextError, match=r"documents-00000.parquet, row group 2 cannot be read .*raw text stage"):
        filter_documents(folder, tmp_path / "out", dump="dump", settings=FilterSettings())
    path.write_bytes(b"no Parquet")
    with pytest.raises(CleanTextError, match=r"documents-00000.parquet cannot be read .*raw text stage"):
        filter_documents(folder, tmp_path / "out", dump="dump", settings=FilterSettings())
