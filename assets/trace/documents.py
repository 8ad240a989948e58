"""Documents by their id: text, file, bytes and licence, as clean_text keeps them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.dataset as ds

from assets.home import outputs_folder
from assets.vocabulary.tokenizer import Vocabulary
from training.artifact import MANIFEST, ArtifactError, read_manifest
from training.shards import Shards

_COLUMNS = ["doc_id", "text", "source", "dump", "path", "byte_start", "byte_end", "licence", "language", "metadata"]


@dataclass(frozen=True)
class TracedDocument:
    """A document that a model learned from.

    Attributes:
        doc_id: Its id.
        dump, source: Where it is from.
        path, byte_start, byte_end: Its file and place, see ``assets.raw_text.documents``; None if its clean text is
            gone.
        licence, language: From the catalogue.
        url: Where a page of the web was fetched from.
        text: Clean text, or what its tokens decode to if the clean text is gone.
    """

    doc_id: str
    dump: str
    source: str
    path: str | None
    byte_start: int | None
    byte_end: int | None
    licence: str | None
    language: str | None
    url: str | None
    text: str

    @property
    def shown_licence(self) -> str:
        """Its licence as it stands behind a place."""
        return "licence unknown" if self.licence in (None, "", "unknown") else str(self.licence)


def clean_folder(shards: Shards) -> Path | None:
    """The clean text that token shards were made of; None if it is gone, or they are of elsewhere."""
    try:
        digest = read_manifest(shards.folder).inputs.get("clean_text")
    except ArtifactError:
        return None
    for manifest in sorted(outputs_folder("clean_text", shards.dump).glob(f"[!.]*/{MANIFEST}")):
        try:
            if read_manifest(manifest.parent).digest == digest:
                return manifest.parent
        except ArtifactError:
            continue
    return None


def find_documents(shards: Shards, doc_ids: Iterable[str], vocabulary: Vocabulary) -> dict[str, TracedDocument]:
    """Documents of token shards by id; those that are in neither split are left out.

    Reads the clean text's columns of ids once and the rows that are asked for; memory is bounded by those.
    """
    wanted = sorted(set(doc_ids))
    folder = clean_folder(shards)
    found: dict[str, TracedDocument] = {}
    if folder is not None and wanted:
        files = sorted(str(path) for path in folder.glob("documents-*.parquet"))
        table = ds.dataset(files, format="parquet").to_table(columns=_COLUMNS, filter=pc.field("doc_id").isin(wanted))
        for row in table.to_pylist():
            found[row["doc_id"]] = _document(row)
    for doc_id in wanted:
        if doc_id not in found:
            for split in (shards.train, shards.validation):
                place = split.find(doc_id)
                if place is not None:
                    ids = split.tokens(place.start, place.length)
                    text = vocabulary.decode(ids.tolist())
                    found[doc_id] = TracedDocument(
                        doc_id, shards.dump, shards.source, None, None, None, None, shards.language, None, text
                    )
                    break
    return found


def _document(row: dict[str, Any]) -> TracedDocument:
    url = json.loads(row["metadata"]).get("url") if row["metadata"] else None
    return TracedDocument(**{name: row[name] for name in _COLUMNS if name != "metadata"}, url=url)
