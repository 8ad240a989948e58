"""What a user may set about repeated text: what the filter stage hashes, and what is cut afterwards."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from training.settings import Settings

Mode = Literal["keep", "first", "boilerplate"]

_MODE = (
    "What happens to a {unit} that stands in more than {unit}_documents documents. keep: nothing. first: it stays in "
    "the document that comes first in the catalogue, and goes from all others. boilerplate: it goes from every "
    "document of a source, if more than that many documents of this source have it."
)


class HashSettings(Settings):
    """What of each document is hashed, so that repetition can be found later. Hashes cost room, and cut nothing."""

    lines: bool = Field(
        False,
        description="Hash the lines. For text in which a line is a sentence or more, as on web pages; take paragraphs "
        "where lines are broken at some width.",
    )
    line_characters: int = Field(
        30,
        ge=1,
        description="Shortest line that is hashed, in characters; Han, kana and Hangul count twice.",
    )
    paragraphs: bool = Field(False, description="Hash the paragraphs, which blank lines separate.")
    paragraph_characters: int = Field(
        100, ge=1, description="Shortest paragraph that is hashed, counted in the same way."
    )
    passages: bool = Field(False, description="Hash what is needed to find repeated passages.")
    passage_words: int = Field(
        50,
        ge=4,
        le=1000,
        description="Shortest passage that is found, in words; a character of a script without spaces between words "
        "(Han, kana, Thai ...) counts for half a word.",
    )


class CutSettings(Settings):
    """What of the repeated text goes. Nothing does by default."""

    lines: Mode = Field("keep", description=_MODE.format(unit="line"))
    line_documents: int = Field(10, ge=1, description="Documents that may have the same line.")
    paragraphs: Mode = Field("keep", description=_MODE.format(unit="paragraph"))
    paragraph_documents: int = Field(1, ge=1, description="Documents that may have the same paragraph.")
    passages: bool = Field(
        False,
        description="Cut passages that stand in another document which comes first in the catalogue, word by word the "
        "same. Their length is set where they are hashed.",
    )
    whole_sentences: bool = Field(
        True, description="Of a passage that begins or ends within a sentence, leave that sentence whole."
    )
