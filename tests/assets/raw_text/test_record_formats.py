from __future__ import annotations

import datetime
import io
import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.raw_text.errors import RawTextError

Read = Callable[..., Any]
JSONL = {"format": "jsonl"}
CSV = {"format": "csv"}
PARQUET = {"format": "parquet"}


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    packed = io.BytesIO()
    pq.write_table(pa.table(columns), packed, **options)
    return packed.getvalue()


def places(rows: list[dict[str, Any]]) -> list[tuple[int | None, int, str]]:
    return [(row["line"], row["byte_start"], row["reason"]) for row in rows]


def test_each_line_of_jsonl_is_a_document(read: Read) -> None:
    data = '{"text": "one\\n"}\r\n\n  {"text": "二", "n": 1}  \n{"text":"last"}'.encode()
    reading = read({"a.jsonl": data}, **JSONL)
    assert reading.texts == ["one\n", "二", "last"]
    assert [data[row["byte_start"] : row["byte_end"]] for row in reading.documents] == [
        b'{"text": "one\\n"}',
        '  {"text": "二", "n": 1}'.encode(),
        b'{"text":"last"}',
    ]


def test_metadata_is_a_json_object(read: Read) -> None:
    line = {"text": "a", "key": 7, "tags": ["x", None], "author": "周", "left": "out"}
    reading = read(
        {"a.jsonl": json.dumps(line).encode()}, **JSONL, id_field="key", metadata_fields=["tags", "author", "absent"]
    )
    assert reading.documents[0]["metadata"] == '{"author":"周","id":7,"tags":["x",null]}'
    assert read({"a.jsonl": b'{"text": "a"}'}, **JSONL, id_field="key").documents[0]["metadata"] == "{}"


def test_numbers_that_json_does_not_have_are_null(read: Read) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    line = b'{"text": "a", "x": NaN, "y": [1e999, -Infinity, 0.5]}'
    (row,) = read({"a.jsonl": line}, **JSONL, metadata_fields=["x", "y"]).documents
    assert json.loads(row["metadata"], parse_constant=refuse) == {"x": None, "y": [None, None, 0.5]}
    assert (
        read({"a.jsonl": b'{"text": "a", "x": "NaN"}'}, **JSONL, metadata_fields=["x"]).documents[0]["metadata"]
        == '{"x":"NaN"}'
    )
    data = parquet({"text": ["a"], "x": [float("nan")]})
    assert read({"a.parquet": data}, **PARQUET, metadata_fields=["x"]).documents[0]["metadata"] == '{"x":null}'


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text": "a"', "invalid JSON: Expecting ',' delimiter"),
        ("plain words", "invalid JSON: Expecting value"),
        ("{'text': 'a'}", "invalid JSON: Expecting property name"),
        ("[" * 100_000, "invalid JSON: "),
        ('{"text": "a", "n": ' + "1" * 5000 + "}", "invalid JSON: "),
        ('["a"]', "is JSON but no object"),
        ('"a"', "is JSON but no object"),
        ('{"txt": "a", "n": 1}', "has no field 'text' (it has: txt, n)"),
        ("{}", "has no field 'text' (it has: none)"),
        ('{"text": null}', "field 'text' is null, no string"),
        ('{"text": 5}', "field 'text' is a int, no string"),
        ('{"text": " \\n"}', "field 'text' is empty"),
        ('{"text": "a\\ud834"}', "field 'text' has half a surrogate pair at character 1"),
    ],
)
def test_an_invalid_line_fails_or_is_skipped(read: Read, line: str, reason: str) -> None:
    data = f'{{"text": "好"}}\n\n{line}\n{{"text": "b"}}\n'.encode()
    with pytest.raises(RawTextError) as error:
        read({"a.jsonl": data}, **JSONL)
    assert str(error.value).startswith(f"source 'dump', file a.jsonl, line 3: {reason}")
    assert str(error.value).endswith(
        "; correct or exclude it, or set on_invalid: skip to leave such places out with a row that says so"
    )
    reading = read({"a.jsonl": data}, **JSONL, on_invalid="skip")
    assert reading.texts == ["好", "b"]
    ((number, start, found),) = places(reading.skipped)
    assert (number, start, found.startswith(reason)) == (3, 17, True)


def test_undecodable_bytes_in_a_line_of_jsonl(read: Read) -> None:
    data = '{"text": "好的"}\n'.encode() + b'{"text": "\xff"}\n'
    with pytest.raises(RawTextError, match=r"file a\.jsonl, line 2: byte 29 cannot be decoded as utf-8; correct or"):
        read({"a.jsonl": data}, **JSONL)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(min_size=1).filter(lambda text: not text.isspace()), min_size=1, max_size=5), st.booleans())
def test_texts_come_through_jsonl(read: Read, texts: list[str], escaped: bool) -> None:
    data = "\n".join(json.dumps({"text": text}, ensure_ascii=escaped) for text in texts).encode()
    assert read({"a.jsonl": data}, **JSONL, encoding="utf-8").texts == texts


def test_each_row_of_csv_is_a_document(read: Read) -> None:
    data = 'id,text\r\n1,"one, ""quoted""\nand more"\r\n\r\n2,二\r\n'.encode()
    reading = read({"a.csv": data}, **CSV, id_field="id")
    assert reading.texts == ['one, "quoted"\nand more', "二"]
    assert [data[row["byte_start"] : row["byte_end"]] for row in reading.documents] == [
        b'1,"one, ""quoted""\nand more"',
        "2,二".encode(),
    ]
    assert [row["metadata"] for row in reading.documents] == ['{"id":"1"}', '{"id":"2"}']


def test_other_delimiters_fields_and_encodings(read: Read) -> None:
    data = "key\tbody\n1\t你好，世界\n".encode("utf-16")
    reading = read({"a.tsv": data}, **CSV, delimiter="\t", text_field="body")
    assert reading.texts == ["你好，世界"]
    (row,) = reading.documents
    assert data[row["byte_start"] : row["byte_end"]].decode("utf-16-le") == "1\t你好，世界"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("2,b,c", "has 3 columns, the header 2"),
        ("2", "has 1 columns, the header 2"),
        ("2,", "field 'text' is empty"),
        ('2,"b"c', "invalid CSV: "),
    ],
)
def test_an_invalid_row_fails_or_is_skipped(read: Read, row: str, reason: str) -> None:
    data = f'id,text\n1,"a\na"\n{row}\n3,c\n'.encode()
    with pytest.raises(RawTextError, match="file a.csv, line 4: " + reason):
        read({"a.csv": data}, **CSV)
    reading = read({"a.csv": data}, **CSV, on_invalid="skip")
    assert reading.texts == ["a\na", "c"]
    ((number, start, found),) = places(reading.skipped)
    assert (number, start, found.startswith(reason)) == (4, 16, True)


def test_a_quote_that_is_never_closed(read: Read) -> None:
    with pytest.raises(
        RawTextError, match=r"line 3: invalid CSV: unexpected end of data; it goes from line 3 to line 4"
    ):
        read({"a.csv": b'id,text\n1,a\n2,"b\n3,c\n'}, **CSV)
    endless = b'id,text\n1,"' + b"x\n" * 2000
    with pytest.raises(RawTextError, match=r"line 2: invalid CSV: field larger than field limit \(1024\)"):
        read({"a.csv": endless}, **CSV, maximum_document_bytes=1024)


def test_a_quote_that_is_closed_lines_later(read: Read) -> None:
    found = read({"a.csv": b'id,text\n1,a\n"2,b\n3,c\n4","d","e"\n5,f\n'}, **CSV, on_invalid="skip")
    assert found.texts == ["a", "f"]
    assert places(found.skipped) == [(3, 12, "has 3 columns, the header 2; it goes from line 3 to line 5")]


def test_two_columns_of_the_name_that_is_asked_for(read: Read) -> None:
    with pytest.raises(RawTextError, match=r"file a\.csv has 2 columns named 'text'; rename all but one"):
        read({"a.csv": b"text,n,text\na,1,b\n"}, **CSV)
    assert read({"a.csv": b"text,n,n\na,1,2\n"}, **CSV).texts == ["a"]
    packed = io.BytesIO()
    pq.write_table(pa.table([pa.array(["a"]), pa.array(["b"])], names=["text", "text"]), packed)
    with pytest.raises(RawTextError, match=r"file a\.parquet has 2 columns named 'text'"):
        read({"a.parquet": packed.getvalue()}, **PARQUET)


def test_undecodable_bytes_in_a_row_of_csv(read: Read) -> None:
    data = b'id,text\n1,"a\n\xff"\n2,b\n'
    reading = read({"a.csv": data}, **CSV, encoding="utf-8", on_invalid="skip")
    assert places(reading.skipped) == [(2, 8, "byte 13 cannot be decoded as utf-8")]
    assert reading.texts == ["b"]
    with pytest.raises(RawTextError, match=r"a\.csv, line 1: byte 5 cannot be decoded as utf-8; correct the header"):
        read({"a.csv": b"text,\xff\na,b\n"}, **CSV, encoding="utf-8")


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\r\0")), st.text('a,"\n好 ')),
        min_size=1,
        max_size=5,
    )
)
def test_texts_come_through_csv(read: Read, rows: list[tuple[str, str]]) -> None:
    written = "text,note\n" + "".join(
        ",".join('"' + value.replace('"', '""') + '"' for value in row) + "\n" for row in rows
    )
    data = written.encode()
    expected = [text for text, _ in rows if text and not text.isspace()]
    if not expected:
        return
    reading = read({"a.csv": data}, **CSV, encoding="utf-8", on_invalid="skip", metadata_fields=["note"])
    assert reading.texts == expected
    assert len(reading.skipped) == len(rows) - len(expected)


@pytest.mark.parametrize("options", [{}, {"row_group_size": 2}, {"compression": "zstd"}, {"use_dictionary": False}])
def test_each_row_of_parquet_is_a_document(read: Read, options: dict[str, Any]) -> None:
    data = parquet({"n": [1, 2, 3], "text": ["one", "二", "three\n"]}, **options)
    reading = read({"a.parquet": data}, **PARQUET, id_field="n")
    assert reading.texts == ["one", "二", "three\n"]
    assert [(row["byte_start"], row["byte_end"]) for row in reading.documents] == [(0, 1), (1, 2), (2, 3)]
    assert [row["metadata"] for row in reading.documents] == ['{"id":1}', '{"id":2}', '{"id":3}']


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_every_kind_of_string_column(read: Read, kind: pa.DataType) -> None:
    data = parquet({"text": pa.array(["a", "二", "a"], pa.string()).cast(kind)})
    assert read({"a.parquet": data}, **PARQUET).texts == ["a", "二", "a"]


def test_metadata_of_other_types(read: Read) -> None:
    data = parquet({"text": ["a"], "day": [datetime.date(2026, 10, 5)], "raw": [b"\x01"], "tags": [["x"]]})
    reading = read({"a.parquet": data}, **PARQUET, metadata_fields=["day", "tags", "raw"])
    assert reading.documents[0]["metadata"] == '{"day":"2026-10-05","raw":"b\'\\\\x01\'","tags":["x"]}'


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet"])
def test_records_in_the_wrong_format(read: Read, format: str) -> None:
    with pytest.raises(RawTextError, match=r"source 'dump', file a\.dat"):
        read({"a.dat": b"The harbour was not awake yet.\n" * 5}, format=format)


def test_a_parquet_file_without_the_text_column(read: Read) -> None:
    data = parquet({"body": ["a"], "n": [1]})
    with pytest.raises(RawTextError) as error:
        read({"a.parquet": data}, **PARQUET)
    assert str(error.value) == ("source 'dump', file a.parquet has no column 'text'; set text_field to one of: body, n")
    with pytest.raises(RawTextError, match="has no column 'm'; set id_field or metadata_fields to one of: body, n"):
        read({"a.parquet": data}, **PARQUET, text_field="body", metadata_fields=["m"])
    with pytest.raises(RawTextError, match="column 'n' is int64, no string; set text_field to the text's column"):
        read({"a.parquet": data}, **PARQUET, text_field="n")


def test_a_csv_file_without_the_text_column(read: Read) -> None:
    with pytest.raises(RawTextError, match="has no column 'text'; set text_field to one of: id, body"):
        read({"a.csv": b"id,body\n1,a\n"}, **CSV)


def test_invalid_rows_of_parquet(read: Read) -> None:
    data = parquet({"text": ["a", None, " ", "x" * 1025, "b"]})
    with pytest.raises(RawTextError, match=r"file a\.parquet, line 2: field 'text' is null, no string"):
        read({"a.parquet": data}, **PARQUET)
    reading = read({"a.parquet": data}, **PARQUET, on_invalid="skip", maximum_document_bytes=1024)
    assert reading.texts == ["a", "b"]
    assert places(reading.skipped) == [
        (2, 1, "field 'text' is null, no string"),
        (3, 2, "field 'text' is empty"),
        (4, 3, "the document is larger than 1,024 bytes"),
    ]


def test_strings_of_parquet_that_are_no_utf8(read: Read) -> None:
    broken = pa.array([b"a", b"\xff\xfe", "好".encode()], pa.binary()).view(pa.string())
    data = parquet({"text": broken})
    reading = read({"a.parquet": data}, **PARQUET, on_invalid="skip")
    assert reading.texts == ["a", "好"]
    ((row, start, reason),) = places(reading.skipped)
    assert (row, start) == (2, 1)
    assert reason.startswith("is not UTF-8: ")


def test_dates_of_parquet_that_are_none_of_pythons(read: Read) -> None:
    data = parquet({"text": ["a", "b", "c"], "date": pa.array([0, 10**15, None], pa.timestamp("s"))})
    asked = {**PARQUET, "metadata_fields": ["date"]}
    with pytest.raises(
        RawTextError, match=r"file a\.parquet, line 2: has a value that Python cannot hold: .*; correct"
    ):
        read({"a.parquet": data}, **asked)
    found = read({"a.parquet": data}, **asked, on_invalid="skip")
    assert found.texts == ["a", "c"]
    assert [row["line"] for row in found.skipped] == [2]


@pytest.mark.parametrize("part", [slice(0, 200), slice(0, -1), slice(4, None)])
def test_a_damaged_parquet_file(read: Read, part: slice) -> None:
    data = parquet({"text": [f"text {number}" for number in range(1000)]})
    with pytest.raises(
        RawTextError, match=r"file a\.parquet is no Parquet file or is damaged \((.|\n)*\); fetch or write it"
    ):
        read({"a.parquet": data[part]}, **PARQUET)


def test_damage_inside_a_parquet_file(read: Read) -> None:
    data = bytearray(parquet({"text": [f"text {number}" for number in range(1000)]}, write_page_checksum=True))
    data[50:400] = bytes(350)
    with pytest.raises(RawTextError, match="is no Parquet file or is damaged"):
        read({"a.parquet": bytes(data)}, **PARQUET)
