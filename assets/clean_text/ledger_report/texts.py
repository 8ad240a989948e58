"""The beginnings of a few documents' texts, found without reading the others'."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.clean_text.tables import document_files

EXCERPT_CHARACTERS = 300


def read_excerpts(raw_text: Path, doc_ids: Iterable[str], *, characters: int = EXCERPT_CHARACTERS) -> dict[str, str]:
    """The beginning of the text of each of these documents that the folder has, by doc_id.

    Only the column doc_id is read of a row group that has none of them. Memory: one row group.

    Args:
        raw_text: Folder of the stage ``raw_text``.
        doc_ids: A few.
        characters: Most characters of a text.
    """
    wanted = set(doc_ids)
    excerpts: dict[str, str] = {}
    for path in document_files(raw_text):
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            if not wanted:
                return excerpts
            names = file.read_row_group(group, columns=["doc_id"])["doc_id"]
            here = pc.is_in(names, pa.array(sorted(wanted)))
            if not pc.any(here).as_py():
                continue
            rows = file.read_row_group(group, columns=["doc_id", "text"]).filter(here)
            begun = rows.set_column(1, "text", pc.utf8_slice_codeunits(rows["text"], 0, characters))
            excerpts |= {row["doc_id"]: row["text"] for row in begun.to_pylist()}
            wanted -= set(excerpts)
    return excerpts
