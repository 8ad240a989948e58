"""What the files that the settings name hold, so that a changed file makes the documents stale."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from assets.clean_text.errors import CleanTextError
from assets.clean_text.evaluation_sets import evaluation_identity
from assets.clean_text.near_duplicates.minhash import signed_with
from assets.clean_text.settings import FilterSettings


def named_files(settings: FilterSettings) -> dict[str, Any]:
    """What the documents depend on beside them and the settings, for an artifact's fingerprint.

    The policy's rules, what signatures are made with, and hashes of models, evaluation sets and block lists.

    Raises:
        CleanTextError: If a file is missing.
    """
    identity: dict[str, Any] = {
        "policy": settings.load_policy().model_dump(mode="json", exclude={"description", "source"})
    }
    identity["minhash"] = signed_with(settings.near_duplicates).decode()
    for name in ("quality_model", "perplexity_model"):
        path = getattr(settings, name)
        if path is not None:
            identity[name] = _hash_path(Path(path), name)
    if settings.decontamination.sets:
        identity["evaluation_sets"] = evaluation_identity(settings.decontamination)
    lists = [*settings.opt_out.urls, *settings.opt_out.domains, *settings.opt_out.documents]
    if lists:
        identity["opt_out"] = [_hash_path(path, "opt_out") for path in lists]
    return identity


def _hash_path(path: Path, setting: str) -> str:
    """SHA-256 over a file, or over the names and contents of a folder's files."""
    if not path.exists():
        raise CleanTextError(f"'{setting}' names {path}, which is not there")
    state = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            state.update(f"{file.relative_to(path) if path.is_dir() else ''}\0".encode())
            with file.open("rb") as stream:
                state.update(hashlib.file_digest(stream, "sha256").digest())
    return state.hexdigest()
