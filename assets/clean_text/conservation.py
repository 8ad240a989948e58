"""The proof that no document was lost or invented between reading and cleaning."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from assets.clean_text.errors import CleanTextError
from assets.clean_text.rules import EXACT_DUPLICATE, NEAR_DUPLICATE, UNREADABLE
from assets.clean_text.tables import document_files


@dataclass(frozen=True)
class Conservation:
    """Rows on both sides of the cleaning of a dump.

    Attributes:
        read: Documents of the raw text stage.
        unreadable: Rows which that stage skipped.
        kept: Ledger rows that are kept.
        dropped: Ledger rows that are dropped.
        documents: Clean documents.
        violations: What does not hold, in sentences; empty if all is well.
    """

    read: int
    unreadable: int
    kept: int
    dropped: int
    documents: int
    violations: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether rows in = kept + dropped, with nothing lost, invented or counted twice."""
        return not self.violations


def check_conservation(raw_text: Path, clean_text: Path, *, memory_limit: str = "512MB") -> Conservation:
    """Compare the raw documents, the ledger and the clean documents of a dump by their ids; texts are not read.

    Args:
        raw_text: Folder of the raw text stage.
        clean_text: Folder that ``finish_documents`` wrote.
        memory_limit: Of DuckDB.

    Raises:
        CleanTextError: If documents or ledger are missing.
    """
    if not (clean_text / "ledger.parquet").is_file():
        raise CleanTextError(f"{clean_text} holds no ledger.parquet; run the stage that writes it again")
    with duckdb.connect(config={"memory_limit": memory_limit, "threads": 2}) as connection:

        def count(query: str) -> int:
            (number,) = connection.execute(query).fetchone() or (0,)
            return int(number)

        def repeated(table: str) -> int:
            return count(f"SELECT count(*) FROM (FROM {table} SELECT doc_id GROUP BY doc_id HAVING count(*) > 1)")

        def view(name: str, files: list[Path], columns: str = "*") -> None:
            connection.read_parquet([str(file) for file in files]).project(columns).create_view(name)

        view("read", document_files(raw_text), "doc_id")
        view("clean", document_files(clean_text), "doc_id")
        view("ledger", [clean_text / "ledger.parquet"])
        skipped = raw_text / "skipped.parquet"
        unreadable = pq.ParquetFile(skipped).metadata.num_rows if skipped.is_file() else 0
        read, documents = count("SELECT count(*) FROM read"), count("SELECT count(*) FROM clean")
        kept = count("SELECT count(*) FROM ledger WHERE kept")
        dropped = count("SELECT count(*) FROM ledger WHERE NOT kept")
        readable = f"SELECT doc_id FROM ledger WHERE rule IS DISTINCT FROM '{UNREADABLE}'"
        numbers = {
            "rows that were read or skipped are missing in the ledger or were added to it": read
            + unreadable
            - kept
            - dropped,
            "rows that were skipped at reading are not in the ledger as unreadable": unreadable
            - count(f"SELECT count(*) FROM ledger WHERE rule = '{UNREADABLE}'"),
            "document ids occur twice among the documents read": repeated("read"),
            "document ids occur twice in the ledger": repeated("ledger"),
            "document ids occur twice among the clean documents": repeated("clean"),
            "documents that were read have no ledger row": count(
                f"SELECT count(*) FROM read ANTI JOIN ({readable}) USING (doc_id)"
            ),
            "ledger rows belong to no document that was read": count(
                f"SELECT count(*) FROM ({readable}) ANTI JOIN read USING (doc_id)"
            ),
            "documents the ledger keeps are not among the clean ones": count(
                "SELECT count(*) FROM (FROM ledger WHERE kept) ANTI JOIN clean USING (doc_id)"
            ),
            "clean documents are not kept in the ledger": count(
                "SELECT count(*) FROM clean ANTI JOIN (FROM ledger WHERE kept) USING (doc_id)"
            ),
            "dropped documents have no rule": count("SELECT count(*) FROM ledger WHERE NOT kept AND rule IS NULL"),
            "kept documents have a rule that dropped them": count(
                "SELECT count(*) FROM ledger WHERE kept AND rule IS NOT NULL"
            ),
            "copies do not name the document they are a copy of": count(
                "SELECT count(*) FROM ledger WHERE (duplicate_of IS NOT NULL) <> "
                f"(coalesce(rule, '') IN ('{EXACT_DUPLICATE}', '{NEAR_DUPLICATE}'))"
            ),
        }
    violations = tuple(f"{abs(number)} {what}" for what, number in numbers.items() if number)
    return Conservation(read, unreadable, kept, dropped, documents, violations)
