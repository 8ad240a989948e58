"""Frequent words by which running text is told from lists, by language.

English: Gopher's eight (Rae et al. 2021, A.1.1). Chinese: the 22 of FineWeb-2's ``configs/cmn_Hani.yml``, in simplified
and traditional writing.
"""

from __future__ import annotations

from collections.abc import Mapping

STOP_WORDS: Mapping[str, tuple[str, ...]] = {
    "en": ("the", "be", "to", "of", "and", "that", "have", "with"),
    "zh": tuple("的年在月是和日了於·為有被人中为他與後也而由"),
    "yue": tuple("的年在月是和日了於·為有被人中为他與後也而由"),
}
