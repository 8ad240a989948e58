from __future__ import annotations

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.raw_text.globs import matches


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("*.txt", ["a.txt", "b/a.txt", ".txt", "a.b.txt"], ["a.txt.md", "a.TXT", "txt"]),
        ("/*.txt", ["a.txt"], ["b/a.txt"]),
        ("b/*.txt", ["b/a.txt", "c/b/a.txt"], ["b/c/a.txt", "cb/a.txt"]),
        ("/b/**", ["b/a", "b/c/a"], ["c/b/a", "b"]),
        ("b/**/a.txt", ["b/a.txt", "b/c/d/a.txt", "x/b/a.txt"], ["b/ca.txt"]),
        ("**/a.txt", ["a.txt", "b/c/a.txt"], ["ba.txt"]),
        ("**", ["a", "a/b"], []),
        ("?.txt", ["a.txt", "好.txt"], ["ab.txt", ".txt"]),
        ("a?b", ["axb"], ["a/b"]),
        ("[a-c].txt", ["b.txt"], ["d.txt", "-.txt"]),
        ("[!a-c].txt", ["d.txt"], ["b.txt"]),
        ("a[!x]b", ["ayb"], ["a/b", "axb"]),
        ("[]].txt", ["].txt"], ["a.txt"]),
        ("[^a].txt", ["a.txt", "^.txt"], ["b.txt"]),
        ("[[].txt", ["[.txt"], ["a.txt"]),
        ("[\\d].txt", ["d.txt", "\\.txt"], ["1.txt"]),
        ("[a.txt", ["[a.txt"], ["a.txt"]),
        ("a+(b).txt", ["a+(b).txt"], ["aab.txt"]),
        ("a\n*", ["a\nb"], ["ab"]),
    ],
)
def test_what_a_glob_matches(glob: str, yes: list[str], no: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [path for path in [*yes, *no] if matches(path, [glob])] == yes


def test_one_of_several_globs_is_enough() -> None:
    assert matches("a.md", ["*.txt", "*.md"])
    assert not matches("a.md", [])


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="/*?["), min_size=1, max_size=5), min_size=1, max_size=4))
def test_a_path_matches_itself_and_every_end_of_it(parts: list[str]) -> None:
    path = "/".join(parts)
    for start in range(len(parts)):
        assert matches(path, ["/".join(parts[start:])])
        assert matches(path, ["/" + "/".join(parts[start:])]) == ("/".join(parts[start:]) == path)
    assert matches(path, ["**"]) and matches(path, ["*"]) and matches(path, ["/**/*"])
