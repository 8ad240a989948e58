"""Tags that lead from MLflow back to the Dagster run, the code and the data."""

from __future__ import annotations

import subprocess
from pathlib import Path

import dagster as dg


def lineage_tags(context: dg.AssetExecutionContext, fingerprint: str) -> dict[str, str]:
    """Dagster run and job, the code's commit, and the fingerprint of what was made."""
    return {
        "dagster.run_id": context.run_id,
        "dagster.job": context.job_name,
        "corpusline.fingerprint": fingerprint,
        "corpusline.code": code_commit(),
    }


def code_commit() -> str:
    """The commit of the running code, with a remark if files differ from it; "unknown" outside a repository."""
    folder = Path(__file__).parent
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit} with uncommitted changes" if changed else commit


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
