from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.raw_text.errors import RawTextError
from assets.raw_text.fetch import LocalFile, locate, source_identity
from assets.raw_text.reader import read_source
from tests.assets.raw_text.samples import ARCHIVES, CHINESE, COMPRESSIONS, ENGLISH, FRENCH, TRADITIONAL, compress, pack
from training.artifact import Artifact, build_artifact

Read = Callable[..., Any]
MakeSource = Callable[..., Any]
LINES = [line for line in CHINESE.split("\n") if line]


def of_format(format: str) -> tuple[str, bytes]:
    """A file's name and content, with the three lines as they are in each format."""
    if format == "jsonl":
        return "a.jsonl", "".join(json.dumps({"text": line}) + "\n" for line in LINES).encode()
    if format == "csv":
        text = io.StringIO()
        csv.writer(text).writerows([["text"], *[[line] for line in LINES]])
        return "a.csv", text.getvalue().encode()
    if format == "parquet":
        packed = io.BytesIO()
        pq.write_table(pa.table({"text": LINES}), packed)
        return "a.parquet", packed.getvalue()
    return {"txt": "a.txt", "markdown": "a.md"}[format], CHINESE.encode()


FORMATS = ["txt", "markdown", "jsonl", "csv", "parquet"]
BY_LINE: dict[str, dict[str, Any]] = {
    format: {"format": format} | ({"documents": {"by": "line"}} if format in ("txt", "markdown") else {})
    for format in FORMATS
}


def test_a_file_of_records_is_plain_text_where_that_is_said(read: Read) -> None:
    assert read({"a.json": b'{"text": "a"}'}, format="txt").texts == ['{"text": "a"}']
    assert read({"a.md": b"# a"}).texts == ["# a"]


@pytest.mark.parametrize("format", FORMATS)
def test_documents_are_the_same_however_they_are_packed(read: Read, format: str) -> None:
    name, data = of_format(format)
    plain = read({name: data}, **BY_LINE[format])
    assert plain.texts == LINES
    assert {row["path"] for row in plain.documents} == {name}
    for ending in COMPRESSIONS:
        assert read({name + ending: compress(data, ending)}, **BY_LINE[format]).documents == plain.documents
        inner = pack({name + ending: compress(data, ending)}, "b.zip")
        assert read({"b.zip": inner}, **BY_LINE[format]).documents == plain.documents
    for ending in ARCHIVES:
        packed = read({"b" + ending: pack({name: data, "b.jpg": b"\xff\xd8"}, ending)}, **BY_LINE[format])
        assert packed.documents == plain.documents
        assert packed.files == plain.files


@pytest.mark.parametrize(
    ("text", "encoding", "found"),
    [
        (CHINESE, "utf-8", "utf-8"),
        (CHINESE, "utf-8-sig", "utf-8"),
        (CHINESE, "utf-16", "utf-16-le"),
        (CHINESE, "utf-16-le", "utf-16-le"),
        (CHINESE, "utf-16-be", "utf-16-be"),
        (CHINESE, "gb18030", "gb18030"),
        (CHINESE, "gbk", "gb18030"),
        (TRADITIONAL, "big5", "big5"),
        (FRENCH, "utf-8", "utf-8"),
        (FRENCH, "latin-1", "cp1252"),
        (FRENCH, "cp1252", "cp1252"),
        (ENGLISH, "cp1252", "cp1252"),
        (ENGLISH, "utf-16-be", "utf-16-be"),
        ("plain words", "ascii", "ascii"),
    ],
)
def test_encodings_are_told_for_each_file(read: Read, text: str, encoding: str, found: str) -> None:
    data = text.encode(encoding)
    reading = read({"a.txt": data, "b.txt": b"words"}, documents={"by": "line"})
    assert reading.texts == [line for line in text.split("\n") if line] + ["words"]
    assert [(row["path"], row["size"], row["encoding"]) for row in reading.files] == [
        ("a.txt", len(data), found),
        ("b.txt", 5, "ascii"),
    ]
    for row in reading.documents[:-1]:
        assert data[row["byte_start"] : row["byte_end"]].decode(found) == row["text"]


@pytest.mark.parametrize("format", ["txt", "html", "warc"])
def test_the_language_of_a_source_tells_the_encoding_of_its_files(read: Read, format: str) -> None:
    text = "Był to piękny dzień, żeby iść nad rzekę i łowić ryby."
    data = (text if format == "txt" else f"<p>{text}</p>").encode("iso8859-2")
    if format == "warc":
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"
        data = (
            b"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: https://example.org/\r\n"
            b"WARC-Record-ID: <urn:uuid:1>\r\nWARC-Date: 2026-01-01T00:00:00Z\r\n"
            b"Content-Type: application/http; msgtype=response\r\n"
            b"Content-Length: %d\r\n\r\n%b%b\r\n\r\n" % (len(head + data), head, data)
        )
    assert read({f"a.{format}": data}, format=format, language="pl").texts == [text]


def test_a_row_says_where_a_document_comes_from(read: Read) -> None:
    reading = read(
        {"b.zip": pack({"书/a.txt": "好\n\n好的\n".encode()}, "b.zip")},
        name="dump-1",
        source="shop",
        licence="CC0-1.0",
        language="zh",
        documents={"by": "blank_line"},
    )
    first, second = reading.documents
    assert len(first.pop("doc_id")) == 32
    assert first == {
        "text": "好",
        "source": "shop",
        "dump": "dump-1",
        "path": "书/a.txt",
        "byte_start": 0,
        "byte_end": 3,
        "licence": "CC0-1.0",
        "language": "zh",
        "metadata": "{}",
    }
    assert (second["byte_start"], second["byte_end"]) == (5, 11)


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ({"by": "file"}, ["# 一\n雨\n\n# 二\n风"]),
        ({"by": "line"}, ["# 一", "雨", "# 二", "风"]),
        ({"by": "blank_line"}, ["# 一\n雨", "# 二\n风"]),
        ({"by": "regex", "pattern": "(?m)^# "}, ["# 一\n雨", "# 二\n风"]),
        ({"by": "regex", "pattern": "(?m)^# .*\n", "drop_match": True}, ["雨", "风"]),
    ],
)
def test_how_a_text_becomes_documents(read: Read, documents: dict[str, Any], expected: list[str]) -> None:
    assert read({"a.md": "# 一\n雨\n\n# 二\n风\n".encode()}, format="markdown", documents=documents).texts == expected


def test_files_of_a_folder_and_archives_in_it(read: Read) -> None:
    reading = read(
        {
            "z.txt": b"last",
            "a/b.txt": b"first",
            "c.zip": pack({"n.txt": b"second", "m.txt.gz": compress(b"third", ".gz"), "o.md": b"no"}, ".zip"),
            "d.txt.xz": compress(b"fourth", ".xz"),
            ".hidden.txt": b"no",
            "picture.jpg": b"no",
        }
    )
    assert [(row["path"], row["text"]) for row in reading.documents] == [
        ("a/b.txt", "first"),
        ("c/n.txt", "second"),
        ("c/m.txt", "third"),
        ("d.txt", "fourth"),
        ("z.txt", "last"),
    ]
    assert reading.report.files == 5


def test_include_and_exclude_choose_members(read: Read) -> None:
    packed = pack({"x/a.txt": b"a", "x/b.txt": b"b", "y/a.txt": b"c", "README": b"d"}, ".tar.gz")
    assert read({"b.tar.gz": packed}).texts == ["a", "b", "c"]
    assert read({"b.tar.gz": packed}, include=["README", "/x/*"]).texts == ["a", "b", "d"]
    assert read({"b.tar.gz": packed}, exclude=["a.txt"]).texts == ["b"]


def test_an_archive_named_by_include_is_read_whole(read: Read) -> None:
    files = {"a.zip": pack({"a.txt": b"a"}, ".zip"), "b.zip": pack({"b.txt": b"b"}, ".zip"), "c.txt": b"c"}
    assert read(files, include=["a.zip"], exclude=["b.zip"]).texts == ["a"]
    assert read(files, include=["b.txt"]).texts == ["b"]


def test_the_same_source_gives_the_same_bytes(source: MakeSource, tmp_path: Path) -> None:
    entry = source(uri="a.txt", documents={"by": "line"})
    for machine, data in (("one", CHINESE), ("two", CHINESE)):
        (tmp_path / machine / "out").mkdir(parents=True)
        (tmp_path / machine / "a.txt").write_text(data, encoding="utf-8")
        places = locate(entry, folder=tmp_path / machine, downloads=tmp_path / machine / "downloads")
        read_source(entry, places, out=tmp_path / machine / "out")
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / m / "out").iterdir()} for m in ("one", "two")
    )
    assert first == second


@settings(max_examples=25, deadline=None)
@given(
    texts=st.lists(st.text(st.sampled_from("ab好\n é"), min_size=1, max_size=30), min_size=1, max_size=4),
    ending=st.sampled_from([*COMPRESSIONS, *ARCHIVES]),
    by=st.sampled_from(["file", "line", "blank_line"]),
)
def test_identities_do_not_depend_on_the_packing(read: Read, texts: list[str], ending: str, by: str) -> None:
    files = {f"{number}.txt": text.encode() for number, text in enumerate(["a", *texts]) if text.strip()}
    fields = {"documents": {"by": by}, "encoding": "utf-8"}
    plain = read(files, uri="input", **fields)
    if ending in COMPRESSIONS:
        packed = read({name + ending: compress(data, ending) for name, data in files.items()}, uri="input", **fields)
    else:
        packed = read({"b" + ending: pack(files, ending)}, **fields)
    assert packed.documents == plain.documents
    assert len(set(plain.ids)) == len(plain.ids)


def test_a_copy_elsewhere_has_another_identity(read: Read) -> None:
    reading = read({"a.txt": b"same\nsame", "b.txt": b"same"}, documents={"by": "line"})
    assert reading.texts == ["same"] * 3
    assert len(set(reading.ids)) == 3


RECORDS: dict[str, dict[str, Any]] = {
    "line": {"documents": {"by": "line"}},
    "blank_line": {"documents": {"by": "blank_line"}},
    "regex": {"documents": {"by": "regex", "pattern": "(?m)^# "}},
    "file": {},
    "jsonl": {"format": "jsonl", "id_field": "n"},
    "csv": {"format": "csv", "id_field": "n"},
    "parquet": {"format": "parquet", "id_field": "n", "encoding": None},
}


def shard(records: list[tuple[str, int]], kind: str) -> bytes:
    """One file with these (text, number)."""
    if kind == "jsonl":
        return "".join(json.dumps({"text": text, "n": number}) + "\n" for text, number in records).encode()
    if kind == "csv":
        text_file = io.StringIO()
        csv.writer(text_file).writerows([["text", "n"], *records])
        return text_file.getvalue().encode()
    if kind == "parquet":
        packed = io.BytesIO()
        pq.write_table(pa.table({"text": [r[0] for r in records], "n": [r[1] for r in records]}), packed)
        return packed.getvalue()
    between = {"line": "\n", "blank_line": "\n\n", "regex": "\n# ", "file": ""}[kind]
    return ("# " if kind == "regex" else "").encode() + between.join(text for text, _ in records).encode()


@pytest.mark.parametrize("kind", RECORDS)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_identities_do_not_depend_on_how_a_source_is_cut_into_files(read: Read, kind: str, data: st.DataObject) -> None:
    record = st.tuples(st.text("ab好", min_size=1, max_size=2), st.integers(0, 1))
    records = data.draw(st.lists(record, min_size=1, max_size=8), label="records")
    shuffled = data.draw(st.permutations(records), label="order")
    sizes = st.just(1) if kind == "file" else st.integers(1, 4)
    endings = st.sampled_from(["", *COMPRESSIONS])

    def cut(records: list[tuple[str, int]]) -> dict[str, bytes]:
        files = {}
        while records:
            size, ending = data.draw(sizes, label="size"), data.draw(endings, label="ending")
            content = compress(shard(records[:size], kind), ending)
            files[f"{data.draw(st.integers(0, 99), label='name')}-{len(files)}.dat{ending}"] = content
            records = records[size:]
        return files

    fields = {"uri": "input", "include": ["*.dat"], "encoding": "utf-8"} | RECORDS[kind]
    one, other = read(cut(records), **fields), read(cut(shuffled), **fields)
    assert sorted(one.ids) == sorted(other.ids)
    assert len(set(one.ids)) == len(records)
    # What has one identity has one text, however it is cut.
    texts = dict(zip(one.ids, one.texts, strict=True))
    assert texts == dict(zip(other.ids, other.texts, strict=True))


def test_texts_of_different_records_have_identities_of_their_own(read: Read) -> None:
    packed = io.BytesIO()
    pq.write_table(pa.table({"text": ["same", "same"], "n": ["一", "二"]}), packed)
    fields = {"format": "parquet", "id_field": "n"}
    forwards = read({"a.parquet": packed.getvalue()}, **fields)
    packed = io.BytesIO()
    pq.write_table(pa.table({"text": ["same", "same"], "n": ["二", "一"]}), packed)
    assert read({"a.parquet": packed.getvalue()}, **fields).ids == forwards.ids[::-1]


class Growing(tuple[LocalFile, ...]):
    """Files to which something is still being written while they are read."""

    def __iter__(self) -> Iterator[LocalFile]:
        for file in super().__iter__():
            yield file
            with file.path.open("ab") as stream:
                stream.write(b"more\n")


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, source: MakeSource) -> None:
    (tmp_path / "a.txt").write_bytes(b"words\n")
    files = Growing([LocalFile(tmp_path / "a.txt", "a.txt", listed=False)])
    (tmp_path / "out").mkdir()
    with pytest.raises(
        RawTextError, match=r"^source 'dump', file a\.txt changed while it was read; run this dump again"
    ):
        read_source(source(), files, out=tmp_path / "out")


JSON_ERROR = b'{"text": "a"}\n{"text": \n'
ZEROS = bytes(20 << 20)
REFUSED: dict[str, tuple[Mapping[str, bytes], dict[str, Any], str]] = {
    "missing file": ({}, {"uri": "input/a.txt"}, r"there is no file or folder .*input/a\.txt; correct 'uri' or put it"),
    "missing folder": ({}, {"uri": "nowhere/"}, r"there is no file or folder .*nowhere; correct 'uri'"),
    "empty glob": ({}, {"uri": "input/*.txt"}, r"input/\*\.txt: there is no file; correct 'uri' or put one there"),
    "empty folder": (
        {"a/b.txt": b"b"},
        {"uri": "input/a", "exclude": ["*"]},
        r"match none of: b\.txt; correct 'include'",
    ),
    "empty archive": ({"a.zip": pack({}, ".zip")}, {}, r"there is no file"),
    "wrong sha256": (
        {"a.txt": b"a"},
        {"sha256": "0" * 64},
        r"a\.txt has the wrong sha256: expected 0{64}, found ca978",
    ),
    "sha256 of a folder": ({"a.txt": b"a", "b.txt": b"b"}, {"sha256": "0" * 64}, r"'sha256' is for a single file"),
    "empty file": ({"a.txt": b""}, {}, r"file a\.txt: is empty; correct or exclude it, or set on_invalid: skip"),
    "empty packed file": ({"a.txt.gz": compress(b"", ".gz")}, {}, r"file a\.txt: is empty; correct or exclude it"),
    "empty file in a folder": ({"a.txt": b"a", "b.txt": b""}, {}, r"file b\.txt: is empty"),
    "empty parquet": ({"a.parquet": b""}, {"format": "parquet"}, r"file a\.parquet: is empty"),
    "blank file": ({"a.txt": b" \n\n"}, {}, r"file a\.txt: holds no text"),
    "only skipped": (
        {"a.jsonl": b"{}\n"},
        {"format": "jsonl", "on_invalid": "skip"},
        r"no document in its 1 files \(1 rows",
    ),
    "only empty": (
        {"a.txt": b""},
        {"on_invalid": "skip"},
        r"has no document in its 1 files \(1 rows skipped\); correct",
    ),
    "nothing included": (
        {"a.zip": pack({"a.md": b"a"}, ".zip")},
        {},
        r"usual endings \['\*\.txt'.*match none of: a\.md;",
    ),
    "escaping member": (
        {"a.zip": pack({"../a.txt": b"a"}, ".zip")},
        {},
        r"file a\.zip: member '\.\./a\.txt' would escape",
    ),
    "bomb": ({"a.zip": pack({"a.txt": ZEROS}, ".zip")}, {}, r"file a\.zip unpacks to more than 200 times its size"),
    "bomb in gzip": (
        {"a.txt.gz": compress(ZEROS, ".gz")},
        {"encoding": "utf-8"},
        r"file a\.txt\.gz unpacks to more than 200",
    ),
    "bomb in an archive": (
        {"a.zip": pack({"a.txt.gz": compress(ZEROS, ".gz")}, ".zip")},
        {"encoding": "utf-8"},
        r"file a\.zip, member a\.txt\.gz unpacks to more than 200 times",
    ),
    "large": ({"a.txt.gz": compress(b"a" * 3000, ".gz")}, {"maximum_unpacked_bytes": 2000}, r"more than 2,000 bytes"),
    "cut gzip": ({"a.txt.gz": compress(CHINESE.encode(), ".gz")[:-9]}, {}, r"file a\.txt\.gz is truncated or damaged"),
    "cut zstd": ({"a.txt.zst": compress(CHINESE.encode(), ".zst")[:-9]}, {}, r"a\.txt\.zst is truncated or damaged"),
    "cut bzip2": ({"a.txt.bz2": compress(CHINESE.encode(), ".bz2")[:-9]}, {}, r"a\.txt\.bz2 is truncated or damaged"),
    "cut xz": ({"a.txt.xz": compress(CHINESE.encode(), ".xz")[:-9]}, {}, r"a\.txt\.xz is truncated or damaged"),
    "cut tar": (
        {"a.tar": pack({"a.txt": b"a" * 3000}, ".tar")[:1024]},
        {},
        r"a\.tar, member a\.txt is truncated or damaged",
    ),
    "damaged zip": (
        {"a.zip": pack({"a.txt": b"a"}, ".zip").replace(b"K\x04", b"K\x05")},
        {},
        r"file a\.zip, member a\.txt is truncated or damaged \(Bad CRC-32",
    ),
    "archive in an archive": (
        {"a.zip": pack({"b.zip": pack({"a.txt": b"a"}, ".zip")}, ".zip")},
        {"include": ["*.zip"]},
        r"file b\.zip is an archive inside an archive; unpack it, or name it under 'exclude'",
    ),
    "no format": (
        {"a.jsonl.gz": compress(b'{"text": "a"}', ".gz")},
        {},
        r"file a\.jsonl would be read as plain text, since the source has no 'format'; write 'format: jsonl', or",
    ),
    "no format in an archive": (
        {"a.zip": pack({"b.HTM": b"<p>a"}, ".zip")},
        {"include": ["*.HTM"]},
        r"file b\.HTM would be read as plain text, .*; write 'format: html', or 'format: txt' if that is meant",
    ),
    "invalid JSON": (
        {"a.jsonl": JSON_ERROR},
        {"format": "jsonl"},
        r"file a\.jsonl, line 2: invalid JSON: .*on_invalid: skip",
    ),
    "no column": (
        {"a.csv": b"x\n1\n"},
        {"format": "csv"},
        r"file a\.csv has no column 'text'; set text_field to one of: x",
    ),
    "undecodable": ({"a.txt": b"a\n\xff"}, {"encoding": "utf-8"}, r"a\.txt: byte 2 cannot be decoded as utf-8"),
    "no text": ({"a.txt": bytes(range(256))}, {}, r"a\.txt: no encoding fits its bytes from byte 0; name its encoding"),
    "no byte ranges": ({"a.txt": b"a+AGI-b"}, {"encoding": "utf-7"}, r"one to one; convert the file to UTF-8"),
    "large document": ({"a.txt": b"a" * 1025}, {"maximum_document_bytes": 1024}, r"a\.txt.*larger than 1,024 bytes"),
    "two of one name": (
        {"a.txt": b"a", "a.txt.gz": compress(b"a", ".gz")},
        {},
        r"two files that are both a\.txt without the ending of their compression; name one under 'exclude'",
    ),
    "broken link": (
        {"a.txt": b"a", "b.txt": b"-> nowhere"},
        {},
        r"b\.txt is a broken link or no file; remove it or name",
    ),
}


def build(folder: Path, source: Any) -> Artifact:
    """As the asset does it."""
    places = {"folder": folder, "downloads": folder / "downloads"}
    return build_artifact(
        folder / "outputs",
        kind="raw_text",
        inputs={"source": source_identity(source, **places)},
        settings=source.document_settings(),
        code_version="1",
        produce=lambda out: read_source(source, locate(source, **places), out=out).counts,
    )


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / "input" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if data.startswith(b"-> "):
            path.symlink_to(data[3:].decode())
        else:
            path.write_bytes(data)


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_source_is_named_with_file_and_remedy_and_leaves_nothing(
    source: MakeSource, tmp_path: Path, case: str
) -> None:
    files, fields, message = REFUSED[case]
    write(tmp_path, files)
    entry = source(**({"uri": f"input/{next(iter(files))}" if len(files) == 1 else "input"} | fields))
    with pytest.raises(RawTextError, match=r"^source 'dump'(.|\n)*" + message):
        build(tmp_path, entry)
    assert list((tmp_path / "outputs").rglob("*")) == []
    assert [path for path in (tmp_path / "downloads").rglob("*") if "partial" in path.name] == []


def test_another_sources_failure_leaves_a_good_one_alone(source: MakeSource, tmp_path: Path) -> None:
    write(tmp_path, {"good.txt": b"good", "bad.txt": b""})
    good = build(tmp_path, source(uri="input/good.txt"))
    with pytest.raises(RawTextError):
        build(tmp_path, source(uri="input/bad.txt"))
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == [good.folder.name]
    assert build(tmp_path, source(uri="input/good.txt")).reused
    assert good.manifest.counts == {
        "documents": 1,
        "bytes": 4,
        "characters": 4,
        "files": 1,
        "skipped": 0,
        "left_out": 0,
    }


def test_what_is_skipped_has_a_row(read: Read) -> None:
    reading = read(
        {
            "a.jsonl": JSON_ERROR,
            "b.jsonl": b"",
            "c.jsonl": bytes(range(256)),
            "d.jsonl": '{"text": "好好好好好好好好好好"}\n'.encode() + b'\n{"text": "\xff"}',
        },
        format="jsonl",
        on_invalid="skip",
    )
    assert reading.texts == ["a", "好好好好好好好好好好"]
    assert [(row["path"], row["line"], row["byte_start"]) for row in reading.skipped] == [
        ("a.jsonl", 2, 14),
        ("b.jsonl", None, 0),
        ("c.jsonl", None, 0),
        ("d.jsonl", 3, 44),
    ]
    assert [row["reason"].split(":")[0] for row in reading.skipped] == [
        "invalid JSON",
        "is empty",
        "no encoding fits its bytes from byte 0; name its encoding under 'encoding', or, if it is no text, the file "
        "under 'exclude'",
        "byte 54 cannot be decoded as utf-8",
    ]
    assert [(row["documents"], row["skipped"]) for row in reading.files] == [(1, 1), (0, 1), (0, 1), (1, 1)]
    assert (reading.report.documents, reading.report.skipped, reading.report.files) == (2, 4, 4)


def test_a_damaged_archive_fails_even_where_documents_may_be_skipped(read: Read) -> None:
    with pytest.raises(RawTextError, match="truncated or damaged"):
        read({"a.txt.gz": compress(CHINESE.encode(), ".gz")[:-9]}, on_invalid="skip")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("name", ["documents-00000.parquet", "files.parquet", "skipped.parquet"])
def test_a_full_disk(source: MakeSource, tmp_path: Path, name: str) -> None:
    write(tmp_path, {"a.txt": CHINESE.encode()})

    def produce(out: Path) -> dict[str, int]:
        (out / name).symlink_to("/dev/full")
        entry = source(uri="input/a.txt")
        return read_source(entry, locate(entry, folder=tmp_path, downloads=tmp_path), out=out).counts

    with pytest.raises(RawTextError, match=r"^source 'dump': no space left on the disk of .*GB free.*CORPUSLINE_HOME"):
        build_artifact(tmp_path / "outputs", kind="raw_text", inputs={}, settings={}, code_version="1", produce=produce)
    assert list((tmp_path / "outputs").iterdir()) == []


def test_a_disk_that_is_too_small(source: MakeSource, small_disk: Path) -> None:
    text = "\n".join(f"{number * 7919 % 10_007} words" for number in range(200_000))
    (small_disk.parent / "a.txt").write_text(text)
    entry = source(uri=str(small_disk.parent / "a.txt"), documents={"by": "line"})
    with pytest.raises(RawTextError, match=rf"^source 'dump': no space left on the disk of {small_disk}"):
        build_artifact(
            small_disk / "outputs",
            kind="raw_text",
            inputs={},
            settings={},
            code_version="1",
            produce=lambda out: (
                read_source(entry, locate(entry, folder=small_disk, downloads=small_disk), out=out).counts
            ),
        )
    assert list((small_disk / "outputs").iterdir()) == []
