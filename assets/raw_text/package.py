"""``package://name==version``: one archive from the Python package index that the user's pip is configured for."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from assets.raw_text.downloads import disk_errors, partial_folder, store, stored, wrong_sha256
from assets.raw_text.errors import RawTextError

_FOUND_SHA256 = re.compile(r"Got\s+([0-9a-f]{64})")
_UNREACHABLE = (
    "Could not fetch URL",
    "connection broken",
    "Failed to establish a new connection",
    "Temporary failure in name resolution",
    "timed out",
    "ConnectionError",
)
_LAST_LINES = 5


def fetch_package(name: str, version: str, sha256: str, *, folder: Path, where: str) -> Path:
    """The archive of exactly this version with exactly this hash, wheel or source, without installing it.

    pip checks the hash before it looks into the archive. (Of a source archive it then reads the metadata, for which
    it runs the archive's own build script; nothing is built or installed.)

    Args:
        name: The distribution.
        version: Its version.
        sha256: Hash of the archive.
        folder: The folder of downloads; an archive that is there already needs no network.
        where: Names the source in errors.

    Raises:
        RawTextError: If the index cannot be reached, has no such version, or has it with another hash.
    """
    path = stored(folder, sha256)
    if path:
        return path
    with disk_errors(folder.parent, where), partial_folder(folder) as partial:
        requirements = partial / "requirements.txt"
        requirements.write_text(f"{name}=={version} --hash=sha256:{sha256}\n", encoding="utf-8")
        target = partial / "archive"
        target.mkdir()
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
        command += ["--no-deps", "--no-build-isolation", "--require-hashes", "--dest", str(target)]
        result = subprocess.run(
            [*command, "-r", str(requirements)], capture_output=True, text=True, errors="replace", check=False
        )
        files = sorted(target.iterdir())
        if result.returncode or len(files) != 1:
            raise _explain(result.stdout + result.stderr, name, version, sha256, where)
        return store(folder, files[0], expected=sha256, where=where)


def _explain(output: str, name: str, version: str, sha256: str, where: str) -> RawTextError:
    if "THESE PACKAGES DO NOT MATCH THE HASHES" in output:
        found = _FOUND_SHA256.search(output)
        return wrong_sha256(where, sha256, found[1] if found else "another")
    if any(sign in output for sign in _UNREACHABLE):
        return RawTextError(
            f"{where}: the Python package index cannot be reached; check the network and `pip config list`, "
            f"or put the archive on this machine and name its path as 'uri'\n{_tail(output)}"
        )
    if "No matching distribution found" in output or "Could not find a version" in output:
        return RawTextError(
            f"{where}: the configured Python package index has no {name}=={version}; correct name or version, or "
            f"configure an index that has it (`pip config list`)\n{_tail(output)}"
        )
    if "No module named pip" in output:
        return RawTextError(f"{where}: pip is missing; run {sys.executable} -m ensurepip")
    return RawTextError(f"{where}: pip could not download {name}=={version}; it said:\n{_tail(output)}")


def _tail(output: str) -> str:
    return "\n".join(line for line in output.strip().splitlines()[-_LAST_LINES:])
