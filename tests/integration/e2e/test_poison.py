"""What nobody can read, on every topic, and what foreign producers leave behind.

One file for all of it, on the running product: bytes, schema ids, sizes, tombstones, transactions.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable
from contextlib import closing

import confluent_kafka
import pytest

from ringlog.clock import now_ms
from ringlog.kafka import sync
from ringlog.kafka.codec import codec_of
from ringlog.settings import Settings, root
from schemas.catalogue import TOPICS
from schemas.envelope import Event
from schemas.events import CallEvent, CustomerChange, DeadLetter, OptOut, Profile, TaskEvent
from schemas.ids import root_id
from schemas.partition import partition_of
from schemas.wire import HEADER
from stack import control, environment
from streams.dispatch.host import APP_ID as DISPATCH
from streams.history.sink import GROUP as HISTORY
from streams.profiles.host import APP_ID as PROFILES
from tests.integration.e2e.outside import (
    events_of,
    finals_of,
    open_session,
    send_rtp,
    spoken,
    text_of,
)
from tests.unit.schemas.odd_schemas import record

pytestmark = pytest.mark.timeout(400)

BYTES = (
    b"",
    b"not avro",
    b"\x00\x00\x00\xff\xffunknown schema",
    b"\x00\x00\x00\x00\x01" + b"\xff" * 40,
    b"\x00" * 5,
    b"\x00\x02a\x04bc",  # an Avro body without a header
    b"\x00" + (1).to_bytes(8) + b"\x02a",  # an id of eight bytes
    bytes(1_500_000),
    *(HEADER.pack(0, schema_id) + b"\x02a" for schema_id in (2**31 - 1, 2**31, 2**32 - 1)),
)
"""K2, and no records at all."""

FOLLOWED = [t for t in TOPICS.values() if t.name != "prompts.audio"]
"""Of `prompts.audio` edges read only the offsets that lists name, so nobody meets poison there."""

RESTARTED = ("api", "edge", "edge-b", "robots-a", "robots-b", "history")


def until(what: str, look: Callable[[], object], patience_s: float = 60.0) -> None:
    end = time.monotonic() + patience_s
    while not look():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.2)


def register(config: Settings, subject: str, schema: str, **more: object) -> int:
    request = urllib.request.Request(
        f"{config.registry_url}/subjects/{subject}/versions",
        json.dumps({"schema": schema, **more}).encode(),
        {"Content-Type": "application/vnd.schemaregistry.v1+json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return int(json.load(answer)["id"])


def odd_values(config: Settings) -> dict[str, list[bytes]]:
    """K1: what the registry has of odd kinds, by topic; some kinds carry the topic's own name."""
    ref = [{"name": "ringlog.Ref", "subject": "odd-ref", "version": 1}]
    register(config, "odd-ref", record("string", name="Ref"))
    everywhere = [
        register(config, "odd-proto", 'syntax = "proto3"; message M { string a = 1; }',
                 schemaType="PROTOBUF"),
        register(config, "odd-union", '["null", "string"]'),
        register(config, "odd-enum", '{"type": "enum", "name": "E", "symbols": ["A"]}'),
        register(config, "odd-array", '{"type": "array", "items": "string"}'),
        register(config, "odd-text", '"string"'),
    ]  # fmt: skip
    out: dict[str, list[bytes]] = {}
    for n, topic in enumerate(TOPICS.values()):
        name = topic.model.__name__
        out[topic.name] = [HEADER.pack(0, schema_id) + b"\x02a" for schema_id in everywhere]
        if n % 4 == 0 or topic.name in ("media.audio", "dialogue.turns", "customers.changes"):
            own = register(config, f"odd-ref-{name}", record("Ref", name=name), references=ref)
            itself = register(config, f"odd-self-{name}", record(["null", name], name=name))
            none = {"type": "array", "items": "null"}
            many = register(config, f"odd-null-{name}", record(none, name=name))
            out[topic.name] += [
                HEADER.pack(0, own) + b"\x02a",
                HEADER.pack(0, itself) + b"\x02" * 200_000,
                HEADER.pack(0, many) + b"\xfe\xff\xff\xff\xff\xff\x7f\x00",
            ]
    return out


def letters(config: Settings) -> dict[tuple[str, int, int], str]:
    """Reasons by the place of the source."""
    codec = codec_of(config)
    found: dict[tuple[str, int, int], str] = {}
    for r in sync.read(config, "dead_letters"):
        if r.value is None or r.key == b"poison":
            continue
        letter = codec.decode("dead_letters", r.value)
        assert isinstance(letter, DeadLetter)
        where = letter.source_topic, letter.source_partition, letter.source_offset
        found[where] = letter.reason
    return found


def change(customer: str, note: str = "", **fields: object) -> CustomerChange:
    event = CustomerChange(
        event_id=str(uuid.uuid4()), kind="upserted", occurred_at=now_ms(), producer="test",
        customer_id=customer, source="crm", table="customers", position=str(time.time_ns()),
        attributes={"note": note} if note else {},
    )  # fmt: skip
    return event.model_copy(update=fields)


def customer_on(partition: int) -> str:
    return next(c for n in range(1_000) if partition_of(c := f"{uuid.uuid4()}-{n}", 8) == partition)


def profiles_of(config: Settings, customer: str) -> list[Profile]:
    codec = codec_of(config)
    where = [partition_of(customer, 8)]
    return [
        event
        for r in sync.read(config, "customers.profiles", partitions=where)
        if r.key == customer.encode() and r.value is not None
        if isinstance(event := codec.decode("customers.profiles", r.value), Profile)
    ]


def ringlog(config: Settings, *arguments: str) -> None:
    """The command succeeds."""
    run = subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments], capture_output=True, text=True,
        timeout=240, check=False, cwd=root(), env=environment.of_services(config),
    )  # fmt: skip
    said = run.stdout[-3_000:] + run.stderr[-3_000:]
    if run.returncode and arguments[0] == "verify":
        said = str([check["found"] for check in json.loads(run.stdout)["checks"]])
    assert run.returncode == 0, said


def nobody_restarted(config: Settings) -> None:
    services = control.status(config)
    assert why_restarted(config, {s.service for s in services if s.restarts}) == {}
    assert all(s.ready for s in services)


def test_k1_k2_k4_odd_records_on_every_topic_stop_nothing(product: Settings) -> None:
    values = odd_values(product)
    tombstones = [t for t in FOLLOWED if not t.compacted]
    codec = codec_of(product)
    with closing(sync.producer_of(product, "poisoner")) as producer:
        sent = [
            producer.send(topic.name, value, key=b"poison", partition=0)
            for topic in FOLLOWED
            for value in (*BYTES, *values[topic.name])
        ]
        sent += [producer.send(t.name, None, key=b"poison", partition=0) for t in tombstones]
        # K4: legal records of which the copies would be too large.
        for times in (180_000, 400_000):
            large = change(customer_on(0), "\u0001" * times)
            sent.append(sync.produce(producer, codec, "customers.changes", large))
        behind = customer_on(0)
        sync.produce(producer, codec, "customers.changes", change(behind))
        producer.flush()
    begun_s = time.monotonic()
    until("the good record behind them", lambda: profiles_of(product, behind))
    assert time.monotonic() - begun_s < 10, "the odd ones hold nothing up"
    written = {(done.topic, done.partition, done.offset) for done in sent}
    until("a dead letter for each", lambda: written <= letters(product).keys())
    found = letters(product)
    assert all(found[where] for where in written)
    said = {found[where] for where in written if where[0] == "media.audio"}
    reasons = ("is PROTOBUF", "is not a record", "needs the type", "contains itself", "no bytes",
               "no value", "longer than", "none that a registry gives")  # fmt: skip
    for reason in reasons:
        assert any(reason in one for one in said), (reason, said)
    with closing(sync.producer_of(product, "good")) as producer:
        after = customer_on(0)
        begun_s = time.monotonic()
        sync.produce(producer, codec, "customers.changes", change(after))
        producer.flush()
    until("a good record", lambda: profiles_of(product, after), 20)
    opened = open_session(product)
    asyncio.run(send_rtp(opened, spoken(["方便你说"], pause_s=5.0)))
    assert text_of(finals_of(product, opened["call_id"])) == "方便你说"
    nobody_restarted(product)


def test_k3_transactions_leave_markers_and_aborted_records_are_nobodys(product: Settings) -> None:
    codec = codec_of(product)
    aborted, committed_to = customer_on(1), customer_on(1)
    call_id = str(uuid.uuid4())
    foreign = confluent_kafka.Producer(
        {"bootstrap.servers": product.kafka_bootstrap, "transactional.id": f"t-{uuid.uuid4()}",
         "partitioner": "murmur2_random", "log_level": 0}
    )  # fmt: skip
    foreign.init_transactions(30)

    def transaction(*events: tuple[str, Event], commit: bool = True) -> None:
        foreign.begin_transaction()
        for topic, event in events:
            key = TOPICS[topic].key(event).encode()
            foreign.produce(topic, codec.encode(topic, event), key)
        foreign.flush(30)
        if commit:
            foreign.commit_transaction(30)
        else:
            foreign.abort_transaction(30)

    def call(kind: str, **fields: object) -> tuple[str, Event]:
        event = CallEvent(
            event_id=root_id(call_id, kind),
            kind=kind,
            occurred_at=now_ms(),
            producer="foreign",
            call_id=call_id,
            direction="foreign",
        )
        return "calls.events", event.model_copy(update=fields)

    transaction(("customers.changes", change(aborted)), commit=False)
    transaction(("customers.changes", change(committed_to)))
    transaction(call("dialing"), call("answered"))
    transaction(call("ended", disposition="completed"))
    transaction(
        (
            "compliance.optouts",
            OptOut(event_id=str(uuid.uuid4()), kind="opted_out", occurred_at=now_ms(),
                   producer="foreign", phone_hash="0" * 64, reason="asked"),
        )
    )  # fmt: skip
    foreign.begin_transaction()
    for topic in ("customers.changes", "media.audio", "dialogue.turns", "calls.events"):
        foreign.produce(topic, b"nobody is given this", b"k", 3)
    foreign.flush(30)
    foreign.abort_transaction(30)
    until("the committed one", lambda: profiles_of(product, committed_to), 20)

    services = {s.service: s for s in control.status(product)}
    before = {name: services[name].restarts for name in RESTARTED if name in services}
    for name in before:
        pid = services[name].pid
        assert pid is not None
        os.kill(pid, signal.SIGTERM)
    until(
        "all to be ready again",
        lambda: all(
            s.ready and (s.service not in before or s.restarts > before[s.service])
            for s in control.status(product)
        ),
    )
    # Who may be dialled is known: the list is read to its end, where a marker lies.
    customer = customer_on(1)
    task_id = assign(product, customer)
    until("a call", lambda: "dialing" in kinds_of(product, task_id))
    assert profiles_of(product, aborted) == []
    assert [e.kind for e in events_of(product, "calls.events", call_id)] == [
        "dialing", "answered", "ended",
    ]  # fmt: skip
    until("lag 0", lambda: not lags(product))
    # The watch of a processor may start it again once: it then goes on from what is committed.
    again = {s.service for s in control.status(product) if s.restarts > (s.service in before)}
    often = {s.service for s in control.status(product) if s.restarts > 1 + (s.service in before)}
    if again:
        print(why_restarted(product, again))
    assert why_restarted(product, often) == {}
    ringlog(product, "verify", "--json", "--settle", "60")
    ringlog(product, "rebuild", "profiles", "--check")


def assign(config: Settings, customer: str) -> str:
    body = {"customer_id": customer, "phone": "13800138077", "campaign_id": "k3",
            "playbook": "promotion", "pool": "sales"}  # fmt: skip
    request = urllib.request.Request(
        config.api_url + "/api/tasks/assign", json.dumps(body).encode(),
        {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["task_id"])


def kinds_of(config: Settings, task_id: str) -> set[str]:
    codec = codec_of(config)
    kinds: set[str] = set()
    for name in ("tasks.events", "calls.events"):
        for r in sync.read(config, name):
            try:
                event = codec.decode(name, r.value)
            except Exception:  # the odd ones of before
                continue
            if event.task_id == task_id:
                kinds.add(event.kind)
                assert not (isinstance(event, TaskEvent) and event.kind == "refused"), event.reason
    return kinds


def why_restarted(config: Settings, services: set[str]) -> dict[str, list[str]]:
    """What the supervisor and the services themselves wrote before their restarts."""
    return {
        name: [
            line
            for line in (config.home / "logs" / f"{name}.jsonl").read_text().splitlines()
            if '"restarting"' in line or '"error"' in line or '"critical"' in line
        ]
        for name in services
    }


def lags(config: Settings) -> dict[str, int]:
    """What groups have not committed of the topics that they follow."""
    behind: dict[str, int] = {}
    topics = {
        HISTORY: ["customers.changes", "calls.events", "compliance.optouts"],
        PROFILES: ["customers.changes", "calls.events", "profiles.inbox"],
        DISPATCH: ["calls.events", "dispatch.inbox"],
    }
    for group, names in topics.items():
        with closing(sync.consumer_of(config, "lag", group)) as consumer:
            places = [(name, n) for name in names for n in range(TOPICS[name].partitions)]
            ends = sync.ends_of(consumer, places)
            for place, kept in sync.committed(consumer, places).items():
                if (lag := ends[place] - max(0, kept.offset)) > 0:
                    behind[f"{group} {place}"] = lag
    return behind
