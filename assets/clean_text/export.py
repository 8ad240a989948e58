"""Clean documents for other tools: copied to a folder or object storage in the layout that a tool reads.

Below the target lie ``documents/<dump>/<number>.<format>`` and ``manifest.json``, which is written last. Layouts:

- ``corpusline``: the columns of the documents; in jsonl ``metadata`` is an object
- ``datatrove``: ``text``, ``id``, ``metadata`` (an object in jsonl, a JSON string in Parquet; its readers take both)
- ``dolma``: ``id``, ``text``, ``source``, ``created`` (where the document has a date), ``metadata``; jsonl alone

For the two peers, ``metadata`` also holds source, dump, path, byte_start, byte_end, license and language, unless the
document's own metadata has a key of that name.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import chain, islice
from typing import IO, Any, BinaryIO, Literal, cast

import fsspec.core
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

from assets.clean_text.errors import CleanTextError
from assets.clean_text.tables import document_files
from training.artifact import Artifact

Layout = Literal["corpusline", "datatrove", "dolma"]
Format = Literal["jsonl.zst", "jsonl.gz", "parquet"]

MANIFEST = "manifest.json"
DOCUMENTS_FOLDER = "documents"
CODE_VERSION = "1"
GROUP_BYTES = 16 << 20
FILE_BYTES = 256 << 20

# Written first and removed last: tells an interrupted export, which may be removed, from somebody's own folder.
_UNFINISHED = "unfinished.json"
_PARTIAL = ".partial"
_ROW_OVERHEAD = 128
_READ_ROWS = 1 << 12
_PEER_COLUMNS = ("source", "dump", "path", "byte_start", "byte_end", "language")
_ZSTANDARD_LEVEL = 3
_GZIP_LEVEL = 6


@dataclass(frozen=True)
class ExportedFile:
    """One file: ``path`` below the target, ``size`` in bytes, ``sha256`` in hex, and its number of documents."""

    path: str
    size: int
    sha256: str
    documents: int


@dataclass(frozen=True)
class Export:
    """What was written. ``reused`` says that it was there already and nothing was done."""

    files: tuple[ExportedFile, ...]
    reused: bool = False

    @property
    def documents(self) -> int:
        """Documents in all files."""
        return sum(file.documents for file in self.files)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def export_documents(
    artifacts: Mapping[str, Artifact],
    out: str,
    *,
    layout: Layout,
    format: Format,
    group_bytes: int = GROUP_BYTES,
    file_bytes: int = FILE_BYTES,
) -> Export:
    """Write the documents of these artifacts, one folder a dump, in their order.

    The bytes depend on the documents and the settings alone. Each file is written under a temporary name and renamed;
    memory holds one group. The same export again does nothing; an interrupted one is begun anew.

    Args:
        artifacts: Folders with ``documents-*.parquet``, by dump.
        out: A path, or any address that fsspec opens (``s3://`` and the like need their packages).
        layout: Who shall read it.
        format: How the files are written.
        group_bytes: Text after which a group ends: a row group, or what is held in memory.
        file_bytes: Text after which a file ends.

    Raises:
        CleanTextError: If the layout has no such format, the target holds something else, cannot be reached, or lacks
            a file that its manifest names.
    """
    if layout == "dolma" and format == "parquet":
        raise CleanTextError("dolma reads jsonl alone; choose the format jsonl.gz or jsonl.zst")
    identity = {
        "layout": layout,
        "format": format,
        "code_version": CODE_VERSION,
        "group_bytes": group_bytes,
        "file_bytes": file_bytes,
        "inputs": {dump: artifact.manifest.digest for dump, artifact in artifacts.items()},
    }
    with _storage_errors(out):
        target = _Target(out)
        finished = target.begin(identity)
        if finished is not None:
            return finished
        files: list[ExportedFile] = []
        for dump, artifact in artifacts.items():
            groups = _groups(artifact, group_bytes)
            per_file = max(1, file_bytes // group_bytes)
            name = "documents-{:05d}" if layout == "corpusline" else "{:05d}"
            for number, first in enumerate(groups):
                path = f"{DOCUMENTS_FOLDER}/{dump}/{name.format(number)}.{format}"
                rows = 0
                with target.create(path) as file, _writer(file, layout, format, first.schema) as write:
                    for group in chain([first], islice(groups, per_file - 1)):
                        write(group)
                        rows += group.num_rows
                files.append(ExportedFile(path, file.size, file.sha256.hexdigest(), rows))
        target.finish(identity, files)
    return Export(tuple(files))


def _groups(artifact: Artifact, group_bytes: int) -> Iterator[pa.Table]:
    """The documents in groups, each of which ends with the first row that reaches the size; one without rows if none.

    Where they end depends on the rows alone, not on how the files are divided.
    """
    waiting: list[pa.Table] = []
    waiting_bytes = 0
    yielded = False
    for path in document_files(artifact.folder):
        with pq.ParquetFile(path, pre_buffer=False) as file:
            waiting.append(file.schema_arrow.empty_table().replace_schema_metadata())
            for batch in file.iter_batches(_READ_ROWS, use_threads=False):
                table = pa.Table.from_batches([batch]).replace_schema_metadata()
                ends = np.cumsum(pc.binary_length(table["text"]).to_numpy().astype(np.int64) + _ROW_OVERHEAD)
                start = used = 0
                while start < table.num_rows:
                    last = int(np.searchsorted(ends, used + group_bytes - waiting_bytes))
                    stop = min(last + 1, table.num_rows)
                    waiting.append(table.slice(start, stop - start))
                    waiting_bytes += int(ends[stop - 1]) - used
                    used, start = int(ends[stop - 1]), stop
                    if waiting_bytes >= group_bytes:
                        yield pa.concat_tables(waiting).combine_chunks()
                        yielded = True
                        waiting, waiting_bytes = [table.slice(0, 0)], 0
    rest = pa.concat_tables(waiting).combine_chunks()
    if rest.num_rows or not yielded:
        yield rest


class _CountedFile(io.RawIOBase):
    """Passes on what is written, and counts and hashes it."""

    def __init__(self, stream: BinaryIO) -> None:
        self.size = 0
        self.sha256 = hashlib.sha256()
        self._stream = stream

    def writable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Bytes written."""
        return self.size

    def write(self, data: Any) -> int:
        """Write all of the data."""
        view = memoryview(data).cast("B")
        self._stream.write(view)
        self.sha256.update(view)
        self.size += len(view)
        return len(view)


class _Target:
    """The place of an export: a folder of any file system that fsspec opens."""

    def __init__(self, address: str) -> None:
        try:
            self._filesystem, root = fsspec.core.url_to_fs(address)
        except ValueError as error:
            raise CleanTextError(f"{address} is no address that can be written to: {error}") from None
        self._address = address
        self._root = root.rstrip("/")

    def begin(self, identity: Mapping[str, Any]) -> Export | None:
        """The export itself if it is complete; else an empty place for it."""
        self._filesystem.invalidate_cache()
        if self._filesystem.exists(self._path(MANIFEST)):
            return self._finished(identity)
        if self._filesystem.exists(self._path(_UNFINISHED)):
            with suppress(FileNotFoundError):
                self._filesystem.rm(self._path(DOCUMENTS_FOLDER), recursive=True)
        elif self._filesystem.exists(self._root) and self._filesystem.find(self._root):
            raise CleanTextError(
                f"{self._address} holds files that are no export of Corpusline; name an empty or new folder"
            )
        self._write_json(_UNFINISHED, identity)
        return None

    @contextmanager
    def create(self, path: str) -> Iterator[_CountedFile]:
        """A file that has its name once it is complete."""
        final = self._path(path)
        self._filesystem.makedirs(final.rpartition("/")[0], exist_ok=True)
        with self._filesystem.open(final + _PARTIAL, "wb") as stream:
            file = _CountedFile(stream)
            yield file
        self._filesystem.mv(final + _PARTIAL, final)

    def finish(self, identity: Mapping[str, Any], files: list[ExportedFile]) -> None:
        """Write the manifest."""
        self._write_json(MANIFEST, {**identity, "files": [asdict(file) for file in files]})
        self._filesystem.rm(self._path(_UNFINISHED))

    def _finished(self, identity: Mapping[str, Any]) -> Export:
        out = self._address
        try:
            with self._filesystem.open(self._path(MANIFEST), "rb") as stream:
                manifest = json.load(stream)
            files = tuple(ExportedFile(**file) for file in manifest.pop("files"))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise CleanTextError(f"{out} holds a {MANIFEST} that is no export's; name an empty or new folder") from None
        if manifest != identity:
            raise CleanTextError(f"{out} holds an export of other documents or settings; name another folder")
        for file in files:
            if not self._filesystem.exists(self._path(file.path)) or (
                self._filesystem.size(self._path(file.path)) != file.size
            ):
                raise CleanTextError(
                    f"{out}: {file.path} is missing or has another size; remove {out} and export again"
                )
        return Export(files, reused=True)

    def _write_json(self, name: str, value: Mapping[str, Any]) -> None:
        text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
        with self.create(name) as file:
            file.write(text.encode())

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}"


@contextmanager
def _writer(
    file: _CountedFile, layout: Layout, format: Format, schema: pa.Schema
) -> Iterator[Callable[[pa.Table], None]]:
    if format == "parquet":
        convert = _PARQUET[layout]
        with pq.ParquetWriter(cast(Any, file), convert(schema.empty_table()).schema, compression="zstd") as parquet:
            yield lambda table: parquet.write_table(convert(table), row_group_size=max(1, table.num_rows))
        return
    record = _RECORD[layout]
    with _compressed(file, format) as stream:

        def write(table: pa.Table) -> None:
            for batch in table.to_batches(_READ_ROWS):
                for row in batch.to_pylist():
                    line = json.dumps(record(row), ensure_ascii=False, separators=(",", ":"))
                    stream.write(line.encode() + b"\n")

        yield write


def _compressed(file: _CountedFile, format: Format) -> BinaryIO:
    if format == "jsonl.gz":
        # Neither name nor time: the bytes depend on the documents alone.
        packed: Any = gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=_GZIP_LEVEL, mtime=0)
    else:
        packed = zstandard.ZstdCompressor(_ZSTANDARD_LEVEL, write_checksum=True).stream_writer(
            cast("IO[bytes]", file), closefd=False
        )
    return cast(BinaryIO, packed)


def _corpusline_record(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"metadata": json.loads(row["metadata"])}


def _datatrove_record(row: dict[str, Any]) -> dict[str, Any]:
    return {"text": row["text"], "id": row["doc_id"], "metadata": _peer_metadata(row)}


def _dolma_record(row: dict[str, Any]) -> dict[str, Any]:
    metadata = _peer_metadata(row)
    created = {"created": metadata["date"]} if isinstance(metadata.get("date"), str) else {}
    return {"id": row["doc_id"], "text": row["text"], "source": row["source"], **created, "metadata": metadata}


def _peer_metadata(row: dict[str, Any]) -> dict[str, Any]:
    own = {name: row[name] for name in _PEER_COLUMNS} | {"license": row["licence"]}
    return own | cast("dict[str, Any]", json.loads(row["metadata"]))


def _datatrove_table(table: pa.Table) -> pa.Table:
    rows = table.drop_columns(["text"]).to_pylist()
    metadata = [json.dumps(_peer_metadata(row), ensure_ascii=False, separators=(",", ":")) for row in rows]
    return pa.table({"text": table["text"], "id": table["doc_id"], "metadata": pa.array(metadata, pa.string())})


_RECORD: dict[Layout, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "corpusline": _corpusline_record,
    "datatrove": _datatrove_record,
    "dolma": _dolma_record,
}
_PARQUET: dict[Layout, Callable[[pa.Table], pa.Table]] = {
    "corpusline": lambda table: table,
    "datatrove": _datatrove_table,
}


@contextmanager
def _storage_errors(out: str) -> Iterator[None]:
    try:
        yield
    except CleanTextError:
        raise
    except ImportError as error:
        raise CleanTextError(f"{out} needs another package: {error}") from None
    except pa.ArrowException as error:
        raise CleanTextError(f"the documents cannot be read ({error}); run the stage that writes them again") from None
    except OSError as error:
        raise CleanTextError(f"{out} cannot be written ({type(error).__name__}: {error}); check the address") from None
