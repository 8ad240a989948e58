"""Small folders of clean documents and vocabularies trained on them, for the tests of this room and the next."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assets.clean_text.signatures import SIGNATURES, signatures
from assets.raw_text.documents import DOCUMENTS
from assets.vocabulary.settings import VocabularySettings
from assets.vocabulary.training import VocabularyReport, train_vocabulary

ENGLISH = [
    "The old lighthouse keeper counted the ships each evening, and each evening there was one fewer.",
    "She didn't ask where they'd gone; the sea keeps its own ledger, she'd say, and it's never wrong.",
    "In 1987 the harbour had 412 boats. In 2019 it had 36, and the ferry came only on Tuesdays.",
    "“Who's there?” he called.\nNobody answered, but the door moved a little in the wind.\n\nHe went on reading.",
    "Bread costs 2.40 now: flour, water, salt, and time - mostly time, the baker says.",
    "If the keeper counts the ships and the baker counts the loaves, who counts the evenings?",
]
CHINESE = [
    "老灯塔的守夜人每天傍晚都要数一数港口里的船，每天傍晚都会少一艘。",
    "她从来不问船去了哪里；她说，大海有自己的账本，从来不会记错。",
    "一九八七年港口有412艘船。二〇一九年只剩36艘，渡轮也只在星期二才来。",
    "“谁在那里？”他喊道。\n没有人回答，只有门在风里轻轻动了一下。\n\n他继续看书。",
    "面包现在卖2.40元：面粉、水、盐，还有时间，面包师说，主要是时间。",
    "守夜人数船，面包师数面包，那么谁来数傍晚呢？",
]
OTHERS = ["café naïve ½ ＡＢＣ", "नमस्ते दुनिया", "ひらがなとカタカナ", "😀😂👩‍👩‍👧", "\tx = 1\r\n\r\n", "<|endoftext|>"]


def document_id(dump: str, index: int) -> str:
    """The id of a dump's document by its number."""
    return hashlib.sha256(f"{dump}/{index}".encode()).hexdigest()[:32]


def write_documents(
    folder: Path,
    texts: Sequence[str],
    *,
    dump: str = "dump",
    language: str = "en",
    rows_per_group: int = 3,
    files: int = 1,
) -> Path:
    """Write a folder as the clean text stage does."""
    folder.mkdir(parents=True)
    rows: list[dict[str, Any]] = [
        {
            "doc_id": document_id(dump, index),
            "text": text,
            "source": dump,
            "dump": dump,
            "path": f"{index:05}.txt",
            "byte_start": 0,
            "byte_end": len(text.encode()),
            "licence": "CC0-1.0",
            "language": language,
            "metadata": "{}",
        }
        for index, text in enumerate(texts)
    ]
    per_file = -(-len(rows) // files) or 1
    for number in range(files):
        part = pa.Table.from_pylist(rows[number * per_file : (number + 1) * per_file], schema=DOCUMENTS)
        pq.write_table(part, folder / f"documents-{number:05}.parquet", row_group_size=rows_per_group)
    doc_ids = pa.array([row["doc_id"] for row in rows], pa.string())
    signed = pa.table([doc_ids, signatures(pa.array(list(texts), pa.string()))], schema=SIGNATURES)
    pq.write_table(signed, folder / "signatures.parquet", row_group_size=4)
    return folder


def train(
    folder: Path,
    dumps: Mapping[str, Sequence[str]],
    *,
    weights: Mapping[str, float] | None = None,
    rows_per_group: int = 3,
    **settings: Any,
) -> VocabularyReport:
    """Train a vocabulary on texts by dump into ``folder / "vocabulary"``."""
    folders = {
        dump: write_documents(folder / dump, texts, dump=dump, language=dump[:2], rows_per_group=rows_per_group)
        for dump, texts in dumps.items()
    }
    out = folder / "vocabulary"
    out.mkdir()
    return train_vocabulary(
        folders,
        weights=weights or dict.fromkeys(dumps, 1.0),
        settings=VocabularySettings.model_validate(settings),
        out=out,
    )
