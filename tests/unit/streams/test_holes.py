"""Which offsets nobody is given a record of (field report K3), on a log of lists."""

from typing import Any, cast

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st

from ringlog.settings import Settings
from streams.holes import Holes
from streams.progress import Progress, Stuck

TP = TopicPartition("calls.events", 0)


class FakeConsumer:
    """A partition whose records have these offsets, and which ends at `end`."""

    def __init__(self, offsets: set[int], end: int, at_once: int = 3) -> None:
        self.offsets, self.end, self.at_once = sorted(offsets), end, at_once
        self.at = 0
        self.reads = 0

    def assign(self, tps: list[TopicPartition]) -> None:
        assert tps == [TP]

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.at = offset

    async def getmany(self, **_: Any) -> dict[TopicPartition, list[ConsumerRecord[Any, Any]]]:
        self.reads += 1
        found = [n for n in self.offsets if n >= self.at][: self.at_once]
        self.at = found[-1] + 1 if found and found[-1] < self.offsets[-1] else self.end
        return {TP: [ConsumerRecord(*TP, n, 0, 1, None, b"", 0, 0, 0, ()) for n in found]}

    async def position(self, tp: TopicPartition) -> int:
        return self.at


def holes_of(consumer: FakeConsumer) -> Holes:
    made = Holes(Settings())
    made._consumer = cast(Any, consumer)
    return made


@settings(max_examples=200, deadline=None)
@given(
    offsets=st.sets(st.integers(0, 30)),
    asked=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 31)), min_size=1),
)
async def test_k3_it_says_what_the_log_says(
    offsets: set[int], asked: list[tuple[int, int]]
) -> None:
    holes = holes_of(FakeConsumer(offsets, 31))
    for begin, end in asked:
        if begin < end:
            right = min((n for n in offsets if begin <= n < end), default=None)
            assert await holes.first_between(TP.topic, TP.partition, begin, end) == right


async def test_k3_many_small_transactions_cost_few_reads() -> None:
    """Every other offset is a marker."""
    consumer = FakeConsumer(set(range(0, 4_000, 2)), 4_000, at_once=1_000)
    holes = holes_of(consumer)
    for marker in range(1, 3_990, 2):
        assert await holes.first_between(TP.topic, TP.partition, marker, marker + 1) is None
    assert consumer.reads <= 4


async def test_k3_a_marker_last_is_no_lag_and_no_reason_to_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    holes = holes_of(FakeConsumer({0, 1, 2}, 4))
    progress = Progress(Settings(), "group", [TP.topic], holes, stuck_s=0.0)
    done = {TP: 3}

    async def committed() -> dict[TopicPartition, int]:
        return done

    async def ends(_: str) -> dict[TopicPartition, int]:
        return {TP: 4}

    monkeypatch.setattr(progress, "committed", committed)
    monkeypatch.setattr(progress, "ends", ends)
    mine = {TP.topic: {0}}
    assert await progress.check(mine) == {}
    for _ in range(3):
        assert await progress.check(mine) == {tuple(TP): 4}
    assert await progress.reached({TP: 4})
    done[TP] = 2
    assert not await progress.reached({TP: 4})
    assert await progress.check(mine) == {}
    with pytest.raises(Stuck):
        await progress.check(mine)


async def test_review_10_work_that_we_have_paused_does_not_stand_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    progress = Progress(
        Settings(), "group", [TP.topic], holes_of(FakeConsumer({0, 1, 2}, 3)), stuck_s=0.0
    )

    async def committed() -> dict[TopicPartition, int]:
        return {TP: 1}

    async def ends(_: str) -> dict[TopicPartition, int]:
        return {TP: 3}

    monkeypatch.setattr(progress, "committed", committed)
    monkeypatch.setattr(progress, "ends", ends)
    for _ in range(4):
        assert await progress.check({TP.topic: {0}}, {TP.topic}) == {}
    with pytest.raises(Stuck):
        for _ in range(2):
            await progress.check({TP.topic: {0}})
