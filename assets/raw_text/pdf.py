"""PDF: the text layer of all pages as one document, read by pypdf."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import regex
from pypdf import PdfReader
from pypdf.errors import DependencyError

from assets.raw_text.catalogue import Source
from assets.raw_text.metadata import NO_METADATA, metadata_json
from assets.raw_text.records import Record
from training.artifact import file_sha256

# A word that a line's end divides: Latin and lower case on both sides, so that neither 'F-' and '16' nor a dash is one.
_DIVIDED = regex.compile(r"\b((?:\p{Latin}|\p{M})*\p{Ll})[-\u2010\u00ad]\n(?=\p{Latin})(\p{Ll}(?:\p{Latin}|\p{M})*)\b")
_HYPHENATED = regex.compile(r"\p{Latin}+[-\u2010]\p{Latin}+")


class _DocumentError(ValueError):
    """Why a file cannot be read."""


def read_pdf(path: Path, source: Source, *, mend_hyphens: bool = True) -> Iterator[Record]:
    """The document, or the reason why there is none.

    Pages are separated by a blank line; lines are those of the page. ``byte_start`` and ``byte_end`` count pages from
    0; the identity is made of the file's SHA-256. Metadata: title, author, date, pages, and pages_without_text if there
    are any (scanned ones).

    Args:
        path: The PDF.
        source: Its limits.
        mend_hyphens: Put words together that the end of a line divides; see ``mend_divided_words``.
    """
    with path.open("rb") as file:
        try:
            texts, description = _read(file, source.maximum_document_bytes)
        except _DocumentError as error:
            yield _invalid(str(error))
            return
    empty = sum(not text for text in texts)
    if empty == len(texts):
        yield _invalid(f"has no text layer ({len(texts)} pages of pictures, as a scan has); recognise its text first")
        return
    text = "\n\n".join(filter(None, texts))
    metadata = metadata_json(description | {"pages": len(texts), "pages_without_text": empty or None})
    raw = bytes.fromhex(file_sha256(path))
    yield Record(mend_divided_words(text) if mend_hyphens else text, raw, 0, len(texts), None, metadata)


def mend_divided_words(text: str) -> str:
    """Put together words of the Latin script that a hyphen at the end of a line divides.

    A word that stands with its hyphen inside a line elsewhere in the same text (``well-known``) keeps it.
    """
    if "-\n" not in text and "\u2010\n" not in text and "\u00ad\n" not in text:
        return text
    hyphenated = {word.replace("\u2010", "-").lower() for word in _HYPHENATED.findall(text)}

    def mend(match: regex.Match[str]) -> str:
        keeps = f"{match[1]}-{match[2]}".lower() in hyphenated
        return f"{match[1]}{'-' if keeps else ''}{match[2]}"

    return _DIVIDED.sub(mend, text)


def _read(file: BinaryIO, maximum_bytes: int) -> tuple[list[str], dict[str, str]]:
    """The text of each page, and title, author and date."""
    try:
        reader = PdfReader(file, strict=False)
        # Many files are encrypted with an empty password: they may be read, but not changed.
        if reader.is_encrypted and not reader.decrypt(""):
            raise _DocumentError("is encrypted; save it without a password")
        texts = []
        size = 0
        for page in reader.pages:
            texts.append(_unicode(page.extract_text()).strip())
            size += len(texts[-1].encode())
            if size > maximum_bytes:
                raise _DocumentError(f"the document is larger than {maximum_bytes:,} bytes")
        if not texts:
            raise _DocumentError("is no PDF or is damaged (it has no page); fetch it again")
        return texts, _description(reader)
    except _DocumentError:
        raise
    except DependencyError as error:
        raise _DocumentError(f"cannot be decrypted without another package: {error}") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise _damaged(error) from None
    except Exception as error:  # pypdf trusts a damaged file, and fails on it in any way
        raise _damaged(error) from None


def _description(reader: PdfReader) -> dict[str, str]:
    found: dict[str, str] = {}
    information = reader.metadata
    if information is None:
        return found
    # A file with a damaged date is still a document.
    with suppress(Exception):
        found["title"] = _unicode(information.title or "").strip()
    with suppress(Exception):
        found["author"] = _unicode(information.author or "").strip()
    with suppress(Exception):
        found["date"] = information.creation_date.isoformat() if information.creation_date else ""
    return found


def _unicode(text: str) -> str:
    """Pairs of surrogates as characters, half a pair as U+FFFD: a font's table may name either."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _damaged(error: BaseException) -> _DocumentError:
    return _DocumentError(f"is no PDF or is damaged ({type(error).__name__}: {error}); fetch it again")


def _invalid(reason: str) -> Record:
    return Record("", b"", 0, 1, None, NO_METADATA, reason)
