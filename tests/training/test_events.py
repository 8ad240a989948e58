from __future__ import annotations

from pathlib import Path

from training.events import EVENTS, Event, append_event, read_events


def test_events_come_back_as_they_were_and_half_a_line_is_none(tmp_path: Path) -> None:
    assert read_events(tmp_path) == []
    first = Event("restart", "重新开始\nagain", step=3, details={"code": 1}, time=12.5)
    append_event(tmp_path, first)
    with (tmp_path / EVENTS).open("ab") as file:
        file.write(b'{"kind": "spi')
    assert read_events(tmp_path) == [first]
    second = Event("spike", "one", time=13.0)
    append_event(tmp_path, second)
    assert read_events(tmp_path) == [first, second]
