"""Files behind an address: https:// and any other protocol that fsspec opens."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import fsspec.core

from assets.raw_text.archive import is_archive
from assets.raw_text.compression import compression
from assets.raw_text.downloads import DISK_FULL, disk_errors, partial_folder, recall, remember, store
from assets.raw_text.errors import RawTextError
from assets.raw_text.globs import WILDCARDS

# What the file systems call the thing that changes with a file's content, strongest first.
_VERSION_KEYS = (
    "ETag",
    "etag",
    "Content-MD5",
    "content_md5",
    "Digest",
    "md5Hash",
    "md5",
    "crc32c",
    "checksum",
    "sha",
    "VersionId",
    "generation",
    "Last-Modified",
    "LastModified",
    "last_modified",
    "updated",
    "mtime",
    "created",
)
_NOT_THERE = (404, 410)
_WEB = ("http://", "https://")


@dataclass(frozen=True)
class RemoteFile:
    """A file behind an address.

    Attributes:
        name: Path below the folder that was listed, or the file's name.
        version: What the server says to tell this content from a later one; None if it says nothing of the kind.
        listed: Whether it was found in a folder or by a glob, rather than named.
    """

    name: str
    version: str | None
    listed: bool
    size: int | None
    path: str
    filesystem: Any


def file_name(uri: str) -> str:
    """The name of the file at an address, told without asking; of a chain of protocols, of the file it begins with."""
    parts = uri.split("::")
    first = next((part for part in parts if part.partition("://")[2]), parts[-1])
    if first.startswith(_WEB):
        return unquote(PurePosixPath(urlsplit(first).path).name) or "index"
    return PurePosixPath(first.partition("://")[2]).name


def list_remote(uri: str, *, where: str) -> list[RemoteFile]:
    """The file at an address, or the files of a folder or glob, sorted by name; nothing is downloaded.

    Raises:
        RawTextError: If it cannot be reached or does not exist.
    """
    with _remote_errors(uri, where):
        filesystem, root = fsspec.core.url_to_fs(uri)
        # It may be the same object as at the last call, with what it listed then.
        filesystem.invalidate_cache()
        # A web server has no folders, and '?' stands in its addresses for something else than a glob.
        if uri.startswith(_WEB):
            return [_describe(filesystem, root, file_name(uri), listed=False)]
        if WILDCARDS.search(root):
            base = root[: WILDCARDS.search(root).start()].rpartition("/")[0]  # type: ignore[union-attr]
            found = [path for path in filesystem.glob(root) if not filesystem.isdir(path)]
        elif filesystem.isdir(root):
            base, found = root.rstrip("/"), filesystem.find(root)
        else:
            return [_describe(filesystem, root, file_name(uri), listed=False)]
        return [_describe(filesystem, path, path.removeprefix(base).lstrip("/"), listed=True) for path in sorted(found)]


def fetch_remote(file: RemoteFile, *, uri: str, sha256: str | None, folder: Path, where: str) -> Path:
    """Download a file, unless this version of it was downloaded before.

    Args:
        file: What to fetch.
        uri: The source's address.
        sha256: The hash it must have, if known.
        folder: The folder of downloads.
        where: Names the source in errors.

    Raises:
        RawTextError: If it cannot be reached, has another hash, or there is no space for it.
    """
    address = f"{uri}\n{file.path}\n{file.version}"
    known = recall(folder, address) if file.version and not sha256 else None
    if known:
        return known
    with partial_folder(folder) as partial, disk_errors(folder, where):
        free = shutil.disk_usage(partial).free
        if file.size is not None and file.size > free:
            raise RawTextError(
                f"{where}: {file.name} has {file.size:,} bytes, and the disk of {folder} only {free:,} free; "
                "free some, or set CORPUSLINE_HOME to a larger disk"
            )
        target = partial / (PurePosixPath(file.name).name or "file")
        with _remote_errors(uri, where):
            file.filesystem.get_file(file.path, str(target), **_download_options(file, uri))
        path = store(folder, target, expected=sha256, where=f"{where}: {file.name}")
    if file.version:
        remember(folder, address, path.parent.name)
    return path


def _download_options(file: RemoteFile, uri: str) -> dict[str, Any]:
    """Options by which a packed file comes from a web server as it is stored.

    Object stores often send ``a.gz`` with ``Content-Encoding: gzip``, and it would be unpacked on the way.
    """
    if not uri.startswith(_WEB) or not (compression(file.name) or is_archive(file.name)):
        return {}
    headers = file.filesystem.kwargs.get("headers", {})
    return {"auto_decompress": False, "headers": {**headers, "Accept-Encoding": "identity"}}


def _describe(filesystem: Any, path: str, name: str, *, listed: bool) -> RemoteFile:
    information = filesystem.info(path)
    version = {key: str(information[key]) for key in _VERSION_KEYS if information.get(key)}
    size = information.get("size")
    if version:
        version["size"] = str(size)
    text = json.dumps(version, sort_keys=True) if version else None
    return RemoteFile(name, text, listed, size, path, filesystem)


@contextmanager
def _remote_errors(uri: str, where: str) -> Iterator[None]:
    try:
        yield
    except RawTextError:
        raise
    except FileNotFoundError as error:
        # Over https, fsspec says of whatever goes wrong that there is no such file, and gives the reason as the cause.
        reason = error.__cause__
        if reason is None or getattr(reason, "status", None) in _NOT_THERE:
            raise RawTextError(f"{where}: there is nothing at {uri}; correct 'uri'") from None
        raise _unreachable(uri, where, reason) from None
    except ImportError as error:
        raise RawTextError(f"{where}: {uri} needs another package: {error}") from None
    except OSError as error:
        if error.errno in DISK_FULL or (error.errno is not None and error.filename is not None):
            raise
        raise _unreachable(uri, where, error) from None
    except Exception as error:  # each of fsspec's backends has errors of its own
        raise _unreachable(uri, where, error) from None


def _unreachable(uri: str, where: str, error: BaseException) -> RawTextError:
    what = f"{type(error).__name__}: {error}"
    return RawTextError(f"{where}: {uri} cannot be reached ({what}); check 'uri' and the network")
