"""An answer that is too large (field report K4): what it answers is buried, the call goes on."""

from types import SimpleNamespace
from typing import Any, cast

from ringlog.kafka.dead_letters import TOO_LARGE
from schemas.wire import TooLarge
from streams.robots.worker import Worker
from tests.unit.robots.robot_talk import Log


class Sent:
    def __init__(self) -> None:
        self.buried: list[tuple[Any, ...]] = []

    async def send_all(self, records: object) -> None:
        raise TooLarge("dialogue.directives: a record of 2000000 bytes is longer than 1048576")

    async def dead(self, *letter: Any) -> None:
        self.buried.append(letter)


async def test_k4_the_source_is_named_and_not_decided_again() -> None:
    log, sent = Log(), Sent()
    log.talk()
    log.write("asr.transcripts", log.transcript("可以"))
    work = log.work()
    assert work is not None and work.source is not None
    worker = cast(Any, SimpleNamespace(shard=log.shard, _producer=sent))
    worker._bury = lambda source, why: Worker._bury(worker, source, why)
    await Worker._send(worker, work)
    source = work.source
    ((topic, partition, offset, why, *_),) = sent.buried
    assert (topic, partition, offset) == (source.topic, source.partition, source.offset)
    assert why.startswith(TOO_LARGE)
    assert log.work() is None
    assert not log.shard.calls["call-1"].in_flight
