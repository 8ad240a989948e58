"""Which characters a document is written in. Shares are of the characters that are not white space."""

from __future__ import annotations

import pyarrow as pa

from assets.clean_text.kernels import unicode_tables as bits
from assets.clean_text.kernels.buffers import Array
from assets.clean_text.signals.batch import TextBatch, ratio
from assets.clean_text.signals.registry import signal


@signal(pa.float64(), example=("ab 12", 0.5))
def letter_share(batch: TextBatch) -> Array:
    """Share of letters of any script, with their marks."""
    return ratio(batch.count(bits.LETTER) + batch.count(bits.MARK), batch.visible_characters)


@signal(pa.float64(), example=("ab 12", 0.5))
def digit_share(batch: TextBatch) -> Array:
    """Share of digits and other numerals of any script."""
    return batch.share(bits.DIGIT)


@signal(pa.float64(), example=("a, b", 1 / 3))
def punctuation_share(batch: TextBatch) -> Array:
    """Share of punctuation of any script."""
    return batch.share(bits.PUNCTUATION)


@signal(pa.float64(), example=("1 + 1", 1 / 3))
def symbol_share(batch: TextBatch) -> Array:
    """Share of symbols: currency, mathematics, arrows, emoji, boxes."""
    return batch.share(bits.SYMBOL)


@signal(pa.float64(), example=("Ab C", 2 / 3))
def capital_share(batch: TextBatch) -> Array:
    """Share of capital letters among letters."""
    return ratio(batch.count(bits.CAPITAL), batch.count(bits.LETTER))


@signal(pa.float64(), example=("好书 a", 2 / 3), language="zh")
def han_share(batch: TextBatch) -> Array:
    """Share of Han characters among letters; digits and punctuation are common to all scripts."""
    return _among_letters(batch, bits.HAN)


@signal(pa.float64(), example=("好书。a", 0.5), language="zh")
def han_text_share(batch: TextBatch) -> Array:
    """Share of Han characters among all characters (ChineseWebText, ``preprocess.py``)."""
    return ratio(batch.count(bits.HAN), batch.characters)


@signal(pa.float64(), example=("好书 a", 1 / 3), language="zh")
def latin_share(batch: TextBatch) -> Array:
    """Share of Latin letters among letters; digits and punctuation are common to all scripts."""
    return _among_letters(batch, bits.LATIN)


@signal(pa.float64(), example=("本をよむ", 0.75), language="ja")
def kana_share(batch: TextBatch) -> Array:
    """Share of hiragana and katakana among letters: Japanese has them in almost every sentence, Chinese none."""
    return _among_letters(batch, bits.KANA)


@signal(pa.float64(), example=("책 a", 0.5), language="ko")
def hangul_share(batch: TextBatch) -> Array:
    """Share of hangul among letters."""
    return _among_letters(batch, bits.HANGUL)


@signal(pa.float64(), example=("a\ufffd", 0.5))
def undecoded_share(batch: TextBatch) -> Array:
    """Share of U+FFFD and private use characters: they stand where a decoder met bytes it did not understand."""
    return batch.share(bits.UNDECODED)


def _among_letters(batch: TextBatch, script: int) -> Array:
    letters = batch.count(bits.LETTER) + batch.count(bits.MARK)
    # A script's marks are letters here too; its signs and digits are not, so that a share is at most 1.
    return ratio(batch.count(script).clip(max=letters), letters)
