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

from assets.raw_text.downloads import disk_errors, partial_folder, recall, remember, store
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
_COPY_BYTES = 1 << 20


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


def list_remote(uri: str, *, where: str) -> list[RemoteFile]:
    """The file at an address, or the files of a folder or glob, sorted by name; nothing is downloaded.

    Raises:
        RawTextError: If it cannot be reached or does not exist.
    """
    with _remote_errors(uri, where):
        filesystem, root = fsspec.core.url_to_fs(uri)
        # A web server has no folders, and '?' stands in its addresses for something else than a glob.
        if uri.startswith(("http://", "https://")):
            name = unquote(PurePosixPath(urlsplit(uri).path).name) or "index"
            return [_describe(filesystem, root, name, listed=False)]
        if WILDCARDS.search(root):
            base = root[: WILDCARDS.search(root).start()].rpartition("/")[0]  # type: ignore[union-attr]
            found = [path for path in filesystem.glob(root) if not filesystem.isdir(path)]
        elif filesystem.isdir(root):
            base, found = root.rstrip("/"), filesystem.find(root)
        else:
            return [_describe(filesystem, root, PurePosixPath(root).name, listed=False)]
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
        with (
            _remote_errors(uri, where),
            file.filesystem.open(file.path, "rb") as stream,
            target.open("wb") as output,
        ):
            shutil.copyfileobj(stream, output, _COPY_BYTES)
        path = store(folder, target, expected=sha256, where=f"{where}: {file.name}")
    if file.version:
        remember(folder, address, path.parent.name)
    return path


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
    except FileNotFoundError:
        raise RawTextError(f"{where}: there is nothing at {uri}; correct 'uri'") from None
    except ImportError as error:
        raise RawTextError(f"{where}: {uri} needs another package: {error}") from None
    except OSError as error:
        if error.errno is not None and error.filename is not None:
            raise
        raise RawTextError(f"{where}: {uri} cannot be reached ({error}); check 'uri' and the network") from None
    except Exception as error:  # each of fsspec's backends has errors of its own
        what = f"{type(error).__name__}: {error}"
        raise RawTextError(f"{where}: {uri} cannot be read ({what}); check 'uri' and the network") from None
