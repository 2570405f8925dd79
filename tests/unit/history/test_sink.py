"""How far the sink has read, also where the last offsets are no records (field report K3)."""

import threading
from typing import Any

import pytest

from ringlog.health import Health
from ringlog.kafka import sync
from ringlog.settings import Settings
from streams.history.sink import Sink

PLACE = ("audit", 0)


def test_k3_markers_are_passed_with_the_next_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = Sink(Settings(), Health("history"), threading.Event())
    sink._read_to = {PLACE: 5}
    polls: list[tuple[list[int], int | None]] = [
        ([5, 6], None), ([], 8), ([], 8), ([9], None), ([10], 11), ([], 11),
    ]  # fmt: skip

    def take(_: Any, __: int, ___: float, ended: dict[Any, int], **____: Any) -> dict[Any, Any]:
        offsets, end = polls.pop(0)
        if end is not None:
            ended[PLACE] = end
        records = [sync.RawRecord(*PLACE, n, 0, None, b"x") for n in offsets]
        return {PLACE: records} if records else {}

    monkeypatch.setattr(sync, "take", take)

    def read(times: int) -> None:
        for _ in range(times):
            sink._poll(None, 0.0)  # type: ignore[arg-type] # `take` is ours

    read(2)
    batch = sink._buffer.take()
    assert (batch.begins, batch.ends) == ({PLACE: 5}, {PLACE: 8})
    assert [row.offset for row in batch.rows[PLACE]] == [5, 6]
    read(1)
    assert sink._buffer.wait_s(0.0) is None, "the same end is no news"
    read(2)
    batch = sink._buffer.take()
    assert (batch.begins, batch.ends) == ({PLACE: 8}, {PLACE: 11})
    assert [row.offset for row in batch.rows[PLACE]] == [9, 10]
    read(1)
    assert sink._buffer.wait_s(0.0) is None
