"""Small dumps, really filtered and freed of copies, as the ledger's readers get them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from assets.clean_text.copies import find_copies
from assets.clean_text.filtering import filter_documents
from assets.clean_text.ledger import finish_documents
from assets.clean_text.ledger_report import StoredDump
from assets.clean_text.settings import DuplicateSettings, FilterSettings

WriteRawText = Callable[..., Path]

ENGLISH = [
    "Rough winds do shake the darling buds of May, and summer's lease hath all too short a date.",
    "The keeper of the mill counted nine lanterns before the evening bell, and wrote the number down.",
    "It was a bright morning by the harbour, and nobody had yet asked the old captain for his papers.",
    "Rough winds do shake the darling buds of May, and summer's lease hath all too short a date.",
    "Nobody came.",
    "1887 1888 1889 1890 1891 1892 1893 1894 1895",
    "-- ## -- 12 -- ## -- 13 -- ## -- 14",
    "Write to the keeper at keeper@mill.example before the bell, he will answer in the evening.",
]
CHINESE = [
    "房间很干净，服务也不错，下次还会再来住的。",
    "物流速度太慢了，" * 10,
    "很好",
    "It was excellent and I can recommend it to anyone.",
    "这本书的内容很有意思，孩子看了好几遍都不肯放下。",
]
SKIPPED = [{"path": "broken.jsonl", "line": 3, "byte_start": 120, "reason": "no JSON: '<b>'"}]


POLICY = """
name: small
rules:
  - {name: too_short, signal: visible_characters, at_least: {"*": 16, zh: 6}}
  - {name: few_letters, signal: letter_share, at_least: {"*": 0.5, zh: 0.4}}
  - {name: many_digits, signal: digit_share, at_most: {"*": 0.3, zh: 0.45}}
  - {name: wrong_script_han, signal: han_share, at_least: {zh: 0.3}}
  - {name: wrong_script_latin, signal: latin_share, at_least: {en: 0.7}}
  - {name: short_words, signal: mean_word_length, at_least: {en: 2.5}}
  - {name: repeated_text, signal: duplicate_13_character_share, at_most: 0.5}
  - {name: few_characters, signal: character_entropy, at_least: 1.5}
"""


def filter_settings(folder: Path, **values: Any) -> FilterSettings:
    """Settings of the filter with the policy above, written into a folder."""
    path = folder / "policy.yaml"
    path.write_text(POLICY)
    return FilterSettings.model_validate({"policy": str(path), **values})


def clean_dumps(
    base: Path,
    write_raw_text: WriteRawText,
    texts: Mapping[str, tuple[str, Sequence[str]]] | None = None,
    **values: Any,
) -> list[StoredDump]:
    """Clean dumps, in the catalogue's order, below a folder.

    Args:
        base: Empty folder.
        write_raw_text: The fixture.
        texts: Language and texts by dump; by default ``ENGLISH`` as "tales" and ``CHINESE`` as "reviews".
        values: Settings of the filter.
    """
    settings = filter_settings(base, **values)
    given = {"tales": ("en", ENGLISH), "reviews": ("zh", CHINESE)} if texts is None else texts
    for dump, (language, documents) in given.items():
        skipped = SKIPPED if dump == "tales" else []
        raw = write_raw_text(base / "raw" / dump, documents, dump=dump, language=language, skipped=skipped)
        (base / "filtered" / dump).mkdir(parents=True)
        filter_documents(raw, base / "filtered" / dump, dump=dump, settings=settings)
    (base / "copies").mkdir()
    find_copies(
        {dump: base / "filtered" / dump for dump in given},
        base / "copies",
        settings=DuplicateSettings(),
        signed=[settings.near_duplicates.model_dump(mode="json")] * len(given),
    )
    dumps = []
    for dump in given:
        clean = base / "clean" / dump
        clean.mkdir(parents=True)
        finish_documents(base / "filtered" / dump, base / "copies", clean, dump=dump)
        policy = settings.load_policy()
        dumps.append(StoredDump(dump, clean, base / "filtered" / dump, base / "raw" / dump, policy))
    return dumps
