"""The views against plain folds of the same events, through clickhouse-driver."""

import random
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from clickhouse_driver import Client

from ringlog.kafka.codec import codec_of
from ringlog.settings import Settings
from schemas.catalogue import TOPICS
from schemas.envelope import Event
from schemas.events import (
    CallEvent,
    CampaignContact,
    CustomerChange,
    PaymentPromise,
    Profile,
    TaskEvent,
    TaskRequested,
)
from schemas.ids import root_id
from schemas.partition import partition_of
from sql.migrate import HttpDatabase, MigrationError, NativeDatabase, load, migrate
from streams.api.state import Board
from streams.history.clickhouse import ClickHouse
from streams.history.columns import TOPICS_KEPT, columns_of
from streams.history.container import Row, container
from streams.history.sorting import Sorter
from tests.unit.history.samples import record

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

START_MS = 1_760_000_000_000


class Tables:
    """A database of its own; records get offsets in the order in which they are added."""

    def __init__(self, config: Settings) -> None:
        self.config = config
        self._sorters: dict[str, Sorter] = {}
        self._ends: Counter[tuple[str, int]] = Counter()
        host, port = config.clickhouse_native
        self.database = NativeDatabase(host, port, config.clickhouse_database, "default", "")
        migrate(self.database)
        self.client = Client(host, port, config.clickhouse_database)

    def add(
        self, topic_name: str, records: list[dict[str, Any]], partition: int | None = None
    ) -> None:
        """Inserts records in two overlapping blocks, as an unlucky restart would."""
        topic = TOPICS[topic_name]
        codec = codec_of(self.config)
        rows = []
        for data in records:
            key = data["call_id"] if topic.call_keyed else data["task_id"] or data["customer_id"]
            p = partition_of(key or "", topic.partitions) if partition is None else partition
            offset = self._ends[topic_name, p]
            self._ends[topic_name, p] += 1
            rows.append(Row(p, offset, 0, codec.encode(topic_name, data)))
        sorter = Sorter(topic, codec)
        clickhouse = ClickHouse(self.config)
        half = len(rows) // 2
        for block in (rows[: half + 3], rows[half:]):
            done = sorter.sort(block)
            assert not done.poison
            for writer, good in done.good:
                body = container(writer.header, good)
                clickhouse.insert(topic.table, writer.columns, body, str(uuid.uuid4()))

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Rows as dicts; times as milliseconds."""
        found, columns = self.client.execute(query, with_column_types=True)
        return [
            {
                name: round(value.timestamp() * 1000) if hasattr(value, "timestamp") else value
                for (name, _), value in zip(columns, row, strict=True)
            }
            for row in found
        ]


@pytest.fixture
def tables(stack: Settings) -> Iterator[Tables]:
    name = f"views_{uuid.uuid4().hex[:12]}"
    made = Tables(stack.model_copy(update={"clickhouse_database": name}))
    yield made
    made.client.execute(f"DROP DATABASE {name} SYNC")
    made.client.disconnect()


def with_repeats(rng: random.Random, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Later copies of some records, some of them with other content under the same id."""
    out = list(records)
    for data in rng.sample(records, len(records) // 4):
        again = data | ({"occurred_at": data["occurred_at"] + 7} if rng.random() < 0.5 else {})
        out.insert(rng.randrange(out.index(data) + 1, len(out) + 1), again)
    return out


def test_calls_are_what_the_api_folds(tables: Tables) -> None:
    rng = random.Random(11)
    topic = TOPICS["calls.events"]
    events = []
    for n in range(600):
        at = START_MS + rng.randrange(600)
        data = record(topic, n, call_id=f"call-{rng.randrange(60)}", occurred_at=at)
        for name in ("task_id", "customer_id", "campaign_id", "pool", "robot_id"):
            data[name] = rng.choice((None, f"{name}-{rng.randrange(3)}"))
        data["disposition"] = rng.choice((None, "completed", "busy"))
        data["cause_q850"] = rng.choice((None, 16, 17))
        events.append(data)
    events = with_repeats(rng, events)
    tables.add(topic.name, events)
    board = Board()
    for data in events:
        board.apply(CallEvent.model_validate(data))
    rows = {row["call_id"]: row for row in tables.rows("SELECT * FROM calls")}
    assert rows.keys() == board.calls.keys()
    assert len(tables.rows("SELECT call_id FROM calls")) == len(rows)
    for call, status in board.calls.items():
        expected = status.model_dump(exclude={"version"})
        assert {name: rows[call][name] for name in expected} == expected
    one = next(iter(rows))
    assert tables.rows(f"SELECT * FROM calls WHERE call_id = '{one}'") == [rows[one]]
    states = Counter(row["state"] for row in rows.values())
    assert states["ended"] and len(states) > 2


def test_attempts_are_one_row_a_try(tables: Tables) -> None:
    """What became of each try, who refused it and why; a number that was shown is masked."""

    def tell(call: str, kind: str, at: int, **fields: Any) -> dict[str, Any]:
        event = CallEvent(
            event_id=root_id(call, kind, at), kind=kind, occurred_at=START_MS + at,
            producer="edge", call_id=call, task_id=f"task-{call}", customer_id=f"c-{call}",
            edge_id="edge", **fields,
        )  # fmt: skip
        return event.model_dump()

    shown = {"caller_id": "+861060000001"}
    events = [
        tell("rerouted", "tried", 0, try_no=1, trunk="a", **shown),
        tell("rerouted", "refused", 90, try_no=1, trunk="a", cause_q850=34, cause_sip=503),
        tell("rerouted", "tried", 100, try_no=2, trunk="b"),
        tell("rerouted", "ringing", 350),
        tell("rerouted", "answered", 2_000),
        tell("rerouted", "ended", 9_000, cause_q850=16, disposition="completed"),
        tell("busy", "tried", 10, try_no=1, trunk="a"),
        tell("busy", "ended", 510, cause_q850=17, cause_sip=486, disposition="busy"),
        tell("rings", "tried", 20, try_no=1, trunk="b"),
        tell("rings", "early_media", 70),
        tell("asked", "tried", 30, try_no=1, trunk="b"),
        tell("replaced", "tried", 40, try_no=1, trunk="a"),  # its end was never told
        tell("replaced", "tried", 900, try_no=2, trunk="b"),
        tell("replaced", "refused", 980, try_no=2, trunk="b", cause_q850=41),
        tell("foreign", "answered", 50),
        tell("foreign", "ended", 60, cause_q850=16, disposition="completed"),
    ]
    # Repeats, one of them with other content: the first of an id counts.
    events += [events[0] | {"trunk": "z"}, events[1], events[5] | {"cause_q850": 31}]
    tables.add("calls.events", events)
    names = ("call_id", "try_no", "trunk", "result", "cause_q850", "cause_sip", "response_ms")
    rows = tables.rows("SELECT * FROM attempts ORDER BY call_id, try_no")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("asked", 1, "b", "asked", None, None, None),
        ("busy", 1, "a", "unanswered", 17, 486, 500),
        ("replaced", 1, "a", "replaced", None, None, None),
        ("replaced", 2, "b", "refused", 41, None, 80),
        ("rerouted", 1, "a", "refused", 34, 503, 90),
        ("rerouted", 2, "b", "answered", 16, None, 250),
        ("rings", 1, "b", "ringing", None, None, 50),
    ]
    first = next(row for row in rows if row["call_id"] == "rerouted")
    assert (first["caller_id"], first["tried_at"]) == ("+861060****01", START_MS)
    assert (first["task_id"], first["customer_id"]) == ("task-rerouted", "c-rerouted")


def test_tasks_are_what_the_api_folds(tables: Tables) -> None:
    rng = random.Random(12)
    requested, events = TOPICS["tasks.requested"], TOPICS["tasks.events"]
    asked, decided = [], []
    for n in range(40):
        common = {"task_id": f"task-{n}", "campaign_id": None, "pool": "p", "customer_id": f"c{n}"}
        ask = record(requested, n, kind="requested", not_before=None, deadline=None, dials=n)
        asked.append(ask | common | {"call_id": None, "occurred_at": START_MS + n})
        for k in range(rng.randrange(6)):
            step = record(events, 100 * n + k, permit_expires_at=None, retry_at=None, attempt=k)
            step |= common | {"occurred_at": START_MS + 1_000 + k}
            step["call_id"] = rng.choice((None, f"call-{n}-{k}"))
            step["robot_id"] = rng.choice((None, f"robot-{k}"))
            step["profile_version"] = rng.choice((None, k))
            decided.append(step)
    asked, decided = with_repeats(rng, asked), with_repeats(rng, decided)
    tables.add(requested.name, asked)
    tables.add(events.name, decided)
    board = Board()
    for data in asked:
        board.apply(TaskRequested.model_validate(data))
    for data in decided:
        board.apply(TaskEvent.model_validate(data))
    rows = {row["task_id"]: row for row in tables.rows("SELECT * FROM tasks")}
    assert rows.keys() == board.tasks.keys()
    for task, status in board.tasks.items():
        expected = status.model_dump()
        assert {name: rows[task][name] for name in expected} == expected
    assert {row["status"] for row in rows.values()} > {"queued", "assigned"}


def test_directives_count_by_the_epoch_rule(tables: Tables) -> None:
    rng = random.Random(13)
    topic = TOPICS["dialogue.directives"]
    made = []
    for n in range(400):
        epoch = rng.choice((None, *range(max(0, n // 40 - 2), n // 40 + 1)))
        call = f"call-{rng.randrange(6)}"
        kind = rng.choice(("say", "stop", "hangup"))
        data = record(topic, n, call_id=call, kind=kind, epoch=epoch)
        made.append(data | {"directive_id": f"d{rng.randrange(150)}"})
    tables.add(topic.name, made)
    expected = []
    highest: Counter[int] = Counter()
    counted = set()
    for data in made:
        partition = partition_of(data["call_id"], 8)
        epoch = data["epoch"] or 0
        if epoch >= highest[partition] and (partition, data["directive_id"]) not in counted:
            counted.add((partition, data["directive_id"]))
            expected.append(data["event_id"])
        highest[partition] = max(highest[partition], epoch)
    found = [row["event_id"] for row in tables.rows("SELECT toString(event_id) AS event_id FROM "
                                                    "directives")]  # fmt: skip
    assert sorted(found) == sorted(expected)
    assert 0 < len(expected) < len(made)


def test_a_stale_directive_does_not_use_up_its_id(tables: Tables) -> None:
    topic = TOPICS["dialogue.directives"]
    call = {"call_id": "call-1", "kind": "say", "directive_id": "answer"}
    barrier = record(topic, 1, call_id=None, kind="takeover", epoch=9, directive_id="b")
    stale, fresh = record(topic, 2, epoch=3, **call), record(topic, 3, epoch=9, **call)
    tables.add(topic.name, [barrier, stale, fresh], partition=partition_of("call-1", 8))
    found = tables.rows("SELECT toString(event_id) AS e FROM directives WHERE kind = 'say'")
    assert [row["e"] for row in found] == [fresh["event_id"]]


def test_transcripts_turns_and_intents(tables: Tables) -> None:
    rng = random.Random(14)
    spoken, turns = TOPICS["asr.transcripts"], TOPICS["dialogue.turns"]
    heard = with_repeats(
        rng, [record(spoken, n, kind=rng.choice(("partial", "final"))) for n in range(200)]
    )
    tables.add(spoken.name, heard)
    first = {d["event_id"]: d for d in reversed(heard)}
    finals = {e: d["text"] for e, d in first.items() if d["kind"] == "final"}
    rows = tables.rows("SELECT toString(event_id) AS e, text, tokens FROM transcripts")
    assert {row["e"]: row["text"] for row in rows} == finals and len(rows) == len(finals)
    assert "" in finals.values()
    for row in rows:
        assert row["tokens"] == [(t["text"], t["start_ms"]) for t in first[row["e"]]["tokens"]]

    made = [
        record(turns, n, input_kind=rng.choice(("final", "silence")), campaign_id=f"m{n % 2}",
               intent=rng.choice(("", "interested", "refuse")), occurred_at=START_MS + n * 1_000)
        for n in range(300)
    ]  # fmt: skip
    said = with_repeats(rng, made)
    tables.add(turns.name, said)
    assert len(tables.rows("SELECT event_id FROM turns")) == len(made)
    counts: Counter[tuple[int, str, str]] = Counter()
    calls: dict[tuple[int, str, str], set[str]] = {}
    for data in {d["event_id"]: d for d in reversed(said)}.values():
        if data["input_kind"] == "final" and data["intent"]:
            minute = data["occurred_at"] // 60_000 * 60_000
            key = minute, data["campaign_id"], data["intent"]
            counts[key] += 1
            calls.setdefault(key, set()).add(data["call_id"])
    found = tables.rows("SELECT * FROM intents_by_minute")
    place = ("minute", "campaign_id", "intent")
    assert {tuple(r[k] for k in place): (r["count"], r["calls"]) for r in found} == {
        key: (n, len(calls[key])) for key, n in counts.items()
    }


def test_customers_are_the_newest_profiles(tables: Tables) -> None:
    topic = TOPICS["customers.profiles"]
    made = [record(topic, n, customer_id=f"c{n % 5}", task_id=None, version=n) for n in range(50)]
    tables.add(topic.name, [*made, made[0], made[7] | {"version": 999}])  # late repeats
    rows = tables.rows("SELECT customer_id, version, tags, opted_out FROM customers")
    newest = {d["customer_id"]: d for d in made}
    assert {row["customer_id"]: row["version"] for row in rows} == {
        c: d["version"] for c, d in newest.items()
    }
    assert len(rows) == 5
    for row in rows:
        assert row["tags"] == newest[row["customer_id"]]["tags"]


def test_customer_360_is_all_that_is_known_of_one_person(tables: Tables) -> None:
    def add(event: Event, topic: str) -> None:
        tables.add(topic, [event.model_dump(), event.model_dump()])  # and a repeat

    def base(name: str, customer: str, at: int = START_MS) -> dict[str, Any]:
        return {"event_id": root_id(name, customer, at), "occurred_at": at, "producer": "test",
                "customer_id": customer}  # fmt: skip

    def profile(customer: str, version: int, **values: Any) -> None:
        add(Profile(**base("p", customer, START_MS + version), version=version, **values),
            "customers.profiles")  # fmt: skip

    def told(customer: str, kind: Any, record: str, at: int, **values: Any) -> None:
        add(CustomerChange(**base(record, customer, at), kind=kind, source="erp", record_id=record,
                           **values), "customers.changes")  # fmt: skip

    def call(customer: str, call: str, at: int, end: str | None, campaign: str | None) -> None:
        for kind, disposition in (("dialing", None), *([("ended", end)] if end else [])):
            event = {**base(call + kind, customer, at), "kind": kind, "call_id": call,
                     "disposition": disposition, "campaign_id": campaign}  # fmt: skip
            add(CallEvent.model_validate(event), "calls.events")

    profile("a", 1, name="李雷")
    profile("a", 2, merged_into="b")
    open_promise = {"said_at": START_MS, "amount_minor": 80_000, "state": "open"}
    promises = [PaymentPromise(call_id=c, due_at=due, **open_promise)
                for c, due in (("k1", START_MS + 1), ("k2", 9_000_000_000_000))]  # fmt: skip
    profile("b", 3, name="李雷", absorbed=["a"], opted_out_in=["campaign:spring"], calls=2,
            payment_promises=promises, told_at={"name": 5}, sources={"name": "crm"})  # fmt: skip
    profile("c", 1, level="vip")
    told("a", "payment", "p1", START_MS, amount_minor=100, currency="cny", made_at=START_MS)
    told("a", "payment", "p1", START_MS + 9, amount_minor=150, currency="CNY", made_at=START_MS)
    told("b", "payment", "p2", START_MS, amount_minor=7, currency="USD")
    told("b", "payment", "p3", START_MS, amount_minor=9, currency="USD")
    told("b", "payment", "p3", START_MS + 9, status="void")
    told("b", "order", "o1", START_MS, amount_minor=5, currency="CNY", status="open")
    call("a", "k1", START_MS, "busy", "spring")
    call("b", "k2", START_MS + 5_000, "promised", None)
    add(CampaignContact(**base("contact", "a"), campaign_id="autumn", contact_id="x",
                        import_id="i", row=1, phone="+8613800138000"),
        "campaigns.contacts")  # fmt: skip
    add(TaskRequested(**base("task", "b"), kind="requested", task_id="t", campaign_id="spring",
                      body_sha256=""), "tasks.requested")  # fmt: skip

    rows = {row["customer_id"]: row for row in tables.rows("SELECT * FROM customer_360")}
    assert rows.keys() == {"b", "c"}
    row = rows["b"]
    assert (row["name"], row["version"], row["absorbed"], row["calls"]) == ("李雷", 3, ["a"], 2)
    assert (row["opted_out_in"], row["campaigns"]) == (["campaign:spring"], ["autumn", "spring"])
    assert (row["last_call_id"], row["last_disposition"]) == ("k2", "promised")
    assert (row["last_call_at"], row["last_campaign_id"]) == (START_MS + 5_000, None)
    assert (row["payments"], row["paid_minor"]) == (2, {"CNY": 150, "USD": 7})
    assert (row["orders"], row["ordered_minor"]) == (1, {"CNY": 5})
    assert row["last_payment_at"] == START_MS
    assert [(p[0], p[3], p[4]) for p in row["promises"]] == [
        ("k1", 80_000, "broken"), ("k2", 80_000, "open"),
    ]  # fmt: skip
    assert (row["told_at"], row["sources"]) == ({"name": 5}, {"name": "crm"})
    bare = rows["c"]
    assert (bare["level"], bare["last_call_id"], bare["campaigns"]) == ("vip", None, [])
    assert (bare["payments"], bare["paid_minor"], bare["promises"]) == (0, {}, [])


def test_the_tables_have_every_column_and_the_migrations_are_kept(tables: Tables) -> None:
    types = {
        (row["table"], row["name"]): row["type"]
        for row in tables.rows(
            "SELECT table, name, type FROM system.columns WHERE database = currentDatabase()"
        )
    }
    for topic in TOPICS_KEPT:
        for column in columns_of(topic):
            assert types[topic.table, column.name] == column.type
        assert {(topic.table, c) for c in ("_topic", "_partition", "_offset")} <= types.keys()
    kept = tables.rows("SELECT * FROM schema_migrations FINAL ORDER BY version")
    assert [(r["version"], r["name"], r["checksum"]) for r in kept] == [
        (m.version, m.name, m.checksum) for m in load()
    ]
    assert migrate(tables.database) == []
    tables.client.execute("ALTER TABLE schema_migrations UPDATE checksum = 'x' WHERE version = 1 "
                          "SETTINGS mutations_sync = 1")  # fmt: skip
    with pytest.raises(MigrationError, match="0001_raw_tables was applied with checksum x"):
        migrate(tables.database)


def test_migrations_run_over_http_too(tables: Tables) -> None:
    name = f"http_{uuid.uuid4().hex[:12]}"
    database = HttpDatabase(tables.config.clickhouse_http, name, "default", "")
    assert [m.version for m in migrate(database)] == [m.version for m in load()]
    assert migrate(database) == []
    with pytest.raises(MigrationError, match="Syntax error"):
        database.run("SELEKT 1")
    tables.client.execute(f"DROP DATABASE {name} SYNC")
