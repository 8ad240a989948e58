"""Finished parts of a dump that is being filtered, so that a run which was killed does not begin again.

``<parts>/<name>/`` holds what became of one row group: an Arrow IPC file (lz4) a table and ``part.json``, last, with
their hashes. It is written under a temporary name and renamed when complete. The name is a hash of the row group's
content, the settings and the code version; neither the process nor the row group's place has part in it, so that any
number of workers, on any machine that sees the folder, can go on. A part that is damaged counts as not there.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import socket
from pathlib import Path
from typing import Any

import pyarrow as pa

from assets.clean_text.cleaning import CleanedBatch
from assets.clean_text.errors import CleanTextError
from assets.clean_text.named_files import named_files
from assets.clean_text.repeated_text.stored_hashes import TextHashes
from assets.clean_text.settings import FilterSettings
from training.artifact import fingerprint, remove_abandoned

FORMAT = 1
_TABLES = ("documents", "signals", "decisions", "signatures", "minhash", "contamination")
_HASHES = "hashes-"
_RECORD = "part.json"


def parts_identity(settings: FilterSettings, *, code_version: str) -> str:
    """Hash of all that a part depends on beside its documents.

    Args:
        settings: Where the work is done has no part in it.
        code_version: Of the stage.

    Raises:
        CleanTextError: If a file that the settings name is missing.
    """
    chosen = settings.model_dump(mode="json", exclude={"engine"})
    return fingerprint(
        {"format": FORMAT, "settings": chosen, "files": named_files(settings), "code_version": code_version}
    )


def part_name(identity: str, content: str) -> str:
    """The name of a row group's part.

    Args:
        identity: See ``parts_identity``.
        content: ``content_digest`` of the row group.
    """
    return fingerprint([identity, content])


def write_part(folder: Path, part: CleanedBatch) -> None:
    """Write a part, complete or not at all; a damaged one in its place goes, a good one may stay."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    process = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    partial = folder.with_name(f".{folder.name}.partial-{process}")
    partial.mkdir()
    try:
        tables = {name: getattr(part, name) for name in _TABLES}
        tables |= {f"{_HASHES}{name}": table for name, table in part.hashes.tables.items()}
        hashes = {name: _write_table(partial / f"{name}.arrow", table) for name, table in tables.items()}
        record = {"changed": part.changed, "hashed_documents": part.hashes.documents, "files": hashes}
        (partial / _RECORD).write_text(json.dumps(record), encoding="utf-8")
        if not is_whole(folder):
            shutil.rmtree(folder, ignore_errors=True)
        try:
            partial.rename(folder)
        except OSError:
            if not is_whole(folder):  # else another process finished the same part first
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_part(folder: Path) -> CleanedBatch:
    """Read a part.

    Raises:
        CleanTextError: If it is not there, or a file of it is not what was written.
    """
    record, files = _checked(folder)
    tables = {name: pa.ipc.open_file(content).read_all() for name, content in files.items()}
    hashes = {name.removeprefix(_HASHES): table for name, table in tables.items() if name.startswith(_HASHES)}
    return CleanedBatch(
        **{name: tables[name] for name in _TABLES},
        hashes=TextHashes(record["hashed_documents"], hashes),
        changed=record["changed"],
    )


def is_whole(folder: Path) -> bool:
    """Whether a part is there and every file of it is what was written."""
    try:
        _checked(folder)
    except CleanTextError:
        return False
    return True


def remove_parts(parts: Path) -> None:
    """Remove the finished parts, and unfinished ones of processes that are no more; those of living ones stay."""
    for folder in parts.glob("[!.]*"):
        shutil.rmtree(folder, ignore_errors=True)
    remove_abandoned(parts)
    try:
        parts.rmdir()
    except OSError:  # not there, or another run is at work in it
        return


def _write_table(path: Path, table: pa.Table) -> str:
    """Write an Arrow IPC file; the SHA-256 of its bytes in hex."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(table.combine_chunks())
    content = sink.getvalue()
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def _checked(folder: Path) -> tuple[dict[str, Any], dict[str, pa.Buffer]]:
    """The record, and the content of each table's file."""
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        files = {}
        for name, expected in record["files"].items():
            with pa.memory_map(str(folder / f"{name}.arrow")) as file:
                files[name] = file.read_buffer()
            if hashlib.sha256(files[name]).hexdigest() != expected:
                raise ValueError(f"{name}.arrow has changed")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CleanTextError(
            f"{folder} is no whole part ({error}); run the stage again, on storage that all processes share"
        ) from error
    return record, files
