"""Reads one source: its files become documents, and what cannot be read becomes an error or a row that says so.

Written to the output folder:

- ``documents-*.parquet``: schema ``DOCUMENTS``, in the order of the files and of their bytes
- ``files.parquet``: schema ``FILES``, a row for each member file
- ``skipped.parquet``: schema ``SKIPPED``, a row for each place that was skipped
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from assets.raw_text.archive import is_archive, read_members, strip_archive
from assets.raw_text.catalogue import RECORD_FORMATS, Source
from assets.raw_text.compression import UnpackedStream, compression, strip_compression
from assets.raw_text.copies import number_copies
from assets.raw_text.downloads import disk_errors
from assets.raw_text.epub import read_epub
from assets.raw_text.errors import RawTextError
from assets.raw_text.fetch import LocalFile, format_of, is_wanted, nothing_matches
from assets.raw_text.globs import matches
from assets.raw_text.html import PageError, decode, extract_records, page_record
from assets.raw_text.layouts import LAYOUTS
from assets.raw_text.pdf import read_pdf
from assets.raw_text.records import Record, read_csv, read_jsonl, read_parquet
from assets.raw_text.source_writer import MemberWriter, RawTextReport, SourceWriter
from assets.raw_text.splitting import (
    LINE,
    LINE_WITH_END,
    DocumentSplitter,
    InexactEncodingError,
    Separator,
    UndetectedEncodingError,
    separator,
)
from assets.raw_text.warc import read_warc
from assets.raw_text.wikipedia import read_wikipedia

_EXAMPLES = 1000
_BLOCK_BYTES = 1 << 20


def read_source(source: Source, files: Sequence[LocalFile], *, out: Path) -> RawTextReport:
    """Read all files of a source into an empty folder; see the module's description.

    Memory is bounded by a document, a row group and what ``number_copies`` allows DuckDB, not by a file. The bytes
    written depend on the files' content and names and on the source's settings alone; the set of identities does not
    even depend on how the content is cut into files.

    Args:
        source: An entry of the catalogue.
        files: Its files, as ``locate`` gives them.
        out: Empty folder.

    Raises:
        RawTextError: If a file is damaged, unsafe, empty or holds what cannot be read (unless ``on_invalid`` is skip),
            if a file changes meanwhile, no member matches, no document is found, or the disk is full.
    """
    where = f"source '{source.name}'"
    before = {file.path: _state(file.path) for file in files}
    with disk_errors(out, where):
        with SourceWriter(source, out) as output:
            existing: list[str] = []
            for file in files:
                _read_file(file, source, output, existing)
                if _state(file.path) != before[file.path]:
                    raise RawTextError(
                        f"{where}, file {file.name} changed while it was read; run this dump again when nothing writes "
                        "to it any more"
                    )
            if not output.files:
                raise nothing_matches(where, source, existing)
            if not output.documents:
                raise RawTextError(
                    f"{where} has no document in its {output.files} files ({output.skipped} rows skipped); "
                    "correct 'uri', 'include' or 'documents'"
                )
        number_copies(out, where=where)
    return output.report()


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _read_file(file: LocalFile, source: Source, output: SourceWriter, existing: list[str]) -> None:
    where = f"source '{source.name}', file {file.name}"
    limits: dict[str, Any] = {
        "maximum_bytes": source.maximum_unpacked_bytes,
        "maximum_ratio": source.maximum_compression_ratio,
    }
    if not is_archive(file.name):
        with file.path.open("rb") as stream:
            ending = compression(file.name)
            unpacked = UnpackedStream(stream, ending, where=where, **limits)
            _read_member(strip_compression(file.name), unpacked, None if ending else file.path, source, output)
        return
    # An archive that is itself named by 'include' is read whole.
    everything = file.listed and bool(source.include) and matches(file.name, source.include)
    choice = source.model_copy(update={"include": []}) if everything else source

    def wanted(path: str) -> bool:
        if len(existing) < _EXAMPLES:
            existing.append(path)
        return is_wanted(path, choice, ending_matters=True)

    prefix = strip_archive(file.name) + "/" if file.listed else ""
    for member in read_members(file.path, file.name, where=where, wanted=wanted, **limits):
        inner = UnpackedStream(
            member.stream, compression(member.path), where=f"{where}, member {member.path}", **limits
        )
        _read_member(prefix + strip_compression(member.path), inner, None, source, output)


def _read_member(path: str, stream: UnpackedStream, on_disk: Path | None, source: Source, output: SourceWriter) -> None:
    where = f"source '{source.name}', file {path}"
    if is_archive(path):
        raise RawTextError(f"{where} is an archive inside an archive; unpack it, or name it under 'exclude'")
    told = format_of(path)
    if told != "txt" and "format" not in source.model_fields_set:
        raise RawTextError(
            f"{where} would be read as plain text, since the source has no 'format'; write 'format: {told}', or "
            "'format: txt' if that is meant"
        )
    with output.file(path) as member:
        if _is_read_as_a_file(path, source):
            with tempfile.NamedTemporaryFile(dir=output.folder, prefix=".member-") as copy:
                if on_disk is None:
                    shutil.copyfileobj(cast(BinaryIO, stream), copy, _BLOCK_BYTES)
                    copy.flush()
                file = on_disk or Path(copy.name)
                member.size = file.stat().st_size
                member.add(_read_whole(file, source, where) if member.size else iter(()))
            return
        if source.format == "html":
            _read_page(stream, source, member)
            return
        if source.format in ("warc", "wikipedia"):
            read = read_warc if source.format == "warc" else read_wikipedia
            member.add(read(stream, source, member.left_out))
            member.size = stream.unpacked
            return
        splitter = DocumentSplitter(
            stream,
            _separator(source),
            encoding=source.encoding,
            maximum_bytes=source.maximum_document_bytes,
            language=source.language,
            strip=source.format != "csv",
        )
        try:
            member.add(_records(splitter, source, where))
        except UndetectedEncodingError as error:
            member.encoding, member.size = None, splitter.size
            member.refuse(
                f"{error}; name its encoding under 'encoding', or, if it is no text, the file under 'exclude'"
            )
            return
        except InexactEncodingError as error:
            raise RawTextError(f"{where}: {error}; convert the file to UTF-8") from None
        member.encoding, member.size = splitter.encoding or "ascii", splitter.size


def _is_read_as_a_file(path: str, source: Source) -> bool:
    """Whether the format's reader goes to and fro in the member, so that a stream will not do."""
    return source.format in ("parquet", "epub", "pdf") or (
        source.format in LAYOUTS and path.lower().endswith(".parquet")
    )


def _read_whole(file: Path, source: Source, where: str) -> Iterator[Record]:
    if source.format == "epub":
        return read_epub(file, source, by_chapter=source.documents.by == "chapter")
    if source.format == "pdf":
        return read_pdf(file, source, mend_hyphens=source.mend_hyphens)
    return _pages(read_parquet(file, source, where=where), source)


def _separator(source: Source) -> Separator | None:
    if source.format == "csv":
        return LINE_WITH_END
    return LINE if source.format in RECORD_FORMATS else separator(source.documents)


def _read_page(stream: UnpackedStream, source: Source, member: MemberWriter) -> None:
    limit = min(source.html.maximum_bytes, source.maximum_document_bytes)
    data = bytearray()
    while block := stream.read(_BLOCK_BYTES):
        member.size += len(block)
        if len(data) <= limit:
            data += block
    if not data:
        return
    if len(data) > limit:
        member.refuse(f"the page is larger than {limit:,} bytes (html.maximum_bytes or maximum_document_bytes)")
        return
    raw = bytes(data)
    try:
        text, member.encoding = decode(raw, encoding=source.encoding, language=source.language)
    except PageError as error:
        member.refuse(str(error))
        return
    member.add(iter([page_record(Record("", raw, 0, len(raw), None), text, source.html)]))


def _records(splitter: DocumentSplitter, source: Source, where: str) -> Iterator[Record]:
    if source.format == "jsonl" or source.format in LAYOUTS:
        return _pages(read_jsonl(splitter, source), source)
    if source.format == "csv":
        return _pages(read_csv(splitter, source, where=where), source)
    by_line = source.documents.by == "line"
    return (
        Record(
            piece.text,
            piece.raw,
            piece.byte_start,
            piece.byte_end,
            piece.number if by_line else None,
            invalid=piece.invalid,
        )
        for piece in splitter.pieces()
    )


def _pages(records: Iterator[Record], source: Source) -> Iterator[Record]:
    return extract_records(records, source.html) if source.markup == "html" else records
