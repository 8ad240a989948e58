"""Lines or paragraphs that too many documents have, by their hashes alone."""

from __future__ import annotations

import duckdb

from assets.clean_text.repeated_text.settings import Mode

_KINDS = {"lines": "repeated_line", "paragraphs": "repeated_paragraph"}


def cut_lines(connection: duckdb.DuckDBPyConnection, name: str, *, mode: Mode, documents: int) -> None:
    """Insert into the table ``cuts`` what goes of the view ``<name>`` (see ``corpus.view_hashes``).

    Args:
        connection: With the table ``cuts`` (rank, kind, byte_start, byte_end, copy).
        name: "lines" or "paragraphs".
        mode: "first": what more than so many documents have stays in that of the lowest rank, as often as it stands
            there. "boilerplate": what more than so many documents of a source have goes from all of them.
        documents: How many.
    """
    group, copy = {"first": ("hash", "first"), "boilerplate": ("hash, source", "NULL")}[mode]
    connection.execute(
        f"CREATE TABLE repeated AS SELECT {group}, min(rank) AS first "
        f"FROM (SELECT DISTINCT {group}, rank FROM {name}) GROUP BY {group} HAVING count(*) > ?",
        [documents],
    )
    connection.execute(
        f"INSERT INTO cuts SELECT rank, ?, byte_start, byte_end, {copy} FROM {name} JOIN repeated USING ({group}) "
        f"WHERE {copy} IS DISTINCT FROM rank",
        [_KINDS[name]],
    )
    connection.execute("DROP TABLE repeated")
