"""Everything that is found by comparing documents with each other: exact copies, near copies, repeated text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from assets.clean_text.duplicates import DUPLICATES, find_duplicates
from assets.clean_text.errors import CleanTextError
from assets.clean_text.near_duplicates.search import NEAR_DUPLICATES, find_near_duplicates
from assets.clean_text.near_duplicates.settings import NearDuplicateSettings
from assets.clean_text.repeated_text.find import find_repeated_text
from assets.clean_text.settings import DuplicateSettings
from assets.clean_text.tables import TableWriter

_BATCH_ROWS = 1 << 16


@dataclass(frozen=True)
class Copies:
    """What ``find_copies`` found.

    Attributes:
        counts: Numbers for a manifest: ``documents``, ``exact``, ``near``, ``cuts``, and ``documents_<dump>``,
            ``exact_<dump>``, ``near_<dump>`` by dump.
    """

    counts: dict[str, int]


def find_copies(
    dumps: Mapping[str, Path], out: Path, *, settings: DuplicateSettings, signed: Sequence[Mapping[str, Any]]
) -> Copies:
    """Write ``duplicates-``, ``near-duplicates-`` and ``cuts-<dump>.parquet`` for each dump, also where they are empty.

    Args:
        dumps: By dump, in the order of the catalogue: the folder that ``filter_documents`` wrote.
        out: Empty folder.
        settings: What goes.
        signed: The settings of the signatures, one a dump.

    Raises:
        CleanTextError: If a file is missing, signatures do not fit together, or memory or disk do not suffice.
    """
    limit = settings.memory_limit
    exact = find_duplicates(dumps, out, memory_limit=limit)
    near = dict.fromkeys(dumps, 0)
    if settings.near and dumps:
        if any(other != signed[0] for other in signed):
            raise CleanTextError(
                "the dumps' signatures for near-duplicates were made with different settings: materialize "
                "filtered_text of all dumps with the same 'near_duplicates'"
            )
        search = NearDuplicateSettings.model_validate(
            {**signed[0], "threshold": settings.threshold, "comparisons": settings.comparisons}
        )
        near = find_near_duplicates(dumps, out, settings=search, exact=out, memory_limit=limit).near_duplicates
        if any(near.values()):
            for dump in dumps:
                _point_to_survivors(out, dump, memory_limit=limit)
    else:
        for dump in dumps:
            TableWriter(out / f"near-duplicates-{dump}.parquet", NEAR_DUPLICATES).close()
    going = {dump: [out / f"duplicates-{dump}.parquet", out / f"near-duplicates-{dump}.parquet"] for dump in dumps}
    find_repeated_text(dumps, out, dropped=going, settings=settings.repeated_text, memory_limit=limit)
    counts = {
        "documents": sum(exact.documents.values()),
        "exact": sum(exact.duplicates.values()),
        "near": sum(near.values()),
        "cuts": sum(pq.read_metadata(out / f"cuts-{dump}.parquet").num_rows for dump in dumps),
    }
    for dump in dumps:
        counts |= {
            f"documents_{dump}": exact.documents[dump],
            f"exact_{dump}": exact.duplicates[dump],
            f"near_{dump}": near[dump],
        }
    return Copies(counts)


def _point_to_survivors(out: Path, dump: str, *, memory_limit: str) -> None:
    """Where what an exact copy is a copy of goes as a near copy itself, name the document that stays instead."""
    exact, resolved = out / f"duplicates-{dump}.parquet", out / f".resolved-{dump}.parquet"
    with duckdb.connect(config={"memory_limit": memory_limit, "threads": 2}) as connection:
        rows = connection.sql(
            "SELECT exact.doc_id, coalesce(near.duplicate_of, exact.duplicate_of) AS duplicate_of "
            "FROM read_parquet(?) AS exact LEFT JOIN read_parquet(?) AS near ON exact.duplicate_of = near.doc_id "
            "ORDER BY exact.doc_id",
            params=[str(exact), str(out / "near-duplicates-*.parquet")],
        )
        with TableWriter(resolved, DUPLICATES) as writer:
            for batch in rows.to_arrow_reader(_BATCH_ROWS):
                writer.write(pa.Table.from_batches([batch]))
    resolved.replace(exact)


def lost_shares(counts: Mapping[str, int], dumps: Sequence[str]) -> dict[str, float]:
    """By dump: the share of its documents that go as copies, from the counts of ``Copies``."""
    return {
        dump: (counts[f"exact_{dump}"] + counts[f"near_{dump}"]) / max(counts[f"documents_{dump}"], 1) for dump in dumps
    }
