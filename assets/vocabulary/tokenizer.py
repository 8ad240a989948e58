"""A finished vocabulary: how it is opened and used."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from assets.vocabulary.byte_letters import bytes_of
from assets.vocabulary.errors import VocabularyError
from assets.vocabulary.kinds import UNKNOWN
from assets.vocabulary.long_texts import encode_texts
from assets.vocabulary.settings import CHATML, END_OF_DOCUMENT, NO_TEMPLATE, VocabularySettings
from training.artifact import file_sha256

TOKENIZER = "tokenizer.json"
CONFIGURATION = "tokenizer_config.json"

_INVALID = re.compile("([\udc80-\udcff]+)")
_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")
_CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


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
        return encode_texts(self.tokenizer, texts)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, with U+FFFD for bytes that are no UTF-8; special tokens are left out."""
        if self.is_exact:
            return self.decode_bytes(ids).decode("utf-8", "replace")
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def encode_bytes(self, data: bytes) -> list[int]:
        """Ids of any bytes: stretches of UTF-8 as text, each byte of the others as the token of that byte.

        Raises:
            VocabularyError: If there are such others and the vocabulary has no token for each byte.
        """
        parts = _INVALID.split(data.decode("utf-8", "surrogateescape"))
        ids: list[int] = []
        for number, part in enumerate(parts):
            if number % 2 == 0:
                ids += self.encode_batch([part])[0]
            else:
                ids += [self._byte_ids[byte] for byte in part.encode("utf-8", "surrogateescape")]
        return ids

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """The bytes of ids; special tokens are left out."""
        if self.is_exact:
            names, special = self.token_bytes(), self._special
            return b"".join(names[token] for token in ids if token not in special)
        return self.decode(ids).encode()

    def token_bytes(self) -> list[bytes]:
        """The bytes that each id stands for, in a text; of a special token its name."""
        return self._token_bytes

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids of the special tokens."""
        return self._special

    @cached_property
    def is_exact(self) -> bool:
        """Whether the text of tokens is that of each, one after the other."""
        return "ByteLevel" in self._decoders or self._decoders == {"ByteFallback", "Fuse"}

    @cached_property
    def _definition(self) -> dict[str, Any]:
        definition: dict[str, Any] = json.loads(self.tokenizer.to_str())
        return definition

    @cached_property
    def _special(self) -> frozenset[int]:
        return frozenset(token["id"] for token in self._definition["added_tokens"] if token["special"])

    @cached_property
    def _decoders(self) -> frozenset[str]:
        """Names of the steps by which tokens become text."""
        decoder = self._definition["decoder"] or {"type": "none"}
        return frozenset(step["type"] for step in decoder.get("decoders", [decoder]))

    @cached_property
    def _token_bytes(self) -> list[bytes]:
        added = {token["id"] for token in self._definition["added_tokens"]}
        names = [b""] * self.size
        for token, number in self.tokenizer.get_vocab().items():
            names[number] = token.encode() if number in added else self._bytes_of(token)
        return names

    def _bytes_of(self, token: str) -> bytes:
        if "ByteLevel" in self._decoders:
            try:
                return bytes_of(token)
            except KeyError:
                return token.encode()
        if "ByteFallback" in self._decoders and (byte := _BYTE_TOKEN.fullmatch(token)):
            return bytes([int(byte[1], 16)])
        if self._decoders & {"Metaspace", "Replace"}:
            return token.replace("▁", " ").encode()
        return token.encode()

    @cached_property
    def _byte_ids(self) -> list[int]:
        found: dict[int, int] = {}
        added = {token["id"] for token in self._definition["added_tokens"]}
        for number, name in enumerate(self._token_bytes):
            if len(name) == 1 and number not in added and (name[0] >= 0x80 or name[0] not in found):
                found[name[0]] = number
        if len(found) < 256:
            raise VocabularyError(
                "this vocabulary has no token for each byte, so bytes that are no UTF-8 cannot be encoded with it; "
                "use byte_bpe, unigram, byte or character"
            )
        return [found[byte] for byte in range(256)]


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
    name = _end_of_document(folder)
    end = tokenizer.token_to_id(name)
    if end is None:
        raise VocabularyError(f"{path} has no token {name}, which closes a document")
    tokenizer.encode_special_tokens = True
    return Vocabulary(tokenizer, file_sha256(path), tokenizer.get_vocab_size(), end)


def tokenizer_configuration(settings: VocabularySettings) -> dict[str, Any]:
    """The tokenizer_config.json with which transformers opens the tokenizer."""
    configuration: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": settings.end_of_document,
        "eos_token": settings.end_of_document,
        "pad_token": settings.end_of_document,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
    }
    if settings.kind == "word":
        configuration["unk_token"] = UNKNOWN
    if settings.special_tokens:
        configuration["additional_special_tokens"] = settings.special_tokens
    if settings.chat_template != NO_TEMPLATE:
        configuration["chat_template"] = _CHATML if settings.chat_template == CHATML else settings.chat_template
    return configuration


def write_vocabulary(tokenizer: Tokenizer, settings: VocabularySettings, out: Path) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json``."""
    tokenizer.save(str(out / TOKENIZER), pretty=False)
    text = json.dumps(tokenizer_configuration(settings), indent=2, sort_keys=True, ensure_ascii=False)
    (out / CONFIGURATION).write_text(text + "\n", encoding="utf-8")


def _end_of_document(folder: Path) -> str:
    """The name of the token that closes a document: what the configuration says, where there is one."""
    try:
        configuration = json.loads((folder / CONFIGURATION).read_text(encoding="utf-8"))
        return str(configuration["eos_token"])
    except (OSError, ValueError, KeyError):
        return END_OF_DOCUMENT
