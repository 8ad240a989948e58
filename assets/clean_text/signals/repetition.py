"""Repeated n-grams of words and of characters."""

from __future__ import annotations

import pyarrow as pa

from assets.clean_text.kernels.buffers import Array
from assets.clean_text.kernels.character_grams import repeated_windows
from assets.clean_text.signals.batch import TextBatch, ratio
from assets.clean_text.signals.registry import Compute, signal

_WINDOW = 13


def _gram_share(column: int, name: str, description: str, example: tuple[str, float]) -> Compute:
    def compute(batch: TextBatch) -> Array:
        return ratio(batch.repeated_characters[:, column], batch.characters)

    compute.__name__ = name
    compute.__doc__ = description
    return signal(pa.float64(), example=example)(compute)


for _column, (_size, _example) in enumerate(
    {2: ("go on go on go", 10 / 14), 3: ("a b c d a b c d", 10 / 15), 4: ("a b c d e a b c d", 14 / 17)}.items()
):
    _gram_share(
        _column,
        f"top_{_size}_gram_character_share",
        f"Share of the text's characters in its most frequent {_size}-gram of pieces (Gopher, table A1).",
        _example,
    )
for _column, _size in enumerate(range(5, 11), start=3):
    _words = " ".join("abcdefghij"[:_size])
    _gram_share(
        _column,
        f"duplicate_{_size}_gram_character_share",
        f"Share of the text's characters in {_size}-grams of pieces that stand in the text before, none counted twice "
        "(Gopher, table A1).",
        (f"{_words} {_words}", _size / (4 * _size - 1)),
    )


@signal(pa.float64(), example=("abcdefghijklm" * 2, 1 / 14))
def duplicate_13_character_share(batch: TextBatch) -> Array:
    """Share of the windows of 13 characters, white space left out, that stand in the text before (ChineseWebText).

    Measured over the first 2^20 characters.
    """
    windows, repeated = repeated_windows(*batch.buffers, width=_WINDOW)
    return ratio(repeated, windows)
