"""Bytes that nobody can read, on every topic: they end among the dead letters, all else goes on."""

import asyncio
import time
from contextlib import closing

from ringlog.kafka import sync
from ringlog.kafka.codec import codec_of
from ringlog.settings import Settings
from schemas.catalogue import TOPICS
from schemas.events import DeadLetter
from stack import control
from tests.integration.e2e.outside import finals_of, open_session, send_rtp, spoken, text_of

POISON = (
    b"",
    b"not avro",
    b"\x00\x00\x00\xff\xffunknown schema",
    b"\x00\x00\x00\x00\x01" + b"\xff" * 40,
)


def test_poison_on_every_topic_stops_nothing(product: Settings) -> None:
    with closing(sync.producer_of(product, "poisoner")) as producer:
        sent = [
            producer.send(topic.name, value, key=b"poison", partition=0)
            for topic in TOPICS.values()
            for value in POISON
        ]
        producer.flush()
    written = {(done.topic, done.partition, done.offset) for done in sent}
    codec = codec_of(product)
    deadline = time.monotonic() + 90
    while True:
        reasons: dict[tuple[str, int, int], str] = {}
        for record in sync.read(product, "dead_letters"):
            if record.value is None or record.key == b"poison":
                continue
            letter = codec.decode("dead_letters", record.value)
            assert isinstance(letter, DeadLetter)
            where = letter.source_topic, letter.source_partition, letter.source_offset
            reasons[where] = letter.reason
        missing = written - reasons.keys()
        if not missing or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    assert not missing
    assert all(reasons[where] for where in written)

    opened = open_session(product)
    asyncio.run(send_rtp(opened, spoken(["方便你说"], pause_s=5.0)))
    assert text_of(finals_of(product, opened["call_id"])) == "方便你说"
    services = control.status(product)
    assert {s.service for s in services if s.restarts} == set()
    assert all(s.ready for s in services)
