"""A legal record that leads to one over the limit (field report K4): the source is named."""

from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ringlog.kafka import sync
from ringlog.kafka.dead_letters import TOO_LARGE
from ringlog.kafka.producer import EventProducer, Outgoing
from ringlog.settings import Settings
from schemas.catalogue import KAFKA_MESSAGE_BYTES, MAX_RECORD_BYTES, TOPICS
from schemas.events import CustomerChange, ProfileInbox, TaskRequested
from schemas.phone import Numbers
from schemas.registry import MemoryRegistry
from schemas.wire import Codec, Poison, TooLarge
from stack import kafka
from streams.faust_host import FaustHost, Record
from streams.profiles.host import Profiles
from streams.profiles.router import copies

CODEC = Codec(MemoryRegistry())


def change(note: str) -> CustomerChange:
    return CustomerChange(
        event_id="00000000-0000-4000-8000-000000000001", kind="upserted", occurred_at=1,
        producer="crm", customer_id="c-1", source="crm", attributes={"note": note},
    )  # fmt: skip


def test_k4_there_is_one_limit_and_everything_else_allows_for_it() -> None:
    assert int(kafka.properties(Settings())["message.max.bytes"]) == KAFKA_MESSAGE_BYTES
    for topic in TOPICS.values():
        assert int(topic.broker_config()["max.message.bytes"]) == KAFKA_MESSAGE_BYTES
    assert KAFKA_MESSAGE_BYTES >= MAX_RECORD_BYTES + 65_536, "a key and the framing"
    value = CODEC.encode("customers.changes", change("x" * (MAX_RECORD_BYTES - 1_000)))
    assert CODEC.decode("customers.changes", value) == change("x" * (MAX_RECORD_BYTES - 1_000))
    with pytest.raises(TooLarge, match="customers.changes: a record of"):
        CODEC.encode("customers.changes", change("x" * MAX_RECORD_BYTES))


@pytest.mark.parametrize("times", [180_000, 400_000])
async def test_k4_a_router_buries_the_source_and_serves_the_next(times: int) -> None:
    """Control characters take one byte in Avro and six in the JSON of the inbox."""
    source = change("\u0001" * times)
    assert CODEC.encode("customers.changes", source), "a legal record"
    sent: list[Outgoing] = []
    buried: list[tuple[int, str]] = []
    done: list[int] = []
    handlers: list[Any] = []
    producer = EventProducer(Settings(), "profiles", CODEC)

    async def keep(records: list[Outgoing]) -> None:
        sent.extend(records)

    async def bury(record: Record, why: Poison) -> None:
        buried.append((record.offset, str(why)))

    setattr(producer, "send_outgoing", keep)  # noqa: B010 # a broker is not needed
    host = cast(Any, SimpleNamespace(producer=producer, bury=bury))
    host.outgoing = lambda outputs: FaustHost.outgoing(host, outputs)
    host.consume = lambda name, handler: handlers.append(handler)
    FaustHost.route(host, "customers.changes", lambda e, n: copies("customers.changes", e, n))
    batch = [
        Record("customers.changes", 0, n, 1, event, b"", partial(done.append, n))
        for n, event in enumerate((change("short"), source, change("next")))
    ]
    await handlers[0](batch)
    assert [offset for offset, _ in buried] == [1]
    assert "its output is too large: profiles.inbox" in buried[0][1]
    assert done == [0, 1, 2]
    inbox = [CODEC.decode(record.topic, record.value) for record in sent]
    assert all(isinstance(event, ProfileInbox) for event in inbox)
    assert len(inbox) == 2


def test_k4_a_raw_record_over_the_brokers_limit_is_refused_by_name() -> None:
    producer = sync.producer_of(Settings(kafka_port=1), "test")
    with pytest.raises(sync.DeliveryFailed, match="is too large"):
        producer.send("audit", bytes(KAFKA_MESSAGE_BYTES + 1), partition=0)
    producer.close(0)


async def test_k4_profiles_bury_a_wish_whose_answer_is_too_large_and_keep_the_row() -> None:
    """Its inbox record fits just so; with the profile beside it, it does not any more."""
    wish = TaskRequested(
        event_id="00000000-0000-4000-8000-000000000002", kind="requested", occurred_at=1,
        producer="api", customer_id="c-1", task_id="t-1", pool="p", phone="+8613800138000",
        body_sha256="0" * 64,
        tags=["x" * 100] * 60,
    )  # fmt: skip
    body = next(iter(copies("tasks.requested", wish)))[1]
    sent: list[Outgoing] = []
    buried: list[str] = []
    done: list[int] = []

    async def keep(records: list[Outgoing]) -> None:
        sent.extend(records)

    async def bury(record: Record, why: Poison) -> None:
        buried.append(str(why))

    class Table(dict[str, str]):
        async def written(self) -> None:
            pass

    producer = EventProducer(Settings(), "profiles", CODEC)
    setattr(producer, "send_outgoing", keep)  # noqa: B010 # a broker is not needed
    host = cast(Any, SimpleNamespace(producer=producer, bury=bury, generation=1))

    def outgoing(outputs: Any) -> list[Outgoing]:
        found = list(outputs)
        if any(name == "dispatch.inbox" for name, _ in found):
            raise Poison(f"{TOO_LARGE}: dispatch.inbox")
        return FaustHost.outgoing(host, found)

    host.outgoing = outgoing
    table = Table()
    service = cast(Any, SimpleNamespace(_host=host, _table=table, _numbers=Numbers("CN", b"k")))
    service._read = lambda customer_id: Profiles._read(service, customer_id)
    record = Record("profiles.inbox", 0, 7, 1, body, b"", partial(done.append, 7))
    await Profiles._fold(service, [record])
    assert len(buried) == 1 and buried[0].startswith(TOO_LARGE)
    assert list(table) == ["c-1"] and done == [7]
