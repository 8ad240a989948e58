"""Signatures: two texts that differ only in case, width, spacing and punctuation have the same one."""

from __future__ import annotations

import hashlib
import unicodedata

import pyarrow as pa
import pyarrow.compute as pc
import regex

from assets.clean_text.arrays import string_array, strings

SIGNATURES: pa.Schema = pa.schema([("doc_id", pa.string()), ("signature", pa.string())])
"""Schema of ``signatures.parquet``: a row for each document that passed the rules, in the documents' order."""

_SIGNATURE_BYTES = 16
_OTHER = regex.compile(r"[^\p{L}\p{M}\p{N}]+")


def signatures(texts: pa.StringArray) -> pa.StringArray:
    """BLAKE2b-128 of each text's letters, marks and digits after NFKC and case folding: 32 hex digits each.

    A text without any is represented by what it has beside white space, so that "!!!" is no copy of "???".

    Args:
        texts: Any texts; no nulls.
    """
    contents = pc.replace_substring_regex(texts, pattern=_OTHER.pattern, replacement="")
    return string_array(
        [
            _digest(_fold(content) if content else "\0" + "".join(text.split()))
            for content, text in zip(strings(contents), strings(texts), strict=True)
        ]
    )


def _fold(content: str) -> str:
    if content.isascii():
        return content.lower()
    # Both steps can undo the other ("ΐ", "ﬃ"), so composition comes first and last; compatibility forms may hold marks
    # of their own, such as the slash of "½".
    folded = _compose(_compose(content).casefold())
    return folded if folded == content else _OTHER.sub("", folded)


def _compose(content: str) -> str:
    return content if unicodedata.is_normalized("NFKC", content) else unicodedata.normalize("NFKC", content)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=_SIGNATURE_BYTES).hexdigest()
