"""A trained model's folder: arrays as safetensors, and beside them JSON that says what they are and what they hash to.

The JSON file is written last: a folder without it is incomplete.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from assets.clean_text.characters import Array
from assets.clean_text.errors import CleanTextError
from training.artifact import file_sha256, fingerprint, write_atomically

FORMAT = 1


def refuse_existing(folder: Path, name: str) -> None:
    """Find out before the work that there is a place for its result.

    Raises:
        CleanTextError: If the folder holds a model of this name, or is a file.
    """
    if (folder / f"{name}.json").exists():
        raise CleanTextError(f"{folder} already holds a trained model; choose another folder or remove it")
    if folder.exists() and not folder.is_dir():
        raise CleanTextError(f"{folder} is a file; choose another folder")


def save_weights(folder: Path, name: str, arrays: Mapping[str, Array], description: Mapping[str, Any]) -> None:
    """Write ``<name>.safetensors`` and ``<name>.json`` into a folder, which is made.

    Raises:
        CleanTextError: If the folder cannot be written, or as ``refuse_existing``.
    """
    refuse_existing(folder, name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # safetensors' own save_file lets nobody but the owner read the file.
        (folder / f"{name}.safetensors").write_bytes(save(dict(arrays)))
        described = {**description, "format": FORMAT, "sha256": file_sha256(folder / f"{name}.safetensors")}
        write_atomically(folder / f"{name}.json", json.dumps(described, indent=1, sort_keys=True, ensure_ascii=False))
    except OSError as error:
        raise CleanTextError(f"{folder} cannot be written ({error.strerror}); choose another folder") from None


def load_weights(folder: Path, name: str) -> tuple[dict[str, Array], dict[str, Any], str]:
    """The arrays, the description and a digest of both.

    Raises:
        CleanTextError: If a file is missing, damaged, or of another version.
    """
    description, weights = folder / f"{name}.json", folder / f"{name}.safetensors"
    try:
        described = json.loads(description.read_text(encoding="utf-8"))
        if described["format"] != FORMAT:
            raise CleanTextError(f"{description} has the format {described['format']}, not {FORMAT}; train it again")
        if file_sha256(weights) != described["sha256"]:
            raise CleanTextError(f"{weights} is damaged; copy the folder or train it again")
        return load_file(weights), described, fingerprint([described["sha256"], file_sha256(description)])
    except OSError as error:
        raise CleanTextError(
            f"{error.filename or folder} cannot be read ({error.strerror}); name a folder that was trained"
        ) from None
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CleanTextError(f"{folder} holds no whole model ({error}); copy the folder or train it again") from None
