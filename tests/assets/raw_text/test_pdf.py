from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader, PdfWriter

from assets.raw_text.errors import RawTextError
from assets.raw_text.pdf import mend_divided_words, read_pdf
from assets.raw_text.records import Record


def assemble(objects: list[bytes], trailer: bytes = b"") -> bytes:
    """A PDF of these objects, numbered from 1; the first is the catalogue."""
    out = bytearray(b"%PDF-1.7\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<</Size %d /Root 1 0 R %s>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, trailer, start)
    return bytes(out)


def stream(data: bytes) -> bytes:
    packed = zlib.compress(data)
    return b"<</Length %d /Filter /FlateDecode>>\nstream\n%s\nendstream" % (len(packed), packed)


def pdf(pages: list[list[str]], *, information: bytes = b"") -> bytes:
    """A PDF with these lines on each page, in Helvetica, or in a font with its own table if they are not Latin."""
    kids = b" ".join(b"%d 0 R" % (8 + 2 * number) for number in range(len(pages)))
    characters = sorted({character for lines in pages for line in lines for character in line})
    codes = {character: number + 1 for number, character in enumerate(characters)}
    table = b"".join(
        b"<%04X> <%s>\n" % (code, character.encode("utf-16-be").hex().encode()) for character, code in codes.items()
    )
    to_unicode = (
        b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /X def /CMapType 2 def\n"
        b"1 begincodespacerange <0000> <FFFF> endcodespacerange\n%d beginbfchar\n%sendbfchar\n"
        b"endcmap CMapName currentdict /CMap defineresource pop end end" % (len(codes), table)
    )
    objects = [
        b"<</Type /Catalog /Pages 2 0 R>>",
        b"<</Type /Pages /Kids [%s] /Count %d>>" % (kids, len(pages)),
        b"<</Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding>>",
        b"<</Type /Font /Subtype /Type0 /BaseFont /Song /Encoding /Identity-H /DescendantFonts [5 0 R] "
        b"/ToUnicode 6 0 R>>",
        b"<</Type /Font /Subtype /CIDFontType2 /BaseFont /Song /CIDSystemInfo <</Registry (Adobe) /Ordering (Identity) "
        b"/Supplement 0>> /DW 1000>>",
        stream(to_unicode),
        b"<<%s>>" % information,
    ]
    for number, lines in enumerate(pages):
        content = b"BT 14 TL 50 700 Td "
        for line in lines:
            if line.isascii():
                content += b"/F1 12 Tf (%s) Tj T* " % line.replace("(", r"\(").replace(")", r"\)").encode()
            else:
                content += b"/F2 12 Tf <%s> Tj T* " % b"".join(b"%04X" % codes[character] for character in line)
        objects += [
            b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents %d 0 R "
            b"/Resources <</Font <</F1 3 0 R /F2 4 0 R>>>>>>" % (9 + 2 * number),
            stream(content + b"ET"),
        ]
    return assemble(objects, b"/Info 7 0 R")


@pytest.fixture
def records(tmp_path: Path, source: Callable[..., Any]) -> Callable[..., list[Record]]:
    def read(data: bytes, *, mend_hyphens: bool = True, **fields: Any) -> list[Record]:
        path = tmp_path / "a.pdf"
        path.write_bytes(data)
        return list(read_pdf(path, source(**fields), mend_hyphens=mend_hyphens))

    return read


def reason(found: list[Record]) -> str:
    (record,) = found
    assert record.invalid is not None
    return record.invalid


def test_the_text_layer_is_one_document(records: Callable[..., list[Record]]) -> None:
    information = b"/Title (The Harbour) /Author <FEFF5468> /CreationDate (D:20260102030405Z)"
    data = pdf([["The harbour was", "not awake yet."], ["Boats lay."], []], information=information)
    (record,) = records(data)
    assert record.text == "The harbour was\nnot awake yet.\n\nBoats lay."
    assert (record.byte_start, record.byte_end, record.invalid) == (0, 3, None)
    assert json.loads(record.metadata) == {
        "title": "The Harbour",
        "author": "周",
        "date": "2026-01-02T03:04:05+00:00",
        "pages": 3,
        "pages_without_text": 1,
    }


def test_the_identity_is_the_files(records: Callable[..., list[Record]]) -> None:
    first, again, other = (records(pdf([[text]]))[0].raw for text in ("a b", "a b", "a c"))
    assert first == again != other


def test_a_font_with_its_own_table(records: Callable[..., list[Record]]) -> None:
    (record,) = records(pdf([["清晨的码头还没有醒来，", "渔船一只挨着一只。"]]))
    assert record.text == "清晨的码头还没有醒来，\n渔船一只挨着一只。"


def test_half_a_surrogate_pair_in_a_table(records: Callable[..., list[Record]]) -> None:
    whole = pdf([["清\U00020000"]])
    assert records(whole)[0].text == "清\U00020000"
    broken = pdf([["清晨"]])
    start, end = broken.index(b"stream\n") + 7, broken.index(b"\nendstream")
    packed = zlib.compress(zlib.decompress(broken[start:end]).replace(b"<6668>", b"<d840>"))
    lone = broken[:start] + packed + broken[end:]
    lone = lone.replace(b"/Length %d " % (end - start), b"/Length %d " % len(packed), 1)
    text = records(lone)[0].text
    assert text.startswith("清") and "晨" not in text and text.encode()


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("the har-\nbour was", "the harbour was"),
        ("le déjeu\u00ad\nner est", "le déjeuner est"),
        ("a well-\nknown and well-known man", "a well-known and well-known man"),
        ("an F-\n16 and a U-\nBoot", "an F-\n16 and a U-\nBoot"),
        ("he said -\nand left", "he said -\nand left"),
        ("第一-\n第二", "第一-\n第二"),
        ("no line ends here", "no line ends here"),
    ],
)
def test_words_that_a_lines_end_divides(text: str, mended: str) -> None:
    assert mend_divided_words(text) == mended


def test_mending_is_a_setting(records: Callable[..., list[Record]]) -> None:
    data = pdf([["the har-", "bour"]])
    assert records(data)[0].text == "the harbour"
    assert records(data, mend_hyphens=False)[0].text == "the har-\nbour"


def test_a_scan_has_no_text_layer(records: Callable[..., list[Record]]) -> None:
    assert reason(records(pdf([[], []]))).startswith("has no text layer (2 pages of pictures")


def encrypted(password: str) -> bytes:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf([["secret words"]]))))
    writer.encrypt(password, owner_password="owner", algorithm="RC4-128")
    packed = io.BytesIO()
    writer.write(packed)
    return packed.getvalue()


def test_encrypted_files(records: Callable[..., list[Record]]) -> None:
    assert reason(records(encrypted("password"))) == "is encrypted; save it without a password"
    assert records(encrypted(""))[0].text == "secret words"


def test_damaged_files(records: Callable[..., list[Record]]) -> None:
    whole = pdf([["a line"]])
    for data in (b"", b"plain words", whole[:60], b"%PDF-1.7\n" + b"\0" * 2000):
        assert reason(records(data)).startswith("is no PDF or is damaged (")
    no_page = assemble([b"<</Type /Catalog /Pages 2 0 R>>", b"<</Type /Pages /Kids [] /Count 0>>"])
    assert reason(records(no_page)) == "is no PDF or is damaged (it has no page); fetch it again"


def test_any_damaged_byte_ends_in_a_document_or_a_reason(records: Callable[..., list[Record]]) -> None:
    whole = pdf([["The harbour was", "渔船一只"]], information=b"/Title (T) /CreationDate (D:2026)")
    for position in range(0, len(whole), 41):
        for value in (b"\0", b"(", b"9"):
            (record,) = records(whole[:position] + value + whole[position + 1 :])
            assert record.invalid or record.text.encode()


def test_a_document_that_is_too_large(records: Callable[..., list[Record]]) -> None:
    data = pdf([["words " * 100]] * 3)
    assert reason(records(data, maximum_document_bytes=1024)) == "the document is larger than 1,024 bytes"


def test_documents_as_a_source(read: Callable[..., Any]) -> None:
    files = {"a.pdf": pdf([["the har-", "bour"]]), "b.pdf": pdf([[]]), "c.PDF": pdf([["渔船"]]), "d.txt": b"no"}
    reading = read(files, format="pdf", on_invalid="skip", mend_hyphens=False)
    assert reading.texts == ["the har-\nbour", "渔船"]
    assert [(row["path"], row["reason"][:18]) for row in reading.skipped] == [("b.pdf", "has no text layer ")]
    with pytest.raises(RawTextError, match=r"file b\.pdf: has no text layer"):
        read(files, format="pdf")
