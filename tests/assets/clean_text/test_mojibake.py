from __future__ import annotations

import re
import sys
from collections.abc import Sequence

import ftfy
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from ftfy.badness import MOJIBAKE_CATEGORIES, is_bad
from hypothesis import example, given, settings
from hypothesis import strategies as st

from assets.clean_text.mojibake import MOJIBAKE, repair_mojibake


def matches(texts: Sequence[str]) -> list[bool]:
    found: list[bool] = pc.match_substring_regex(pa.array(texts, pa.string()), MOJIBAKE).to_pylist()
    return found


def members(category: str) -> str:
    """The characters of a regular expression's class body with ranges."""
    return "".join(
        character for character in map(chr, range(sys.maxunicode + 1)) if re.match(f"[{category}]", character)
    )


SOME = "".join(
    characters[:: max(1, len(characters) // 16)] for characters in map(members, MOJIBAKE_CATEGORIES.values())
)
# And what stands in the expression itself.
OTHERS = "ŒœÂÃÎÐØÙŠšŸž×²³à¹√±∂†≠®™´≤≥¥µ≈°¢‚Äìîïòôúùûπâóàäêâ€ВГРСвЂ\u0452ΒΓΞΟβĀāAaz.,?!_中 \t\u00a0\u3000\n"
mojibake = st.text(st.sampled_from(SOME + OTHERS), max_size=12)
garbled = st.text(max_size=12).map(lambda text: text.encode("utf-8", "replace").decode("latin-1"))


@settings(max_examples=2000, deadline=None)
@given(st.lists(mojibake | garbled, max_size=3).map("\n".join))
@example("a\nÂ b")
@example("ГўВЂВ a")
@example("œ\n")
def test_every_line_that_is_bad_to_ftfy_is_found(text: str) -> None:
    if any(map(is_bad, text.split("\n"))):
        assert matches([text]) == [True]


def test_white_space_and_letters_of_all_scripts_are_those_of_python() -> None:
    characters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000 and chr(code) != "\n"]
    for before, after in (("", "À€"), ("À®", "")):
        bad = [text for character in characters if is_bad(text := before + character + after)]
        assert len(bad) > 20
        assert all(matches(bad))


@pytest.mark.parametrize(
    "text",
    ["plain", "naïve café", "“quoted” — and…", "中文，没有问题。", "Привет, мир", "Ελληνικά", "3 × 4 = 12 m²", "20 °C"],
)
def test_ordinary_text_is_not_looked_at_by_ftfy(text: str) -> None:
    assert matches([text]) == [False]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.lists(mojibake | garbled | st.text(max_size=12), max_size=3).map("\n".join), max_size=4))
def test_each_line_is_repaired_as_ftfy_does(texts: list[str]) -> None:
    repaired = repair_mojibake(pa.array(texts, pa.string())).to_pylist()
    assert repaired == ["\n".join(map(ftfy.fix_encoding, text.split("\n"))) for text in texts]


def test_a_good_line_beside_a_bad_one_stays() -> None:
    (repaired,) = repair_mojibake(pa.array(["sÃ³\n\n中文 × ±1\nvoilÃ\xa0 le\n"])).to_pylist()
    assert repaired == "só\n\n中文 × ±1\nvoilà le\n"
