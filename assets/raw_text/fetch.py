"""From a source's uri to files on this machine, and to an identity that changes when they do."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from assets.raw_text.archive import is_archive, printable
from assets.raw_text.catalogue import Source
from assets.raw_text.compression import strip_compression
from assets.raw_text.downloads import stored, wrong_sha256
from assets.raw_text.errors import RawTextError
from assets.raw_text.folders import files_below
from assets.raw_text.globs import WILDCARDS, matches
from assets.raw_text.package import fetch_package
from assets.raw_text.remote import RemoteFile, fetch_remote, file_name, list_remote
from training.artifact import file_sha256, fingerprint, write_atomically

_ENDINGS = {
    "txt": ["*.txt", "*.text"],
    "markdown": ["*.md", "*.markdown"],
    "html": ["*.html", "*.htm", "*.xhtml"],
    "warc": ["*.warc", "*.wet"],
    "jsonl": ["*.jsonl", "*.ndjson", "*.json"],
    "parquet": ["*.parquet"],
    "csv": ["*.csv", "*.tsv"],
    "datatrove": ["*.jsonl", "*.parquet"],
    "dolma": ["*.jsonl", "*.json", "*.parquet"],
    "epub": ["*.epub"],
    "pdf": ["*.pdf"],
    # Large wikis are dumped in parts: ...-pages-articles1.xml-p1p41242.
    "wikipedia": ["*.xml", "*.xml-p[0-9]*"],
}
_TOLD_BY_NAME = ("html", "warc", "jsonl", "parquet", "csv", "epub", "pdf")
_HIDDEN = [".*", ".*/**", "__MACOSX/**"]
_EXAMPLES = 8

# A file changed so lately may be changed again within the resolution of its time stamp.
_SETTLED_SECONDS = 2.0


@dataclass(frozen=True)
class LocalFile:
    """A file of a source on this machine.

    Attributes:
        path: Where it lies.
        name: Path below the folder the source names, or the file's name; the same on every machine.
        listed: Whether it was found in a folder or by a glob, rather than named.
    """

    path: Path
    name: str
    listed: bool


def locate(source: Source, *, folder: Path, downloads: Path) -> tuple[LocalFile, ...]:
    """The source's files, fetched if they are not on this machine, in the order of their names.

    Args:
        source: An entry of the catalogue.
        folder: Where relative paths start: the catalogue's folder.
        downloads: Folder for fetched files, kept between runs.

    Raises:
        RawTextError: If a file is missing, cannot be fetched, has the wrong hash, or no file is one to read.
    """
    where = f"source '{source.name}'"
    if source.package:
        assert source.sha256 is not None
        path = fetch_package(*source.package, source.sha256, folder=downloads, where=where)
        return (LocalFile(path, path.name, listed=False),)
    if not _is_remote(source.uri):
        files = _local_files(source, folder, where)
        if source.sha256:
            found = file_sha256(_only(files, where).path)
            if found != source.sha256:
                raise wrong_sha256(f"{where}: {files[0].path}", source.sha256, found)
        return tuple(files)
    if source.sha256 and (path_or_none := stored(downloads, source.sha256)):
        # It may have been fetched for another source, under another name.
        return (LocalFile(path_or_none, file_name(source.uri), listed=False),)
    remote = _remote_files(source, where)
    if source.sha256:
        _only(remote, where)
    return tuple(
        LocalFile(
            fetch_remote(file, uri=source.uri, sha256=source.sha256, folder=downloads, where=where),
            file.name,
            file.listed,
        )
        for file in remote
    )


def source_identity(source: Source, *, folder: Path, downloads: Path) -> dict[str, Any]:
    """What the source's content is, as JSON: it changes when a file does, and equal bytes have it on every machine.

    That is the catalogue's sha256 where there is one, with the file's name, which the documents hold (a package's
    archive has but one); else for files on this machine (path, sha256) of each, where hashes are remembered by path,
    size, time and inode; else for remote files (path, version), where the version is what the server says (entity tag,
    checksum, time), and the sha256 of the downloaded file if it says nothing.

    Args:
        source: An entry of the catalogue.
        folder: Where relative paths start.
        downloads: Folder for fetched files and remembered hashes.

    Raises:
        RawTextError: As ``locate``.
    """
    where = f"source '{source.name}'"
    if source.package:
        return {"sha256": source.sha256}
    if source.sha256:
        name = file_name(source.uri) if _is_remote(source.uri) else _local_path(source.uri).name
        return {"sha256": source.sha256, "name": name}
    if not _is_remote(source.uri):
        files = _local_files(source, folder, where)
        return {"files": [list(pair) for pair in _hashes(files, downloads / "hashes")]}
    return {
        "files": [
            [
                file.name,
                file.version
                or fetch_remote(file, uri=source.uri, sha256=None, folder=downloads, where=where).parent.name,
            ]
            for file in _remote_files(source, where)
        ]
    }


def is_wanted(path: str, source: Source, *, ending_matters: bool) -> bool:
    """Whether ``include`` and ``exclude`` choose a file.

    Args:
        path: Path below the folder or in the archive.
        source: The globs and the format.
        ending_matters: Without ``include``, take only files with the format's usual endings that are not hidden.
    """
    names = {path, strip_compression(path)}
    if any(matches(name, source.exclude) for name in names):
        return False
    if source.include:
        return any(matches(name, source.include) for name in names)
    if not ending_matters:
        return True
    return matches(strip_compression(path).lower(), _ENDINGS[source.format]) and not matches(path, _HIDDEN)


def format_of(path: str) -> str:
    """The format that a file's name tells of, beneath its compression; ``txt`` where it tells of none or of text."""
    name = strip_compression(path).lower()
    return next((format for format in _TOLD_BY_NAME if matches(name, _ENDINGS[format])), "txt")


def nothing_matches(where: str, source: Source, existing: Iterable[str]) -> RawTextError:
    """The error for globs that choose nothing, with some of what there is."""
    names = list(existing)
    if not names:
        return RawTextError(f"{where}: there is no file; correct 'uri' or put one there")
    shown = ", ".join(names[:_EXAMPLES]) + (f" and {len(names) - _EXAMPLES} more" if len(names) > _EXAMPLES else "")
    globs = f"'include' {source.include}" if source.include else f"the usual endings {_ENDINGS[source.format]}"
    rest = f" ('exclude' {source.exclude})" if source.exclude else ""
    return RawTextError(f"{where}: {globs}{rest} match none of: {shown}; correct 'include'")


def _is_remote(uri: str) -> bool:
    return ("://" in uri or "::" in uri) and not uri.startswith("file://")


def _only(files: list[Any], where: str) -> Any:
    if len(files) != 1 or files[0].listed:
        raise RawTextError(
            f"{where}: 'sha256' is for a single file, and 'uri' names a folder or glob; write the file's own path as "
            "'uri', or remove 'sha256'"
        )
    return files[0]


def _chosen(name: str, source: Source, *, in_folder: bool) -> bool:
    if is_archive(name):
        return not matches(name, source.exclude) and not (in_folder and matches(name, _HIDDEN))
    return is_wanted(name, source, ending_matters=in_folder)


def _remote_files(source: Source, where: str) -> list[RemoteFile]:
    found = list_remote(source.uri, where=where)
    in_folder = not WILDCARDS.search(source.uri)
    files = [file for file in found if not file.listed or _chosen(file.name, source, in_folder=in_folder)]
    if not files:
        raise nothing_matches(where, source, [file.name for file in found])
    return files


def _local_path(uri: str) -> Path:
    text = unquote(uri.removeprefix("file://")) if uri.startswith("file://") else uri
    return Path(text).expanduser()


def _local_files(source: Source, folder: Path, where: str) -> list[LocalFile]:
    written = _local_path(source.uri)
    path = folder / written
    if path.is_file():
        return [LocalFile(path, printable(path.name), listed=False)]
    in_folder = path.is_dir()
    unreadable: list[Path] = []
    if in_folder:
        base, found = path, files_below(path, unreadable=unreadable.append)
    elif WILDCARDS.search(str(written)):
        # The folders above are the user's, and may have brackets in their names.
        first = next(index for index, part in enumerate(written.parts) if WILDCARDS.search(part))
        base = folder.joinpath(*written.parts[:first])
        found = files_below(base, written.parts[first:], unreadable=unreadable.append)
    else:
        raise RawTextError(f"{where}: there is no file or folder {path}; correct 'uri' or put it there")
    passed_over = [*source.exclude, *(_HIDDEN if in_folder else ())]
    for inner in unreadable:
        name = printable(inner.relative_to(base).as_posix())
        if not any(matches(name + rest, passed_over) for rest in ("", "/", "/*")):
            remedy = "" if inner == base else f", or name it under 'exclude': '{name}/**'"
            raise RawTextError(f"{where}: the folder {inner} may not be read; give yourself the right to{remedy}")
    existing = sorted((printable(file.relative_to(base).as_posix()), file) for file in found)
    files = [
        LocalFile(file, name, listed=True) for name, file in existing if _chosen(name, source, in_folder=in_folder)
    ]
    if not files:
        raise nothing_matches(f"{where}: {path}", source, [name for name, _ in existing])
    for local in files:
        if not local.path.is_file():
            raise RawTextError(
                f"{where}: {local.path} is a broken link or no file; remove it or name it under 'exclude'"
            )
    return files


def _hashes(files: list[LocalFile], memory: Path) -> list[tuple[str, str]]:
    """Name and SHA-256 of each file, reading only those that changed since the last call for the same files."""
    note = memory / f"{fingerprint(str(files[0].path.parent if len(files) == 1 else _base(files[0])))}.json"
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    now = time.time()
    current: dict[str, list[Any]] = {}
    result = []
    for file in files:
        status = file.path.stat()
        state = [status.st_size, status.st_mtime_ns, status.st_ino]
        entry = known.get(str(file.path))
        sha256 = entry[1] if entry and entry[0] == state else file_sha256(file.path)
        result.append((file.name, sha256))
        if now - status.st_mtime > _SETTLED_SECONDS:
            current[str(file.path)] = [state, sha256]
    if current != known:
        memory.mkdir(parents=True, exist_ok=True)
        write_atomically(note, json.dumps(current))
    return result


def _base(file: LocalFile) -> Path:
    return file.path.parents[file.name.count("/")]
