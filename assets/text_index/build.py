"""Builds the text index of a dump from its token shards."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from assets.clean_text.process_pool import available_cores, map_in_order
from assets.clean_text.progress import SECONDS_BETWEEN, Progress, at_most_every
from assets.text_index.format import DESCRIPTION, FORMAT, POSITION, IndexPart
from assets.text_index.plan import plan_parts, token_blocks
from assets.text_index.settings import TextIndexSettings
from assets.text_index.suffix_array import sort_suffixes
from assets.text_index.token_text import TokenText, check_decoding, token_text, write_text
from assets.vocabulary.tokenizer import open_vocabulary
from training.shards import RemoteFolder, open_shards

_INLINE_BYTES = 16 << 20
"""To start processes takes longer than to sort this."""


@dataclass(frozen=True)
class TextIndexReport:
    """What was written.

    Attributes:
        parts: The parts in order.
    """

    parts: tuple[IndexPart, ...]

    @property
    def counts(self) -> dict[str, int]:
        """The numbers for a manifest; ``text_bytes`` counts the byte that closes each document."""
        return {
            "parts": len(self.parts),
            "documents": sum(part.documents for part in self.parts),
            "text_bytes": sum(part.bytes for part in self.parts),
            "suffixes": sum(part.suffixes for part in self.parts),
        }


def build_text_index(
    shards_folder: Path | RemoteFolder,
    vocabulary_folder: Path,
    *,
    settings: TextIndexSettings,
    out: Path,
    progress: Progress | None = None,
) -> TextIndexReport:
    """Index the text of all tokens of a dump, of training and validation.

    What is indexed is what the tokens decode to. That is the documents' clean text, byte by byte, but for vocabularies
    that lose some of it (``word``).

    Memory: in each process five bytes a byte of a part's text, and a block of tokens. Disk: four bytes a character
    beside the text itself, so five times an English text and two and a third times a Chinese one.

    Args:
        shards_folder: Token shards.
        vocabulary_folder: Folder of the ``tokenizer.json`` that made them.
        settings: Size of the parts, processes.
        out: Empty folder. Its bytes depend on the documents, their order, the vocabulary and ``part_bytes`` alone.
        progress: Called every few seconds and at the end.

    Raises:
        TextIndexError: If a document is too large to be sorted, the shards hold what is not in the vocabulary, or its
            tokens do not decode one by one.
        ShardError: If the shards cannot be read or are of another vocabulary.
        VocabularyError: If the vocabulary cannot be opened.
        CleanTextError: If a process died twice over a part, most likely for lack of memory.
    """
    vocabulary = open_vocabulary(vocabulary_folder)
    shards = open_shards(shards_folder, vocabulary_hash=vocabulary.sha256)
    decoding = token_text(vocabulary)
    planned = plan_parts(shards, decoding, part_bytes=settings.part_bytes)
    check_decoding(decoding, vocabulary, shards)
    total = sum(part.bytes for part in planned)
    report = at_most_every(SECONDS_BETWEEN, progress or (lambda done, total, documents: None))
    opened = (str(vocabulary_folder), vocabulary.sha256)
    build = partial(_build_part, shards_folder=shards_folder, vocabulary=opened, out=out)
    workers = max(1, min(settings.workers or available_cores(), len(planned)))
    if total < _INLINE_BYTES and not settings.workers:
        workers = 1
    report(0, total, 0)
    parts: list[IndexPart] = []
    done = documents = 0
    for part in map_in_order(build, planned, workers=workers, ahead=len(planned), name=_name):
        parts.append(part)
        done += part.bytes
        documents += part.documents
        report(done, total, documents)
    description = {
        "format": FORMAT,
        "dump": shards.dump,
        "shards": shards.sha256,
        "vocabulary": vocabulary.sha256,
        "parts": [asdict(part) for part in parts],
    }
    text = json.dumps(description, indent=1, sort_keys=True, ensure_ascii=False)
    (out / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
    return TextIndexReport(tuple(parts))


def _build_part(
    part: IndexPart, *, shards_folder: Path | RemoteFolder, vocabulary: tuple[str, str], out: Path
) -> IndexPart:
    """Write the files of a part; the part with its number of suffixes."""
    decoding = _token_text(*vocabulary)
    split = open_shards(shards_folder).split(part.split)
    text = np.empty(part.bytes, dtype=np.uint8)
    documents = np.zeros(part.documents + 1, dtype=POSITION)
    size = closed = 0
    begun = False
    for ids in token_blocks(split, part.first_token, part.tokens):
        decoding.check(ids, f"the token shards {shards_folder}")
        size, closed, begun = write_text(ids, decoding, text, documents, size, closed, begun)
    text.tofile(out / part.text_name)
    documents.tofile(out / part.documents_name)
    suffixes = sort_suffixes(text)
    suffixes.tofile(out / part.suffixes_name)
    return replace(part, suffixes=suffixes.size)


def _name(part: IndexPart) -> str:
    return f"part {part.number} of {part.bytes} bytes"


@lru_cache(maxsize=1)
def _token_text(folder: str, sha256: str) -> TokenText:
    """That of a folder's vocabulary, opened once in a process; another hash is another vocabulary."""
    return token_text(open_vocabulary(Path(folder)))
