"""A CRM on real PostgreSQL, Debezium and RabbitMQ, in step with the log.

One CRM serves all tests, and its first snapshot is made before the first of them. The changed table
comes last. They print what they measure.
"""

import asyncio
import itertools
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import aio_pika
import pytest

from demo.asterisk.instance import free_port
from ringlog.clock import now_ms
from ringlog.settings import METRICS_SERVICES, Settings, root, settings
from schemas.catalogue import topic
from schemas.events import CallEvent, CustomerChange, TaskEvent, Turn
from schemas.ids import call_once_id
from schemas.partition import partition_of
from stack import control, ports
from streams.crm import rabbit
from streams.crm.dead import look, put_back
from tests.integration.conftest import free_port_shift
from tests.integration.dispatch.lab import World, call_event, request, robot
from tests.peers.crm_world import (
    SECRET,
    Changes,
    Part,
    Sql,
    Tail,
    Webhook,
    deliveries,
    kill_postgres,
    kill_rabbitmq,
    rabbitmqctl,
    until,
)

pytestmark = [pytest.mark.needs("rabbitmq", "debezium"), pytest.mark.timeout(240)]

ROWS = 3_000
UNTIL_ASSIGNED_S = 2.0


@dataclass
class Crm:
    """The CRM, with capture and bridge that have its first snapshot."""

    config: Settings
    sql: Sql
    capture: Part
    bridge: Part
    log: Changes
    longest_update_s: float = 0.0
    """While the snapshot was made."""


def _settings(home: Path) -> Settings:
    assert len(METRICS_SERVICES) <= 20  # ports of a shift and of the next one stay apart
    for _ in range(100):
        config = Settings(home=home, port_shift=free_port_shift(), crm=True,
                          crm_results_exchange="crm.results")  # fmt: skip
        first = config.port(config.crm_amqp_port)
        wanted = (config.port(config.crm_postgres_port), first, first + 1, first + 2)
        if all(ports.is_free("127.0.0.1", port) for port in wanted):
            return config
    raise RuntimeError("no port shift is free")


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    """The CRM's endpoint for results."""
    with Webhook() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def crm(webhook: Webhook) -> Iterator[Crm]:
    """Started once; `nobody` must be able to reach its folder, since PostgreSQL refuses root."""
    home = Path(tempfile.mkdtemp(prefix="ringlog-crm-"))
    home.chmod(0o755)
    config = _settings(home)
    environment = pytest.MonkeyPatch()
    environment.setenv("RINGLOG_HOME", str(home))
    environment.setenv("RINGLOG_PORT_SHIFT", str(config.port_shift))
    for name, value in {
        "CRM": "true",
        "CRM_RESULTS_EXCHANGE": config.crm_results_exchange,
        "CRM_RESULTS_URL": webhook.url,
        "CRM_RESULTS_SECRET": SECRET,
    }.items():
        environment.setenv(f"RINGLOG_{name}", value)
    settings.cache_clear()
    needed = {"crm-schema", "rabbitmq", "profiles", "dispatch"}
    control.up(config, only=needed, detach=True, tied=True)
    sql = Sql(config)
    capture = Part(config, "debezium", "streams.crm.capture", home)
    bridge = Part(config, "crm", "streams.crm", home)
    log = Changes(config)
    made = Crm(config, sql, capture, bridge, log)
    try:
        _snapshot(made)
        yield made
    finally:
        log.close()
        made.sql.close()
        control.down(config)
        environment.undo()
        settings.cache_clear()
        shutil.rmtree(home, ignore_errors=True)


class Orders:
    """One customer's changes, numbered."""

    def __init__(self, crm: Crm, customer: int) -> None:
        self._crm, self._customer = crm, str(customer)
        self._before = len(crm.log.look()[self._customer])
        self._written = 0

    def write(self, count: int) -> None:
        """As many more, each committed by itself."""
        for _ in range(count):
            self._written += 1
            self._crm.sql.run(
                f"update customers set orders = {self._written} where id = {self._customer}"
            )

    def there(self) -> int:
        """How many are on the log."""
        return len(self._crm.log.look()[self._customer]) - self._before

    def arrive(self) -> None:
        """Waits for all; raises AssertionError where they are not all there in order."""
        until("all changes", lambda: self.there() >= self._written, 90)
        told = [e.purchases for e in self._crm.log.look()[self._customer][self._before :]]
        assert told == list(range(1, self._written + 1))


def _has_orders(crm: Crm, customer: str, orders: int) -> bool:
    return crm.log.look()[customer][-1].purchases == orders


def _connect_again(crm: Crm) -> bool:
    time.sleep(0.5)
    try:
        crm.sql = Sql(crm.config)
        return crm.sql.run("select 1") == ["1"]
    except AssertionError:
        return False


def _empty_dead(crm: Crm) -> None:
    """Throws away what other tests left."""

    async def purge() -> None:
        async with rabbit.connected(crm.config) as connection:
            await rabbit.declare(connection, crm.config)
            queue = await (await connection.channel()).get_queue(rabbit.dead_queue(crm.config))
            await queue.purge()

    asyncio.run(purge())


def _snapshot(crm: Crm) -> None:
    """Of all rows, while one of them is changed all the time."""
    crm.sql.run(
        "insert into customers (id, full_name, mobile) select n, 'name ' || n, "
        f"'+86139' || lpad(n::text, 8, '0') from generate_series(1, {ROWS}) n"
    )
    crm.sql.run("set lock_timeout = '2s'")
    begun_s = time.monotonic()
    crm.capture.start()
    crm.bridge.start().ready()
    for n in itertools.count(1):
        asked_s = time.monotonic()
        crm.sql.run(f"update customers set orders = {n} where id = {ROWS}")
        crm.longest_update_s = max(crm.longest_update_s, time.monotonic() - asked_s)
        time.sleep(0.02)
        if n % 50 == 0 and len(crm.log.look()) == ROWS:
            break
        assert time.monotonic() - begun_s < 150, crm.capture.log + crm.bridge.log
    print(f"\n{ROWS} rows on the log {time.monotonic() - begun_s:.1f} s after the capture's start; "
          f"an update took {crm.longest_update_s * 1000:.0f} ms at most")  # fmt: skip
    until("the last update", lambda: crm.log.look()[str(ROWS)][-1].purchases == n)


def test_no_writer_waits_for_the_first_snapshot(crm: Crm) -> None:
    assert crm.longest_update_s < 2


def test_a_changed_level_is_in_the_next_assignment_and_in_a_running_call(crm: Crm) -> None:
    crm.capture.ready()
    world = World(crm.config)
    tail = Tail(crm.config, "customers.profiles")
    reached_s, assigned_s = [], []
    # Profiles may still be at the snapshot; those measured are not the first, so all is warm.
    crm.sql.run("update customers set grade = 'A' where id = 1000")
    _until_vip(tail, 1000, 150)
    with world.heartbeats("edge/edge-1", "robots/0"):
        world.staff("crm", robot("crm-r1", "crm", slots=500))
        for n in range(1, 61):
            begun_s = time.monotonic()
            crm.sql.run(f"update customers set grade = 'A' where id = {n}")
            _until_vip(tail, n)
            known_s = time.monotonic() - begun_s
            assigned = _assigned(world, n)
            assert '"level":"vip"' in (assigned.profile or "")
            if n > 10:
                reached_s.append(known_s)
                assigned_s.append(time.monotonic() - begun_s)
            time.sleep(random.uniform(0.0, 0.1))
        in_call = _assigned(world, 100)
        _talk(world, in_call)
        crm.sql.run("update customers set grade = 'A' where id = 100")
        (news,) = until(
            "the change in the running call",
            lambda: world.first("calls.events", call_id=in_call.call_id, kind="profile_changed"),
        )
        assert '"level":"vip"' in news.profile
    world.close()
    tail.close()
    p50, p95 = _percentiles(reached_s)
    print(
        f"\nlevel changed in PostgreSQL to profile, {len(reached_s)} times: p50 {p50:.0f} ms, "
        f"p95 {p95:.0f} ms, max {max(reached_s) * 1000:.0f} ms; to an assignment asked for then, "
        f"and found by reading the log: p95 {_percentiles(assigned_s)[1]:.0f} ms"
    )
    assert p95 < UNTIL_ASSIGNED_S * 1000


def test_no_change_is_lost_or_out_of_order_when_the_bridge_is_killed(crm: Crm) -> None:
    seed = random.randrange(10_000)
    chance = random.Random(seed)
    customers = [str(n) for n in range(101, 121)]
    before = {c: len(crm.log.look()[c]) for c in customers}
    stop = threading.Event()
    written: dict[str, int] = dict.fromkeys(customers, 0)

    def write() -> None:
        sql = Sql(crm.config)
        # So fast that much waits after each kill, so slow that any machine catches up.
        while not stop.wait(0.004):
            customer = chance.choice(customers)
            written[customer] += 1
            sql.run(f"update customers set orders = {written[customer]} where id = {customer}")
        sql.close()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    kills = 0
    deadline_s = time.monotonic() + 25
    while time.monotonic() < deadline_s:
        # Some die while they start, some at work, some with a batch in their hands.
        time.sleep(random.uniform(0.0, 5.0))
        victim = crm.bridge if kills % 3 else crm.capture
        victim.kill()
        kills += 1
        victim.start()
    crm.capture.ready()
    crm.bridge.ready()
    stop.set()
    writer.join(30)

    ended_s = time.monotonic()

    def all_there() -> bool:
        found = crm.log.look()
        return all(len(found[c]) - before[c] >= written[c] for c in customers)

    until("all changes on the log", all_there)
    for customer in customers:
        told = [e.purchases for e in crm.log.look()[customer][before[customer] :]]
        assert told == list(range(1, written[customer] + 1)), f"seed {seed}, customer {customer}"
    print(f"\n{sum(written.values())} updates while bridge or capture were killed {kills} times: "
          f"none lost, none out of order; the last came {time.monotonic() - ended_s:.1f} s after "
          "the end")  # fmt: skip


@pytest.mark.parametrize("part", [0.0, 0.5])
def test_half_a_file_of_offsets_loses_nothing(crm: Crm, part: float) -> None:
    """As a kill amid its writing leaves it."""
    crm.capture.ready()
    customer = str(300 + round(part * 10))
    before = len(crm.log.look()[customer])
    crm.sql.run(f"update customers set orders = 1 where id = {customer}")
    until("the first", lambda: len(crm.log.look()[customer]) == before + 1)
    crm.capture.kill()
    file = crm.config.home / "crm" / "offsets"
    os.truncate(file, int(file.stat().st_size * part))
    for n in range(2, 21):
        crm.sql.run(f"update customers set orders = {n} where id = {customer}")
    crm.capture.start().ready()
    until("the last", lambda: crm.log.look()[customer][-1].purchases == 20)
    assert [e.purchases for e in crm.log.look()[customer][before:]] == list(range(1, 21))


def test_restarts_of_database_and_broker_lose_nothing(crm: Crm) -> None:
    orders = Orders(crm, 310)
    orders.write(10)
    kill_postgres(crm.config)
    until("PostgreSQL", lambda: _connect_again(crm))
    orders.write(20)
    kill_rabbitmq(crm.config)
    orders.write(20)
    orders.arrive()


def test_a_broker_without_memory_makes_the_capture_wait(crm: Crm) -> None:
    crm.capture.ready()
    orders = Orders(crm, 311)
    rabbitmqctl(crm.config, "set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        orders.write(300)
        time.sleep(1)
        assert orders.there() < 300
    finally:
        rabbitmqctl(crm.config, "set_vm_memory_high_watermark", "absolute", "400MB")
    orders.arrive()


def test_a_second_bridge_takes_over(crm: Crm) -> None:
    port = (
        free_port("127.0.0.1", socket.SOCK_STREAM)
        - crm.config.metrics_port_of("crm")
        + crm.config.metrics_port
    )
    spare_config = crm.config.model_copy(update={"metrics_port": port})
    spare = Part(spare_config, "crm", "streams.crm", crm.config.home,
                 RINGLOG_METRICS_PORT=str(port))  # fmt: skip
    orders = Orders(crm, 312)
    spare.start().ready()
    orders.write(200)
    crm.bridge.kill()
    orders.write(200)
    orders.arrive()
    crm.bridge.start().ready()
    orders.write(100)
    spare.kill()
    orders.write(100)
    orders.arrive()


def test_long_rows_are_cut_or_dead_and_stop_nothing(crm: Crm) -> None:
    """10 MB in a column that is mapped, in one that is not, and in an array."""
    _empty_dead(crm)
    crm.sql.run("alter table customers add column if not exists photo bytea")
    long = "repeat('x', 10000000)"
    crm.sql.run(f"update customers set photo = {long}::bytea, orders = 7 where id = 320")
    crm.sql.run(f"update customers set full_name = {long} where id = 321")
    crm.sql.run(f"update customers set labels = array[{long}] where id = 322")
    crm.sql.run("update customers set orders = 7 where id = 323")
    for customer in ("320", "323"):
        until(customer, partial(_has_orders, crm, customer, 7))
    until("the dead", lambda: len(asyncio.run(look(crm.config, 10))) == 2)
    reasons = sorted(d.reason for d in asyncio.run(look(crm.config, 10)))
    assert reasons[0] == "name: longer than 4096 characters"
    assert reasons[1].startswith("row longer than")
    asyncio.run(put_back(crm.config, 10))
    until("them again", lambda: len(asyncio.run(look(crm.config, 10))) == 2)
    _empty_dead(crm)


def test_a_table_is_read_again_when_asked_and_one_without_a_key_is_left_alone(crm: Crm) -> None:
    crm.capture.ready()
    assert crm.capture.stop() == 0, crm.capture.log
    crm.sql.run("create schema erp; create table erp.payments (customer_id bigint, amount int)")
    crm.sql.run("insert into erp.payments values (330, 1)")
    crm.capture.start().ready()
    crm.sql.run("update erp.payments set amount = 2")  # psql would give up
    assert "erp.payments has no primary key" in crm.capture.log
    before = len(crm.log.look()["331"])
    done = subprocess.run(
        [Path(sys.executable).with_name("ringlog"), "crm", "snapshot", "public.customers"],
        cwd=root(), env={**os.environ, "RINGLOG_HOME": str(crm.config.home)}, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    until("the row again", lambda: len(crm.log.look()["331"]) > before)
    orders = Orders(crm, 332)
    orders.write(1)
    until("its change", lambda: crm.log.look()["332"][-1].purchases == 1)


def test_a_changed_table_and_a_bad_message_stop_nothing(crm: Crm) -> None:
    tail = Tail(crm.config, "customers.changes")
    crm.sql.run("alter table customers add column note text, rename column grade to rank".replace(
        ", rename", "; alter table customers rename"))  # fmt: skip
    crm.sql.run("update customers set full_name = 'renamed', rank = 'A' where id = 200")
    change = tail.first(lambda e: e.customer_id == "200")
    assert isinstance(change, CustomerChange)
    assert (change.name, change.level) == ("renamed", None) and "level" not in change.cleared
    crm.sql.run("delete from customers where id = 201")
    assert tail.first(lambda e: e.customer_id == "201").kind == "deleted"

    _empty_dead(crm)
    deep = b"[" * 10_000 + b"]" * 10_000
    asyncio.run(_publish(crm.config, b"{not json", b'{"type": "customer.updated"}', deep))
    crm.sql.run("update customers set full_name = 'after' where id = 202")
    tail.first(lambda e: e.customer_id == "202")
    dead = asyncio.run(look(crm.config, 10))
    assert [d.reason.partition(":")[0] for d in dead] == [
        "not JSON", "event_id is missing", "nested too deeply",
    ]  # fmt: skip
    assert len(asyncio.run(look(crm.config, 10))) == 3
    assert asyncio.run(put_back(crm.config, 10)) == 3
    until("the same three", lambda: len(asyncio.run(look(crm.config, 10))) == 3)
    tail.close()


def test_results_reach_exchange_and_webhook_through_a_kill(crm: Crm, webhook: Webhook) -> None:
    asyncio.run(_bind(crm.config, "results"))
    world = World(crm.config)
    told = {f"crm-call-{n}": f"r{n % 7}" for n in range(210)}
    for n, (call, customer) in enumerate(told.items()):
        world.write("calls.events", _ended(call, customer))
        if n == 100:
            crm.bridge.kill()
            crm.bridge.start()
    # A call's second end, and behind it another call's only one: of the same partition.
    first, behind = "crm-call-0", next(
        call for n in itertools.count()
        if partition_of(call := f"crm-late-{n}", topic("calls.events").partitions)
        == partition_of("crm-call-0", topic("calls.events").partitions)
    )  # fmt: skip
    crm.bridge.ready()
    got: list[dict[str, Any]] = []

    def all_on_the_exchange() -> bool:
        got.extend(asyncio.run(_take(crm.config, "results")))
        return _calls(got) >= told.keys()

    def all_recorded() -> bool:
        delivered = {
            (e.destination, e.call_id) for e in deliveries(crm.config) if e.kind == "delivered"
        }
        return delivered >= {(to, call) for to in ("exchange", "webhook") for call in told}

    until("all on the exchange", all_on_the_exchange)
    until("all at the webhook", lambda: _calls(webhook.got) >= told.keys())
    until("all in the delivery log", all_recorded)
    before = [_count(place, first) for place in (got, webhook.got)]
    crm.bridge.stop()
    crm.bridge.start().ready()
    world.write("calls.events", _ended(first, "r0"), _ended(behind, "r0"))
    world.close()
    told[behind] = "r0"
    until("the last on the exchange", all_on_the_exchange)
    until("the last at the webhook", lambda: _calls(webhook.got) >= told.keys())
    assert [_count(place, first) for place in (got, webhook.got)] == before
    for place in (got, list(webhook.got)):
        ids = {(r["data"]["call_id"], r["id"]) for r in place if r["data"].get("call_id") in told}
        assert len(ids) == len(told)  # whatever came twice came with one id


def test_both_stop_in_order(crm: Crm) -> None:
    assert (crm.capture.stop(), crm.bridge.stop()) == (0, 0), crm.capture.log + crm.bridge.log


def _talk(world: World, assigned: TaskEvent) -> None:
    """The call is answered, and the customer has said something."""
    world.write("calls.events", call_event(assigned, "dialing"), call_event(assigned, "answered"))
    turn = Turn(
        event_id=str(uuid4()), occurred_at=now_ms(), producer="test", call_id=assigned.call_id,
        task_id=assigned.task_id, customer_id=assigned.customer_id, pool=assigned.pool,
        input_kind="final", input_event_id=str(uuid4()), text="可以", intent="affirm",
        confidence=1.0, node="offer",
    )  # fmt: skip
    world.write("dialogue.turns", turn)
    until(
        "the turn in the profile",
        lambda: [p for p in world.first("customers.profiles", customer_id=assigned.customer_id)
                 if p.last_intent == "affirm"],
    )  # fmt: skip


def _ended(call: str, customer: str) -> CallEvent:
    return CallEvent.model_validate(
        {
            "event_id": call_once_id(call, "ended"), "kind": "ended", "occurred_at": now_ms(),
            "producer": "test", "call_id": call, "customer_id": customer, "disposition": "busy",
        }
    )  # fmt: skip


def _count(results: list[dict[str, Any]], call: str) -> int:
    return sum(r["data"].get("call_id") == call for r in list(results))


def _calls(results: list[dict[str, Any]]) -> set[str]:
    return {r["data"].get("call_id") for r in list(results)}


async def _bind(config: Settings, queue: str) -> None:
    async with rabbit.connected(config) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(
            config.crm_results_exchange, aio_pika.ExchangeType.TOPIC, durable=True
        )
        made = await channel.declare_queue(
            queue, durable=True, arguments={"x-queue-type": "quorum"}
        )
        await made.bind(exchange, "call.#")


async def _take(config: Settings, name: str) -> list[dict[str, Any]]:
    found = []
    async with rabbit.connected(config) as connection:
        queue = await (await connection.channel()).get_queue(name)
        while (message := await queue.get(fail=False)) is not None:
            found.append(json.loads(message.body))
            await message.ack()
    return found


async def _publish(config: Settings, *bodies: bytes) -> None:
    async with rabbit.connected(config) as connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange(config.crm_exchange)
        for body in bodies:
            await exchange.publish(aio_pika.Message(body), "any")


def _until_vip(tail: Tail, customer: int, patience_s: float = 60.0) -> None:
    tail.first(lambda e: (e.customer_id, e.level) == (str(customer), "vip"), patience_s)


def _assigned(world: World, customer: int) -> TaskEvent:
    task = f"crm-task-{customer}"
    world.write("tasks.requested", request(task, str(customer), "crm"))
    (found,) = until(
        "the assignment", lambda: world.first("tasks.events", task_id=task, kind="assigned")
    )
    assert isinstance(found, TaskEvent)
    return found


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    """p50 and p95 in ms."""
    cuts = statistics.quantiles(seconds, n=20)
    return cuts[9] * 1000, cuts[18] * 1000
