"""The reader at the end of docs/shard-format.md, compiled: the page is enough to read shards."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training.shards import SPLITS, ShardWriter, open_shards

PAGE = Path(__file__).parents[2] / "docs" / "shard-format.md"
END = 7


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    folder = tmp_path_factory.mktemp("reader")
    (program,) = re.findall(r"^```c\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    (folder / "reader.c").write_text(program)
    warnings = ["-Wall", "-Wextra", "-Werror", "-Wno-format-nonliteral", "-fsanitize=undefined"]
    subprocess.run(
        [compiler, "-std=c99", *warnings, "-o", str(folder / "reader"), str(folder / "reader.c")], check=True
    )
    return folder / "reader"


def read(reader: Path, folder: Path, split: str) -> str:
    return subprocess.run([str(reader), str(folder), split], check=True, capture_output=True, text=True).stdout


Documents = list[tuple[list[int], bool, bool]]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    documents=st.lists(
        st.tuples(
            st.lists(st.integers(0, 1 << 16).filter(lambda token: token != END), min_size=1, max_size=9),
            st.booleans(),
            st.booleans(),
        ),
        max_size=12,
    ),
    wide=st.booleans(),
    shard_tokens=st.integers(1, 40),
)
def test_it_prints_the_documents(
    reader: Path, tmp_path_factory: pytest.TempPathFactory, documents: Documents, wide: bool, shard_tokens: int
) -> None:
    """Of both splits, for both widths of ids, over several files, with and without tokens that are not learned."""
    folder = tmp_path_factory.mktemp("shards")
    size = 70_000 if wide else 1 << 16
    expected = dict.fromkeys(SPLITS, "")
    with ShardWriter(
        folder,
        vocabulary_hash="ab" * 32,
        vocabulary_size=size,
        end_of_document=END,
        language="zh",
        source='书店 "dtype"',
        dump="reviews",
        shard_tokens=shard_tokens,
    ) as writer:
        for number, (drawn, validation, partly) in enumerate(documents):
            split = SPLITS[validation]
            ids = np.asarray(drawn) % size
            ids[ids == END] = 0
            mask = np.arange(ids.size) % 3 > 0 if partly else np.ones(ids.size, dtype=np.bool_)
            names = pa.array([f"{number:032x}"], pa.string())
            writer.add_documents(split, names, ids, np.array([ids.size]), np.array([ids.size]), mask)
            shown = [str(token) if learned else f"[{token}]" for token, learned in zip(ids, mask, strict=True)]
            expected[split] += " ".join([*shown, str(END) if mask[-1] else f"[{END}]"]) + "\n"
    assert {split: read(reader, folder, split) for split in SPLITS} == expected


def test_it_notices_a_truncated_file(reader: Path, tmp_path: Path) -> None:
    with ShardWriter(
        tmp_path, vocabulary_hash="", vocabulary_size=9, end_of_document=END, language="", source="", dump=""
    ) as writer:
        writer.add("train", "a", [1, 2], bytes=2)
    assert read(reader, tmp_path, "train") == "1 2 7\n"
    open_shards(tmp_path).train.verify()
    path = tmp_path / "train-00000.bin"
    path.write_bytes(path.read_bytes()[:-1])
    failed = subprocess.run([str(reader), str(tmp_path), "train"], capture_output=True, text=True)
    assert failed.returncode == 1
    assert failed.stderr == "train-00000.bin: is cut short\n"
