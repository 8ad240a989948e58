"""Settings of the vocabulary."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

from jinja2 import Environment, TemplateSyntaxError
from jinja2.meta import find_undeclared_variables
from pydantic import Field, model_validator

from assets.vocabulary.patterns import (
    LONGEST_HAN_RUN,
    MOST_DIGITS,
    character_pre_tokenizer,
    pre_tokenizer,
    word_pre_tokenizer,
)
from training.settings import Settings

END_OF_DOCUMENT = "<|endoftext|>"
CHATML, NO_TEMPLATE = "chatml", "none"
CHATML_TOKENS = ("<|im_start|>", "<|im_end|>")
_GENERATION = re.compile(r"{%-?\s*(?:end)?generation\s*-?%}")


class VocabularySettings(Settings):
    """What a token is, and how many there are."""

    kind: Literal["byte_bpe", "unigram", "character", "word", "byte", "imported"] = Field(
        "byte_bpe",
        description="byte_bpe: byte-level byte-pair encoding; unigram: byte-level unigram model; byte: a token "
        "a byte; character: a token a character, others as bytes; these give back every text exactly. word: a token a "
        "word (for Chinese turn on filtered_text's segment_words). imported: somebody else's, see import_from.",
    )
    pattern: Literal["corpusline", "gpt2", "gpt4", "llama3", "qwen"] = Field(
        "corpusline",
        description="byte_bpe, unigram, and imported .tiktoken files: where text is cut before tokens are made. "
        "corpusline bounds runs of Chinese, digits and anything else; the others are cut as those models do.",
    )
    size: int = Field(
        6144, ge=2, description="Entries, special ones included; for unigram, character and word the most there may be."
    )
    sample_bytes: int = Field(
        1 << 30, ge=1, description="Text it is trained on, in bytes, shared by the sources' weights."
    )
    minimum_frequency: int = Field(2, ge=1, description="What occurs less often becomes no entry.")
    longest_han_run: int = Field(
        4,
        ge=1,
        le=LONGEST_HAN_RUN,
        description="Most Chinese characters in an entry; bounds memory, since Chinese has no spaces.",
    )
    digits_per_token: int = Field(3, ge=1, le=MOST_DIGITS, description="Most digits in an entry.")
    special_tokens: list[str] = Field(
        default_factory=list,
        description="Further special tokens, for example <|im_start|> and <|im_end|> of chats, or <|fim_prefix|>, "
        "<|fim_middle|> and <|fim_suffix|> of fill_in_the_middle. Their names in a text are text like any other.",
    )
    added_tokens: list[str] = Field(
        default_factory=list, description="Tokens that are added to the finished vocabulary and always kept whole."
    )
    chat_template: str = Field(
        NO_TEMPLATE, description="How a chat becomes text: none, chatml, or a Jinja template as transformers reads it."
    )
    import_from: str | None = Field(
        None,
        description="imported: a tokenizer.json, SentencePiece .model, .tiktoken file, or GPT-2's encoder.json with "
        "vocab.bpe beside it; a path or URI.",
    )
    end_of_document: str = Field(
        END_OF_DOCUMENT,
        min_length=1,
        description="imported: the token that closes a document; added if it is missing.",
    )

    @model_validator(mode="after")
    def _fits_the_kind(self) -> Self:
        if (self.kind == "imported") != (self.import_from is not None):
            raise ValueError("'import_from' goes with 'kind' = imported, and only with it")
        if self.kind != "imported" and self.end_of_document != END_OF_DOCUMENT:
            raise ValueError("'end_of_document' is for imported vocabularies")
        named = [END_OF_DOCUMENT, *self.special_tokens, *self.added_tokens]
        if twice := sorted({token for token in named if named.count(token) > 1 or not token}):
            raise ValueError(f"'special_tokens' and 'added_tokens': {twice[0]!r} is named twice, reserved, or empty")
        if self.kind != "imported":
            whole = next((token for token in self.special_tokens if len(self._cut(token)) < 2), None)
            if whole is not None:
                raise ValueError(
                    f"'special_tokens': {whole!r} is what a text is cut into as well, so that it would be special in a "
                    f"text, too; name it as no text is cut, such as <|{whole}|>"
                )
        if self.chat_template not in (CHATML, NO_TEMPLATE):
            _check_template(self.chat_template)
        missing = [token for token in CHATML_TOKENS if token not in self.special_tokens]
        if self.chat_template == CHATML and self.kind != "imported" and missing:
            raise ValueError(f"'chat_template' = chatml needs {' and '.join(missing)} among 'special_tokens'")
        return self

    def _cut(self, text: str) -> list[Any]:
        """The pieces that a text is cut into before tokens are made."""
        if self.kind == "character":
            cutter = character_pre_tokenizer()
        elif self.kind == "word":
            cutter = word_pre_tokenizer(self.longest_han_run)
        else:
            cutter = pre_tokenizer(
                self.pattern, longest_han_run=self.longest_han_run, digits_per_token=self.digits_per_token
            )
        pieces: list[Any] = cutter.pre_tokenize_str(text)
        return pieces


def _check_template(template: str) -> None:
    """Refuse what transformers could not read, or what says nothing of the messages."""
    try:
        # transformers has a tag of its own, which marks what the assistant says.
        parsed = Environment(extensions=["jinja2.ext.loopcontrols"]).parse(_GENERATION.sub("", template))
    except TemplateSyntaxError as error:
        raise ValueError(f"'chat_template', line {error.lineno}, is no Jinja template: {error.message}") from None
    if "messages" not in find_undeclared_variables(parsed):
        raise ValueError(
            f"'chat_template' = {template[:40]!r} is neither {NO_TEMPLATE} nor {CHATML}, nor a Jinja template that "
            "writes 'messages'"
        )


class VocabularyReportSettings(Settings):
    """On how much text a vocabulary is measured."""

    sample_bytes: int = Field(1 << 20, ge=1, description="Most text of each dump, in bytes.")
