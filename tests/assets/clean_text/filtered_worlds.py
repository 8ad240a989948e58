"""Worlds of documents for the tests of the filter stage, and what became of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from assets.clean_text.settings import FilterSettings
from assets.raw_text.documents import DOCUMENTS

SETTINGS = FilterSettings.parse(
    {"repeated_text": {"lines": True, "paragraphs": True, "passages": True}}, origin="a test"
)
ENGLISH = [
    "Rough winds do shake the darling buds of May, and summer's lease hath all too short a date.",
    "Shall I compare thee to a summer's day?\r\nThou art more lovely and more temperate.  ",
    "Write to the keeper at keeper@mill.example before the bell, he will answer in the evening.",
    "A text that is good enough, cafÃ© and all.",
    "Nobody came.",
    "1887 1888 1889 1890 1891 1892 1893 1894 1895",
]
CHINESE = [
    "房间很干净，服务也不错，下次还会再来住的。",
    "这本书的内容很有意思，孩子看了好几遍都不肯放下。\n\n\n\n物流速度太慢了。",
    "物流速度太慢了，" * 10,
    "很好",
]
NASTY = [
    "",
    "\u200b\ufeff \n",
    "\x00\x01\x02",
    "a" * 3000,
    "\n" * 300,
    "e\u0301" * 40,
    "👩‍👩‍👧‍👧 family, and a few more words so that it may stay here.",
    "שלום and a mix of مرحبا in one line that is long enough to stay.",
    "\ud7ff\uffff\U0010ffff",
]


def documents() -> st.SearchStrategy[tuple[str, str]]:
    """Language and text: sentences, several of them, and arbitrary strings."""
    english = st.lists(st.sampled_from([*ENGLISH, *NASTY]), min_size=1, max_size=4).map("\n\n".join)
    chinese = st.lists(st.sampled_from([*CHINESE, *NASTY]), min_size=1, max_size=4).map("\n".join)
    arbitrary = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
    return st.one_of(
        st.tuples(st.just("en"), english),
        st.tuples(st.just("zh"), chinese),
        st.tuples(st.sampled_from(["en", "zh", ""]), arbitrary),
    )


def write_world(
    folder: Path, world: Sequence[tuple[str, str]], *, order: Sequence[int] | None = None, rows_per_group: int = 3
) -> Path:
    """Write documents as the raw text stage does.

    Args:
        folder: Is made.
        world: Language and text of each document; its number is its identity.
        order: Numbers of the documents in the order in which they are written.
        rows_per_group: Documents a row group.
    """
    folder.mkdir(parents=True)
    rows = [
        {
            "doc_id": hashlib.sha256(str(number).encode()).hexdigest()[:32],
            "text": world[number][1],
            "source": "source",
            "dump": "dump",
            "path": f"{number}.txt",
            "byte_start": number,
            "byte_end": number + 1,
            "licence": "CC0-1.0",
            "language": world[number][0],
            "metadata": json.dumps({"url": f"https://mill.example/{number}"} if number % 2 else {}),
        }
        for number in (range(len(world)) if order is None else order)
    ]
    table = pa.Table.from_pylist(rows, schema=DOCUMENTS)
    pq.write_table(table, folder / "documents-00000.parquet", row_group_size=rows_per_group)
    return folder


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a folder, by name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def large_world(documents: int) -> list[tuple[str, str]]:
    """Documents of a few kilobytes, no two alike."""
    return [
        (
            "en",
            "\n\n".join(
                f"In the year {1000 + number} the keeper of the mill counted {number * line % 97} lanterns before "
                f"the evening bell, and wrote the number {line} down. {ENGLISH[(number + line) % 3]}"
                for line in range(24)
            ),
        )
        for number in range(documents)
    ]
