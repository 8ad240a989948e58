from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from assets.clean_text.errors import CleanTextError
from assets.clean_text.export import export_documents
from assets.raw_text.documents import DOCUMENTS, DocumentWriter
from training.artifact import Artifact, build_artifact

Make = Callable[..., Artifact]
TEXTS = ["The harbour was not awake yet.", "清晨的码头还没有醒来，\n渔船一只挨着一只。", 'A "quoted"\ttab \u2028 line']
METADATA = [{}, {"date": "2026-01-02", "url": "https://a.org/船"}, {"language": "en_US", "n": [1, None]}]


def rows(texts: list[str], dump: str) -> pa.Table:
    return pa.table(
        {
            "doc_id": [f"{number:032x}" for number in range(len(texts))],
            "text": pa.array(texts, pa.string()),
            "source": ["来源"] * len(texts),
            "dump": [dump] * len(texts),
            "path": ["a.txt"] * len(texts),
            "byte_start": list(range(len(texts))),
            "byte_end": list(range(1, len(texts) + 1)),
            "licence": ["CC0"] * len(texts),
            "language": ["zh"] * len(texts),
            "metadata": [json.dumps(METADATA[number % 3], ensure_ascii=False) for number in range(len(texts))],
        },
        schema=DOCUMENTS,
    )


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """An artifact with these texts; written in other pieces, it has the same name and digest of its rows."""

    def build(
        texts: list[str] = TEXTS, *, dump: str = "tales", row_group_bytes: int = 1 << 20, key: str = ""
    ) -> Artifact:
        def produce(folder: Path) -> dict[str, int]:
            with DocumentWriter(folder, row_group_bytes=row_group_bytes, file_bytes=row_group_bytes) as writer:
                writer.write(rows(texts, dump))
            return {"documents": len(texts)}

        return build_artifact(
            tmp_path / "outputs", kind="clean_text", inputs={"texts": texts, "key": key}, settings={"dump": dump},
            code_version="1", produce=produce,
        )  # fmt: skip

    return build


@pytest.fixture
def memory() -> Iterator[str]:
    """A folder in fsspec's file system in memory."""
    yield "memory://bucket/export"
    fsspec.filesystem("memory").store.clear()


def lines(path: Path) -> list[dict[str, Any]]:
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    else:
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    assert data.endswith(b"\n")
    return [json.loads(line) for line in data.decode().split("\n")[:-1]]


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.mark.parametrize("format", ["jsonl.gz", "jsonl.zst"])
def test_our_own_layout_as_jsonl(make: Make, tmp_path: Path, format: Any) -> None:
    export = export_documents({"tales": make()}, str(tmp_path / "out"), layout="corpusline", format=format)
    found = lines(tmp_path / "out" / "documents" / "tales" / f"documents-00000.{format}")
    assert found == [
        row | {"metadata": metadata} for row, metadata in zip(rows(TEXTS, "tales").to_pylist(), METADATA, strict=True)
    ]
    assert (export.documents, len(export.files), export.reused) == (3, 1, False)


def test_our_own_layout_as_parquet(make: Make, tmp_path: Path) -> None:
    export_documents({"tales": make()}, str(tmp_path / "out"), layout="corpusline", format="parquet")
    assert pq.read_table(tmp_path / "out/documents/tales/documents-00000.parquet").equals(rows(TEXTS, "tales"))


def test_dolmas_layout(make: Make, tmp_path: Path) -> None:
    export_documents({"tales": make()}, str(tmp_path / "out"), layout="dolma", format="jsonl.gz")
    first, second, third = lines(tmp_path / "out/documents/tales/00000.jsonl.gz")
    own = {"source": "来源", "dump": "tales", "path": "a.txt", "language": "zh", "license": "CC0"}
    assert first == {
        "id": "0" * 32,
        "text": TEXTS[0],
        "source": "来源",
        "metadata": own | {"byte_start": 0, "byte_end": 1},
    }
    assert second["created"] == "2026-01-02" and second["metadata"]["url"] == "https://a.org/船"
    assert third["metadata"]["language"] == "en_US"
    with pytest.raises(CleanTextError, match=r"dolma reads jsonl alone; choose the format jsonl\.gz"):
        export_documents({"tales": make()}, str(tmp_path / "other"), layout="dolma", format="parquet")


def read_with_datatrove(reader: str, folder: Path) -> list[tuple[str, str, dict[str, Any]]]:
    readers = pytest.importorskip("datatrove.pipeline.readers")
    if reader == "JsonlReader":
        pytest.importorskip("orjson")
    documents = getattr(readers, reader)(str(folder)).run()
    return [(document.id, document.text, document.metadata) for document in documents]


@pytest.mark.parametrize(
    ("reader", "format"),
    [("ParquetReader", "parquet"), ("JsonlReader", "jsonl.gz"), ("JsonlReader", "jsonl.zst")],
)
def test_datatrove_reads_its_layout(make: Make, tmp_path: Path, reader: str, format: Any) -> None:
    texts = [f"{text} {number}" for number in range(40) for text in TEXTS]
    export_documents(
        {"tales": make(texts)},
        str(tmp_path / "out"),
        layout="datatrove",
        format=format,
        group_bytes=2000,
        file_bytes=8000,
    )
    found = read_with_datatrove(reader, tmp_path / "out" / "documents")
    assert [(identity, text) for identity, text, _ in found] == [
        (f"{number:032x}", text) for number, text in enumerate(texts)
    ]
    metadata = found[1][2]
    assert {name: metadata[name] for name in ("date", "url", "source", "dump", "license", "byte_end")} == {
        "date": "2026-01-02",
        "url": "https://a.org/船",
        "source": "来源",
        "dump": "tales",
        "license": "CC0",
        "byte_end": 2,
    }


@pytest.mark.parametrize("format", ["jsonl.gz", "jsonl.zst", "parquet"])
def test_bytes_do_not_depend_on_how_the_rows_are_divided(make: Make, tmp_path: Path, format: Any) -> None:
    texts = [f"{text} {number}" for number in range(60) for text in TEXTS]
    trees = []
    for row_group_bytes in (700, 1 << 20):
        out = tmp_path / str(row_group_bytes)
        artifact = make(texts, row_group_bytes=row_group_bytes, key=str(row_group_bytes))
        export_documents(
            {"tales": artifact}, str(out), layout="datatrove", format=format, group_bytes=3000, file_bytes=9000
        )
        trees.append({name: data for name, data in tree(out).items() if name != "manifest.json"})
    assert trees[0] == trees[1] and len(trees[0]) > 2


def test_the_manifest_names_every_file_and_the_same_export_does_nothing(make: Make, tmp_path: Path) -> None:
    artifacts = {"tales": make(), "书": make(TEXTS[:1], dump="书")}
    out = tmp_path / "out"
    first = export_documents(artifacts, str(out), layout="dolma", format="jsonl.zst")
    before = tree(out)
    assert set(before) == {"manifest.json", "documents/tales/00000.jsonl.zst", "documents/书/00000.jsonl.zst"}
    assert [file.size for file in first.files] == [len(before[file.path]) for file in first.files]
    again = export_documents(artifacts, str(out), layout="dolma", format="jsonl.zst")
    assert again.reused and again.files == first.files and tree(out) == before
    with pytest.raises(CleanTextError, match="holds an export of other documents or settings"):
        export_documents(artifacts, str(out), layout="datatrove", format="jsonl.zst")
    (out / "documents/tales/00000.jsonl.zst").write_bytes(b"")
    with pytest.raises(CleanTextError, match=r"documents/tales/00000\.jsonl\.zst is missing or has another size"):
        export_documents(artifacts, str(out), layout="dolma", format="jsonl.zst")


def test_an_interrupted_export_is_begun_anew(make: Make, tmp_path: Path) -> None:
    out = tmp_path / "out"
    good = make()
    damaged = make(TEXTS[:2], dump="later")
    (path,) = damaged.folder.glob("documents-*.parquet")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CleanTextError, match="the documents cannot be read"):
        export_documents({"tales": good, "later": damaged}, str(out), layout="dolma", format="jsonl.gz")
    assert set(tree(out)) == {"unfinished.json", "documents/tales/00000.jsonl.gz"}
    export_documents({"other": good}, str(out), layout="dolma", format="jsonl.gz")
    assert set(tree(out)) == {"manifest.json", "documents/other/00000.jsonl.gz"}


def test_a_folder_with_other_files_is_refused(make: Make, tmp_path: Path) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "mine.txt").write_text("mine")
    with pytest.raises(CleanTextError, match="holds files that are no export of Corpusline; name an empty"):
        export_documents({"tales": make()}, str(tmp_path), layout="dolma", format="jsonl.gz")
    assert (tmp_path / "documents" / "mine.txt").read_text() == "mine"


def test_a_dump_without_documents(make: Make, tmp_path: Path) -> None:
    export = export_documents({"tales": make([])}, str(tmp_path / "out"), layout="datatrove", format="parquet")
    assert export.documents == 0 and pq.read_table(tmp_path / "out/documents/tales/00000.parquet").num_rows == 0


@pytest.mark.parametrize("format", ["jsonl.gz", "parquet"])
def test_object_storage(make: Make, tmp_path: Path, memory: str, format: Any) -> None:
    export_documents({"tales": make()}, memory, layout="datatrove", format=format)
    export_documents({"tales": make()}, (tmp_path / "out").as_uri(), layout="datatrove", format=format)
    store = fsspec.filesystem("memory")
    found = {path.removeprefix("/bucket/export/"): store.cat_file(path) for path in store.find("/bucket/export")}
    assert found == tree(tmp_path / "out")
    assert export_documents({"tales": make()}, memory, layout="datatrove", format=format).reused


def test_addresses_that_cannot_be_written_to(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CleanTextError, match="nowhere://x is no address that can be written to"):
        export_documents({"tales": make()}, "nowhere://x", layout="datatrove", format="jsonl.gz")
    with pytest.raises(CleanTextError, match="file/below cannot be written"):
        export_documents({"tales": make()}, str(tmp_path / "file" / "below"), layout="datatrove", format="jsonl.gz")
