"""JSON text of events, both ways."""

import pytest

from schemas import text
from schemas.events import DeadLetter, TaskRequested

ID = "00000000-0000-0000-0000-000000000000"


def test_times_and_bytes_read_well_and_come_back() -> None:
    letter = DeadLetter(
        event_id=ID, occurred_at=1_700_000_000_123, producer="t", source_topic="x",
        source_partition=0, source_offset=1, reason="why", raw=b"\x00\xff",
    )  # fmt: skip
    data = text.to_json("dead_letters", letter)
    assert data["occurred_at"] == "2023-11-14T22:13:20.123Z"
    assert data["raw"] == "AP8="
    assert text.from_json("dead_letters", data) == letter


def test_tailed_lines_can_be_produced_again() -> None:
    request = TaskRequested(
        event_id=ID, kind="cancel", occurred_at=5, producer="t", body_sha256="", deadline=7
    )
    tailed = text.to_tail("tasks.requested", 3, 9, request)
    assert (tailed["topic"], tailed["partition"], tailed["offset"]) == ("tasks.requested", 3, 9)
    assert tailed["deadline"] == "1970-01-01T00:00:00.007Z"
    assert text.from_json("tasks.requested", tailed) == request


@pytest.mark.parametrize("bad", ["yesterday", "", True, 1.5, None])
def test_what_is_no_time_is_refused(bad: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 # any of Python's own texts will do
        text.ms_of(bad)  # type: ignore[arg-type]


def test_a_zone_is_honoured_and_none_is_utc() -> None:
    assert text.ms_of("2026-01-01T08:00:00+08:00") == text.ms_of("2026-01-01T00:00:00")


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValueError, match="surprise"):
        text.from_json("tasks.requested", {"surprise": 1})
