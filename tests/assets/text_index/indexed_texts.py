"""Texts as token shards with their index, and plain searching as the oracle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from assets.text_index.build import build_text_index
from assets.text_index.opened import TextIndex, open_text_index
from assets.text_index.settings import TextIndexSettings
from assets.vocabulary.tokenizer import open_vocabulary
from training.shards import SPLITS, ShardWriter, SplitName, open_shards


@dataclass(frozen=True)
class IndexedTexts:
    """A dump, the texts that its tokens decode to, by split, and its index."""

    texts: dict[SplitName, list[str]]
    shards: Path
    vocabulary: Path
    folder: Path

    def open(self) -> TextIndex:
        """The index with what it was made from."""
        return open_text_index(
            self.folder, shards=open_shards(self.shards), vocabulary=open_vocabulary(self.vocabulary)
        )


def write_shards(
    folder: Path, texts: Sequence[str], vocabulary: Path, *, dump: str = "tales", shard_tokens: int = 1 << 20
) -> dict[SplitName, list[str]]:
    """Write token shards, every third text for validation; the decoded texts by split.

    Texts that encode to nothing are left out, as the stage does.
    """
    folder.mkdir(parents=True)
    opened = open_vocabulary(vocabulary)
    decoded: dict[SplitName, list[str]] = {split: [] for split in SPLITS}
    with ShardWriter(
        folder,
        vocabulary_hash=opened.sha256,
        vocabulary_size=opened.size,
        end_of_document=opened.end_of_document,
        language="en",
        source="house",
        dump=dump,
        shard_tokens=shard_tokens,
    ) as writer:
        for number, (text, ids) in enumerate(zip(texts, opened.encode_batch(texts), strict=True)):
            if ids:
                split: SplitName = "validation" if number % 3 == 2 else "train"
                writer.add(split, f"{dump}-{split}-{len(decoded[split])}", ids, len(text.encode()))
                decoded[split].append(opened.decode(ids))
    return decoded


def index_texts(
    folder: Path,
    texts: Sequence[str],
    vocabulary: Path,
    *,
    dump: str = "tales",
    part_bytes: int = 1 << 20,
    shard_tokens: int = 1 << 20,
    workers: int = 1,
) -> IndexedTexts:
    """Write token shards and their index."""
    decoded = write_shards(folder / "shards", texts, vocabulary, dump=dump, shard_tokens=shard_tokens)
    (folder / "index").mkdir()
    build_text_index(
        folder / "shards",
        vocabulary,
        settings=TextIndexSettings(part_bytes=part_bytes, workers=workers),
        out=folder / "index",
    )
    return IndexedTexts(decoded, folder / "shards", vocabulary, folder / "index")


def found_plainly(indexed: IndexedTexts, phrase: str) -> Iterator[tuple[SplitName, int, int]]:
    """Split, document and character of each place, overlapping ones too, by ``str.find``."""
    for split, texts in indexed.texts.items():
        for number, text in enumerate(texts):
            place = text.find(phrase)
            while place >= 0:
                yield split, number, place
                place = text.find(phrase, place + 1)
