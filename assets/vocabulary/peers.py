"""Vocabularies of others that the catalogue names, to compare ours with."""

from __future__ import annotations

import posixpath
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from assets.raw_text.archive import is_archive, read_members
from assets.raw_text.catalogue import NamedTokenizer, Source
from assets.raw_text.errors import RawTextError
from assets.raw_text.fetch import LocalFile, locate
from assets.vocabulary.errors import VocabularyError
from assets.vocabulary.imports.importing import opened_import
from assets.vocabulary.settings import VocabularySettings

_MOST_BYTES, _MOST_RATIO = 1 << 30, 1000


@dataclass(frozen=True)
class PeerVocabulary:
    """An opened vocabulary of somebody else's."""

    name: str
    tokenizer: Tokenizer


def open_peers(named: Sequence[NamedTokenizer], *, folder: Path, downloads: Path) -> list[PeerVocabulary]:
    """Open the vocabularies that a catalogue names, fetched if they are not on this machine.

    Args:
        named: From the catalogue.
        folder: Of the catalogue.
        downloads: Folder of fetched files.

    Raises:
        VocabularyError: Naming one that cannot be fetched or opened.
    """
    return [_open(one, folder, downloads) for one in named]


def _open(named: NamedTokenizer, folder: Path, downloads: Path) -> PeerVocabulary:
    where = f"tokenizer '{named.name}'"
    try:
        source = Source.model_validate(
            {"name": named.name, "uri": named.uri, "sha256": named.sha256, "language": "en", "format": "txt"}
            | {"include": ["*"]}
        )
        files = locate(source, folder=folder, downloads=downloads)
        settings = VocabularySettings(kind="imported", import_from=named.file, pattern=named.pattern)
        with tempfile.TemporaryDirectory() as name:
            path = _unpacked(files, named.file, Path(name), where)
            tokenizer, _ = opened_import(str(path), settings)
    except (RawTextError, VocabularyError, ValueError) as error:
        raise VocabularyError(f"{where} of the catalogue: {error}") from None
    tokenizer.encode_special_tokens = True
    return PeerVocabulary(named.name, tokenizer)


def _unpacked(files: Sequence[LocalFile], wanted: str, folder: Path, where: str) -> Path:
    """The file, with those beside it, out of its archive."""
    beside = posixpath.dirname(wanted)
    for file in files:
        if not is_archive(file.name):
            if file.name in (wanted, posixpath.basename(wanted)):
                return file.path
            continue
        for member in read_members(
            file.path,
            file.name,
            where=where,
            wanted=lambda path: posixpath.dirname(path) == beside,
            maximum_bytes=_MOST_BYTES,
            maximum_ratio=_MOST_RATIO,
        ):
            with (folder / posixpath.basename(member.path)).open("wb") as target:
                shutil.copyfileobj(member.stream, target)
    path = folder / posixpath.basename(wanted)
    if not path.is_file():
        raise VocabularyError(f"there is no file {wanted} in {', '.join(file.name for file in files)}")
    return path
