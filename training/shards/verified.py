"""Verifying local shards once: files that were found intact are remembered until their size or time of change differs.

Opening shards reads no token, so that terabytes of them open at once; what is damaged in them is found here, before it
is trained on. The memory is one JSON file for each folder and its ``shards.json``, which names the hashes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path

from training.artifact import write_atomically
from training.process_lock import process_lock
from training.shards.folder import Shards
from training.shards.format import SPLITS, ShardFile
from training.shards.split import Split

_MOST_THREADS = 8
_TELL_SECONDS = 30.0

log = logging.getLogger(__name__)


def verify_once(shards: Shards, memory: Path) -> None:
    """Verify the files of a local folder that are not known to be intact, several at a time.

    Of several processes that want it at once one reads the files, and the others wait.

    Args:
        shards: Opened from a local folder, which may be read-only.
        memory: Folder that keeps what is known; made if it is missing. If it cannot be written, nothing is remembered.

    Raises:
        ShardError: Naming a file that is damaged.
    """
    identity = hashlib.sha256(f"{shards.folder.absolute()}\0{shards.sha256}".encode()).hexdigest()[:32]
    path = memory / f"{identity}.json"
    states = _states(shards.folder)
    if not list(_unknown(shards, states, _remembered(path))):
        return
    with ExitStack() as stack:
        try:
            memory.mkdir(parents=True, exist_ok=True)
            stack.enter_context(process_lock(memory / f".{identity}.lock"))
        except OSError as error:
            log.warning("which token shards are intact cannot be remembered: %s", error)
        known = _remembered(path)
        try:
            _verify(shards, states, known, path)
        finally:
            _remember(path, known)


def _verify(shards: Shards, states: Mapping[str, str], known: set[str], path: Path) -> None:
    """Verify what is not known, and make it known."""
    waiting = list(_unknown(shards, states, known))
    total, done = sum(file.tokens for _, _, file in waiting), 0
    pool = ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1))
    try:
        jobs = {pool.submit(split.verify_file, number): file for split, number, file in waiting}
        told = time.monotonic()
        for job in as_completed(jobs):
            job.result()
            known.update(states[name] for name in jobs[job].hashes)
            done += jobs[job].tokens
            if time.monotonic() - told > _TELL_SECONDS:
                told = time.monotonic()
                log.info(
                    "verifying token shards: %s, %.0f of %.0f million tokens", shards.folder, done / 1e6, total / 1e6
                )
                _remember(path, known)
    finally:
        pool.shutdown(cancel_futures=True)


def _unknown(shards: Shards, states: Mapping[str, str], known: set[str]) -> Iterator[tuple[Split, int, ShardFile]]:
    """The files of token ids of which, or of whose index or mask, nothing is known, with split and number."""
    for name in SPLITS:
        split = shards.split(name)
        for number, file in enumerate(split.files):
            if not all(states.get(part) in known for part in file.hashes):
                yield split, number, file


def _states(folder: Path) -> dict[str, str]:
    """Of each file by name: name, size and time of change."""
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.stat()) for entry in entries]
    return {name: f"{name} {state.st_size} {state.st_mtime_ns}" for name, state in found}


def _remembered(path: Path) -> set[str]:
    """States of files that were intact; none if they cannot be read."""
    try:
        return {str(state) for state in json.loads(path.read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError):
        return set()


def _remember(path: Path, known: set[str]) -> None:
    try:
        write_atomically(path, json.dumps(sorted(known), indent=0))
    except OSError as error:
        log.warning("which token shards are intact cannot be remembered: %s", error)
