"""The text indexes of this home: found, or built where there is none yet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from assets.clean_text.progress import Progress
from assets.home import outputs_folder
from assets.text_index.build import build_text_index
from assets.text_index.opened import TextIndex, open_text_index
from assets.text_index.settings import TextIndexSettings
from assets.vocabulary.tokenizer import open_vocabulary
from training.artifact import MANIFEST, Artifact, ArtifactError, build_artifact, read_manifest
from training.shards import RemoteFolder, Shards, open_shards

KIND = "text_index"
CODE_VERSION = "1"


def build_stored_index(
    shards_folder: Path | RemoteFolder,
    vocabulary_folder: Path,
    *,
    settings: TextIndexSettings,
    progress: Progress | None = None,
) -> Artifact:
    """The index of a dump below ``outputs_folder``, built if the one with these settings is not there.

    Raises:
        As ``build_text_index``.
    """
    shards = open_shards(shards_folder)

    def produce(folder: Path) -> Mapping[str, int]:
        return build_text_index(
            shards_folder, vocabulary_folder, settings=settings, out=folder, progress=progress
        ).counts

    return build_artifact(
        outputs_folder(KIND, shards.dump),
        kind=KIND,
        inputs=_inputs(shards),
        settings=settings.model_dump(mode="json", exclude={"workers"}),
        code_version=CODE_VERSION,
        produce=produce,
    )


def open_stored_index(
    shards: Shards,
    vocabulary_folder: Path,
    *,
    progress: Progress | None = None,
) -> TextIndex:
    """The index of a dump, whatever its settings; built with the default ones if there is none.

    Args:
        shards: The dump's token shards.
        vocabulary_folder: Folder of the ``tokenizer.json`` that made them, such as that of a model.
        progress: Called while it is built.

    Raises:
        TextIndexError: If it is damaged.
        As ``build_text_index``.
    """
    folder = _find(shards)
    if folder is None:
        artifact = build_stored_index(shards.origin, vocabulary_folder, settings=TextIndexSettings(), progress=progress)
        folder = artifact.folder
    return open_text_index(folder, shards=shards, vocabulary=open_vocabulary(vocabulary_folder))


def _find(shards: Shards) -> Path | None:
    for path in sorted(outputs_folder(KIND, shards.dump).glob(f"[!.]*/{MANIFEST}")):
        try:
            manifest = read_manifest(path.parent)
        except ArtifactError:
            continue
        if manifest.inputs == _inputs(shards) and manifest.code_version == CODE_VERSION:
            return path.parent
    return None


def _inputs(shards: Shards) -> dict[str, str]:
    """By content, so that shards which lie elsewhere, or were fetched, have the same index."""
    return {"token_shards": shards.sha256, "vocabulary": shards.vocabulary_hash}
