from __future__ import annotations

import math
import re
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.clean_text.kernels.buffers import utf8
from assets.clean_text.kernels.character_grams import character_variety, repeated_windows
from assets.clean_text.kernels.lines import measure_lines
from assets.clean_text.kernels.ngrams import repeated_characters
from assets.clean_text.kernels.unicode_tables import character_bits
from assets.clean_text.signals.batch import split

WORDS = st.lists(st.sampled_from(["a", "bb", "ccc", "dd"]), max_size=60)
LINES = st.lists(st.sampled_from(["", "a", "bb.", "- c", "• d…", "e...", "好。", "x" * 31]), max_size=14)


def top(words: list[str], size: int) -> int:
    """Characters of the most frequent n-gram, the first of several, with spaces, times its occurrences."""
    grams = [" ".join(words[place : place + size]) for place in range(len(words) - size + 1)]
    if not grams:
        return 0
    gram, count = max(Counter(grams).items(), key=lambda item: item[1])
    return len(gram) * count


def repeated(words: list[str], size: int) -> int:
    """Characters of n-grams that were seen before, none counted twice, going on behind each."""
    seen: set[tuple[str, ...]] = set()
    total = place = 0
    while place + size <= len(words):
        gram = tuple(words[place : place + size])
        if gram in seen:
            total += sum(map(len, gram))
            place += size
        else:
            seen.add(gram)
            place += 1
    return total


@given(st.lists(WORDS, max_size=4))
def test_n_grams_are_counted_as_defined(texts: list[list[str]]) -> None:
    found = repeated_characters(split(pa.array([" ".join(words) for words in texts], pa.string()), "english"))
    for row, words in zip(found.tolist(), texts, strict=True):
        expected = [top(words, size) for size in (2, 3, 4)] if len(words) > 1 else [0, 0, 0]
        assert row == expected + [repeated(words, size) for size in range(5, 11)]


@given(st.lists(LINES, max_size=4))
def test_lines_are_measured_as_defined(texts: list[list[str]]) -> None:
    joined = ["\n".join(lines).strip("\n") for lines in texts]
    found = measure_lines(*utf8(pa.array(joined, pa.string())), character_bits())
    for index, text in enumerate(joined):
        lines = text.splitlines()
        filled = [line for line in lines if line.strip()]
        parts = re.split("\n+", text) if text else []
        paragraphs = re.split("\n{2,}", text) if text else []
        second = [part for place, part in enumerate(parts) if part in parts[:place]]
        again = [block for place, block in enumerate(paragraphs) if block in paragraphs[:place]]
        assert {name: values[index] for name, values in found._asdict().items()} == {
            "all": len(lines),
            "filled": len(filled),
            "parts": len(parts),
            "paragraphs": len(paragraphs),
            "longest": max(map(len, parts), default=0),
            "bullets": sum(line.startswith(("-", "•")) for line in lines),
            "ellipses": sum(line.endswith(("...", "…")) for line in lines),
            "terminals": sum(line.endswith((".", "。")) for line in filled),
            "short": sum(len(line) <= 30 for line in filled),
            "breaks": text.count("\n"),
            "repeated_parts": len(second),
            "repeated_part_characters": sum(map(len, second)),
            "repeated_paragraphs": len(again),
            "repeated_paragraph_characters": sum(map(len, again)),
        }


@given(st.lists(st.text(st.sampled_from("ab \n好😀")), max_size=4), st.integers(1, 5))
def test_windows_and_variety_are_measured_as_defined(texts: list[str], width: int) -> None:
    data, offsets = utf8(pa.array(texts, pa.string()))
    windows, second = repeated_windows(data, offsets, width=width)
    distinct, entropy, visible = character_variety(data, offsets)
    for index, text in enumerate(texts):
        content = "".join(text.split())
        grams = [content[place : place + width] for place in range(len(content) - width + 1)]
        assert (windows[index], second[index]) == (len(grams), len(grams) - len(set(grams)))
        shares = [count / len(content) for count in Counter(content).values()]
        assert (distinct[index], visible[index]) == (len(shares), len(content))
        assert entropy[index] == pytest.approx(-sum(share * math.log2(share) for share in shares), abs=1e-9)


def test_millions_of_empty_lines_and_a_line_of_megabytes() -> None:
    found = measure_lines(*utf8(pa.array(["\n" * 2_000_000, "好" * 2_000_000])), character_bits())
    assert found.filled.tolist() == [0, 1]
    assert found.longest.tolist() == [0, 2_000_000]
