"""Which encoder was proved for which vocabulary, kept for all that is encoded with it.

``<proofs>/<name>.json`` holds the encoder's name and what there is to say of it. The name is a hash of the vocabulary
and of all that the outcome depends on: the code of the encoders, the libraries, the kind of machine. A file that is
damaged counts as not there.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel, ValidationError

from assets import vocabulary
from training.artifact import code_hash, fingerprint

_LIBRARIES = ("tokenizers", "fastokens", "numba", "numpy")
_CODE = ("encoders/*.py", "kernels/*.py", "patterns.py", "byte_letters.py", "long_texts.py")


class Proof(BaseModel, frozen=True):
    """The outcome of a proof.

    Attributes:
        encoder: Name of the encoder that is trusted.
        note: Which it is and why, for people.
    """

    encoder: str
    note: str


def read_proof(proofs: Path, vocabulary_hash: str) -> Proof | None:
    """What was proved for a vocabulary, if anything was."""
    try:
        return Proof.model_validate_json(_path(proofs, vocabulary_hash).read_bytes())
    except (OSError, ValidationError):
        return None


def write_proof(proofs: Path, vocabulary_hash: str, proof: Proof) -> None:
    """Keep what was proved, complete or not at all."""
    path = _path(proofs, vocabulary_hash)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    partial.write_text(json.dumps(proof.model_dump(), ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def _path(proofs: Path, vocabulary_hash: str) -> Path:
    return proofs / f"{fingerprint([vocabulary_hash, *_circumstances()])}.json"


@lru_cache(maxsize=1)
def _circumstances() -> tuple[str, ...]:
    folder = Path(vocabulary.__file__).parent
    code = code_hash(folder, (path for pattern in _CODE for path in folder.glob(pattern)))
    return platform.machine(), code, *map(_version, _LIBRARIES)


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""
