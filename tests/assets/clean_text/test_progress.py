from __future__ import annotations

import pytest

from assets.clean_text.progress import at_most_every, byte_size, duration, log_progress, progress_line


def test_a_line_says_how_far_how_fast_and_how_long() -> None:
    line = progress_line("filtered_text", done=1_204_000_000, total=3_500_000_000, speed=41_000_000)
    assert line == "filtered_text: 34 % (1.2 GB of 3.5 GB), 41 MB/s, 56 s left"


@pytest.mark.parametrize(
    ("done", "total", "line"),
    [
        (0, 900, "stage: 0 % (0 B of 900 B)"),
        (0, 0, "stage: 100 % (0 B of 0 B)"),
        (7_000, 7_000, "stage: 100 % (7.0 kB of 7.0 kB)"),
        (999, 1000, "stage: 99 % (999 B of 1.0 kB)"),
    ],
)
def test_without_a_speed_nothing_is_foretold(done: int, total: int, line: str) -> None:
    assert progress_line("stage", done=done, total=total, speed=0) == line


def test_sizes_have_the_unit_that_suits_them() -> None:
    sizes = (0, 999, 1_000, 9_940, 9_960, 99_000, 999_400, 999_600, 41_000_000, 3_500_000_000_000)
    assert [byte_size(size) for size in sizes] == [
        *("0 B", "999 B", "1.0 kB", "9.9 kB", "10 kB", "99 kB", "999 kB", "1.0 MB", "41 MB", "3.5 TB")
    ]


def test_durations_have_the_unit_that_suits_them() -> None:
    assert [duration(seconds) for seconds in (0.2, 99, 100, 720, 12_000)] == [
        "0 s",
        "99 s",
        "2 min",
        "12 min",
        "3 h 20 min",
    ]


def test_it_is_reported_seldom_and_at_the_end() -> None:
    calls: list[int] = []
    seldom = at_most_every(3600, lambda done, total, documents: calls.append(done))
    for done in range(101):
        seldom(done, 100, done)
    assert calls == [0, 100]


def test_lines_are_logged_with_a_speed_from_the_second_on() -> None:
    lines: list[str] = []
    progress = log_progress("stage", lines.append)
    progress(0, 100, 0)
    progress(100, 100, 7)
    assert lines[0] == "stage: 0 % (0 B of 100 B)"
    assert lines[1].startswith("stage: 100 % (100 B of 100 B), ")
    assert lines[1].endswith("/s, 0 s left")
