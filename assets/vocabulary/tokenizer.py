"""A finished vocabulary: how it is opened and used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from assets.vocabulary.batches import pieces
from assets.vocabulary.errors import VocabularyError
from training.artifact import file_sha256

END_OF_DOCUMENT = "<|endoftext|>"
UNKNOWN = "<|unknown|>"
TOKENIZER = "tokenizer.json"

# Encoding takes memory a character; a book on one line end after the other is encoded in parts.
LONGEST_PIECE = 1 << 16


@dataclass(frozen=True)
class Vocabulary:
    """An opened vocabulary.

    Attributes:
        tokenizer: The tokenizer.
        sha256: Of its tokenizer.json, in hex; what token shards name.
        size: Ids lie below it.
        end_of_document: The id that closes a document.
    """

    tokenizer: Tokenizer
    sha256: str
    size: int
    end_of_document: int

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text. A special token's name in a text is text like any other and gets ordinary ids."""
        cut = [list(pieces(text, LONGEST_PIECE)) for text in texts]
        encoded = iter(self.tokenizer.encode_batch_fast(list(chain.from_iterable(cut)), add_special_tokens=False))
        return [[token for encoding in islice(encoded, len(parts)) for token in encoding.ids] for parts in cut]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; special tokens are left out."""
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return text


def open_vocabulary(folder: Path) -> Vocabulary:
    """Open the tokenizer.json of a folder.

    Raises:
        VocabularyError: If it is missing, damaged, or has no end-of-document token.
    """
    path = folder / TOKENIZER
    if not path.is_file():
        raise VocabularyError(f"there is no {path}; run the stage vocabulary")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise VocabularyError(f"{path} is no tokenizer ({error}); run the stage vocabulary again") from None
    end = tokenizer.token_to_id(END_OF_DOCUMENT)
    if end is None:
        raise VocabularyError(f"{path} has no token {END_OF_DOCUMENT}, which closes a document")
    tokenizer.encode_special_tokens = True
    return Vocabulary(tokenizer, file_sha256(path), tokenizer.get_vocab_size(), end)


def tokenizer_configuration(kind: str) -> dict[str, Any]:
    """The tokenizer_config.json with which transformers opens the tokenizer."""
    configuration: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_DOCUMENT,
        "eos_token": END_OF_DOCUMENT,
        "pad_token": END_OF_DOCUMENT,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
    }
    if kind != "byte_bpe":
        configuration["unk_token"] = UNKNOWN
    return configuration
