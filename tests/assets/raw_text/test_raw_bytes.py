from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from assets.raw_text.catalogue import Source
from assets.raw_text.errors import RawTextError
from assets.raw_text.fetch import locate
from assets.raw_text.raw_bytes import raw_bytes
from assets.raw_text.reader import read_source

LINES = "First line, plain.\n第二行，中文。\n\nThird, after an empty one.\n".encode()


def tar_of(name: str, content: bytes) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return target.getvalue()


def zip_of(name: str, content: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return target.getvalue()


def source_of(folder: Path, uri: str, **values: Any) -> Source:
    return Source.model_validate({"name": "house", "uri": uri, "language": "zh", "documents": {"by": "line"}} | values)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", LINES),
        ("a.txt.gz", gzip.compress(LINES, mtime=0)),
        ("a.zip", zip_of("texts/a.txt", LINES)),
        ("a.tar.gz", tar_of("texts/a.txt.gz", gzip.compress(LINES, mtime=0))),
    ],
)
@pytest.mark.parametrize("in_folder", [False, True])
def test_documents_are_their_bytes(tmp_path: Path, name: str, content: bytes, in_folder: bool) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / name).write_bytes(content)
    source = source_of(tmp_path, "in" if in_folder else f"in/{name}")
    places = {"folder": tmp_path, "downloads": tmp_path / "downloads"}
    out = tmp_path / "out"
    out.mkdir()
    read_source(source, locate(source, **places), out=out)
    rows = pq.read_table(next(out.glob("documents-*"))).to_pylist()
    assert len(rows) == 3
    for row in rows:
        found = raw_bytes(source, path=row["path"], byte_start=row["byte_start"], byte_end=row["byte_end"], **places)
        assert found.content.decode() == row["text"]
        assert found.file == folder / name


def test_a_source_that_was_changed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(LINES)
    source = source_of(tmp_path, "a.txt")
    places = {"folder": tmp_path, "downloads": tmp_path / "downloads"}
    with pytest.raises(RawTextError, match=r"file a\.txt ends before byte 900"):
        raw_bytes(source, path="a.txt", byte_start=3, byte_end=900, **places)
    with pytest.raises(RawTextError, match=r"file b\.txt is not there any more"):
        raw_bytes(source, path="b.txt", byte_start=0, byte_end=1, **places)
