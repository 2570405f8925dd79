"""Chunks as records: valid, with derived ids, in order, bounded, and waited for."""

import asyncio
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaTimeoutError

from ingest.call.types import Identity
from ingest.sound import log as media_log
from ingest.sound.chunker import LegEnd, Logged
from ingest.sound.log import MediaLog, Stamp, media_event
from ingest.sound.types import Chunk, Leg, Silent
from ringlog.kafka.producer import EventProducer
from schemas.envelope import Event
from schemas.events import MediaChunk
from schemas.ids import media_chunk_id

LEG = Leg("customer", 7, 800, 120, 8000)
STAMP = Stamp(Identity("call", "edge", "outbound", pool="sales", asr_profile="bank"), 300)


def chunk(ts: int) -> Chunk:
    return Chunk(LEG, 12, ts, b"\x55" * 800, "pcma", 2)


def test_a_chunk_is_a_valid_record() -> None:
    event = media_event(STAMP, chunk(1600), 1_000)
    assert MediaChunk.model_validate(event.model_dump()) == event
    assert event.event_id == media_chunk_id("call", "customer", 1600)
    assert event.occurred_at == 1_000 - 100, "when its first sample happened"
    assert (event.kind, event.leg, event.ssrc, event.first_seq, event.rtp_ts) == (
        "chunk", "customer", 7, 12, 1600,
    )  # fmt: skip
    assert (event.leg_start_ts, event.leg_start_ms, event.lost_packets, event.codec) == (
        800, 120, 2, "pcma",
    )  # fmt: skip
    assert (event.asr_profile, event.turn_silence_ms, event.pool) == ("bank", 300, "sales")


def test_a_legs_end_is_a_valid_record_of_its_own() -> None:
    event = media_event(STAMP, LegEnd(LEG, 1600, 14), 99)
    assert MediaChunk.model_validate(event.model_dump()) == event
    assert (event.kind, event.payload, event.rtp_ts, event.first_seq) == ("end", b"", 1600, 14)
    assert event.event_id != media_event(STAMP, chunk(1600), 99).event_id


def test_a_silent_legs_mark_is_a_valid_record_with_an_id_of_its_own() -> None:
    event = media_event(STAMP, Silent(LEG, 1600, 14), 99)
    assert MediaChunk.model_validate(event.model_dump()) == event
    assert (event.kind, event.payload, event.rtp_ts, event.first_seq) == ("silent", b"", 1600, 14)
    assert event.event_id == media_event(STAMP, Silent(LEG, 1600, 99), 7).event_id
    others = (chunk(1600), LegEnd(LEG, 1600, 14), Silent(LEG, 1601, 14))
    assert event.event_id not in {media_event(STAMP, x, 99).event_id for x in others}


class Broker:
    """A producer that takes records when told to."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.refuse = 0
        self.acks: list[asyncio.Future[object]] = []

    async def queue(self, topic: str, event: Event) -> "asyncio.Future[object]":
        await asyncio.sleep(0)
        if self.refuse:
            self.refuse -= 1
            raise KafkaTimeoutError
        assert isinstance(event, MediaChunk) and topic == "media.audio"
        self.taken.append(event.rtp_ts)
        ack: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.acks.append(ack)
        return ack


def log_on(broker: Broker) -> MediaLog:
    return MediaLog(cast(EventProducer, broker))


async def test_order_is_kept_through_refusals_and_drain_waits_for_the_last_ack() -> None:
    broker = Broker()
    log = log_on(broker)
    pump = asyncio.create_task(log.run())
    broker.refuse = 3
    for ts in range(0, 8000, 800):
        log.add(STAMP, [chunk(ts)])
    assert not await log.drain(0.2), "nothing is acknowledged yet"
    assert broker.taken == list(range(0, 8000, 800))
    for ack in broker.acks:
        ack.set_result(None)
    assert await log.drain(10)
    pump.cancel()


async def test_what_waits_is_bounded_and_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_log, "MAX_WAITING", 3)
    broker = Broker()
    log = log_on(broker)
    logged: list[Logged] = [chunk(ts) for ts in range(0, 4000, 800)]
    log.add(STAMP, logged)
    assert log.dropped == 2
    pump = asyncio.create_task(log.run())
    await log.drain(0.2)
    assert broker.taken == [1600, 2400, 3200]
    pump.cancel()


async def test_a_broker_that_gives_up_ends_the_pump() -> None:
    broker = Broker()
    log = log_on(broker)
    pump: asyncio.Task[Any] = asyncio.create_task(log.run())
    log.add(STAMP, [chunk(0)])
    await log.drain(0.1)
    broker.acks[0].set_exception(RuntimeError("gone"))
    with pytest.raises(RuntimeError, match="gone"):
        await asyncio.wait_for(pump, 10)
