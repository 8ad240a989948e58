from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.clean_text.signatures import signatures


def signature(text: str) -> str:
    return str(signatures(pa.array([text], pa.string()))[0].as_py())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("To be, or not to be.", "to be -- or not to be"),
        ("你好，世界！", "你好 世界"),
        ("ＡＢＣ１２３", "abc 123"),
        ("STRASSE", "straße"),
        ("ﬃ", "FFI"),
        ("ΐ", "\u0399\u0308\u0301"),
        ("½", "1⁄2"),
        ("", " \n"),
        ("!!!", "! ! !"),
    ],
)
def test_differences_that_do_not_matter(one: str, other: str) -> None:
    assert signature(one) == signature(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("你好世界", "世界你好"),
        ("version 1", "version 2"),
        ("!!!", "???"),
        ("!!!", ""),
        ("की", "का"),
        ("résumé", "resume"),
        ("台灣", "台湾"),
    ],
)
def test_differences_that_matter(one: str, other: str) -> None:
    assert signature(one) != signature(other)


def test_a_signature_is_32_hex_digits_and_never_changes() -> None:
    # BLAKE2b-128 of "hello你好", from another implementation: printf 'hello你好' | b2sum -l 128
    assert signature("Hello, 你好！") == "3f4e462effc41900715ffb6967c65eb8"


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_case_and_spacing_do_not_matter(text: str) -> None:
    assert signature(text) == signature(text.casefold()) == signature(" ".join(text))
