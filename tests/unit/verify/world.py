"""A small history of calls, written as the product writes it; tests spoil it in one place."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from schemas import ids
from schemas.catalogue import TOPICS
from schemas.envelope import Event
from schemas.events import (
    CallEvent,
    CustomerChange,
    DeadLetter,
    Directive,
    IntentWindow,
    OptOut,
    ProfileInbox,
    TaskEvent,
    TaskRequested,
    Tick,
    Transcript,
    Turn,
)
from schemas.partition import partition_of
from schemas.phone import Numbers
from schemas.registry import MemoryRegistry
from schemas.wire import Codec
from streams.analytics.recount import event_id_of, recount
from streams.dispatch.router import call_copies
from streams.profiles.fold import decide, evolve, parse
from streams.profiles.router import KINDS, copies
from streams.profiles.state import Customer
from verify.check import Check, Context, Result
from verify.checksum import digest_of, number
from verify.reading import LogDecoder
from verify.run import Feeder, make_checks

T0 = 1_750_000_000_000
KEY = b"k" * 32
EDGE = "edge"
PHONE = "13800000001"
EVERYTHING = frozenset({"routes", "profiles", "dispatch", "history", "analytics"})


@dataclass
class Entry:
    """A record as written. `judged`: it lies below the cut."""

    topic: str
    event: Event | None
    partition: int
    timestamp_ms: int
    key: bytes
    raw: bytes | None = None
    judged: bool = True


@dataclass
class World:
    """The log. `drops` says which records never come to be."""

    entries: list[Entry] = field(default_factory=list)
    drops: Callable[[str, Event], bool] = lambda topic, event: False
    now: int = T0
    judged: bool = True
    _customers: dict[str, Customer] = field(default_factory=dict)
    _n: Any = field(default_factory=lambda: count(1))

    def write(self, topic: str, event: Event, partition: int | None = None) -> None:
        """Writes a record, and what routers and the profiles service make of it."""
        self.now += 10
        if self.drops(topic, event):
            return
        t = TOPICS[topic]
        key = t.key(event)
        if partition is None:
            partition = partition_of(key, t.partitions)
        entry = Entry(topic, event, partition, self.now, key.encode(), judged=self.judged)
        self.entries.append(entry)
        if topic in KINDS and event.kind != "cancel":
            for name, copy in copies(topic, event):
                self.write(name, copy)
        if topic == "calls.events":
            for name, copy in call_copies(event, ()):
                self.write(name, copy)
        if isinstance(event, ProfileInbox):
            self._fold(event)

    def _fold(self, event: ProfileInbox) -> None:
        record = parse(event, Numbers("CN", KEY))
        before = self._customers.get(record.customer_id, Customer())
        after = evolve(before, record)
        self._customers[record.customer_id] = after
        for name, output in decide(before, after, record):
            self.write(name, output)

    def raw(self, topic: str, value: bytes, partition: int = 0) -> None:
        """Bytes that are no event."""
        self.now += 10
        self.entries.append(Entry(topic, None, partition, self.now, b"x", value, self.judged))

    # What happens in a call

    def wish(self, n: int = 1, phone: str = PHONE) -> TaskRequested:
        """A customer is known, and shall be called."""
        customer = f"customer-{n}"
        self.write(
            "customers.changes",
            CustomerChange(
                **self._root("crm", n), kind="upserted", customer_id=customer, source="crm",
                name=f"N{n}", phone=phone, level="gold",
            ),
        )  # fmt: skip
        wish = TaskRequested(
            **self._root("wish", n), kind="requested", customer_id=customer, phone=phone,
            task_id=ids.task_id("default", "assign", f"key-{n}"), campaign_id="spring",
            pool="sales", body_sha256=f"sha-{n}",
        )  # fmt: skip
        self.write("tasks.requested", wish)
        return wish

    def task(self, wish: TaskRequested, kind: str, **fields: Any) -> TaskEvent:
        """A step of the task."""
        attempt = fields.pop("attempt", 1)
        cause = ids.root_id(wish.task_id or "", kind, next(self._n))
        event = TaskEvent.model_validate(
            {
                "event_id": cause, "kind": kind, "occurred_at": self.now, "producer": "dispatch",
                "task_id": wish.task_id, "customer_id": wish.customer_id,
                "campaign_id": wish.campaign_id, "pool": "sales", "attempt": attempt,
                "call_id": ids.call_id(wish.task_id or "", attempt)
                if kind not in ("queued", "refused") else None,
            } | fields
        )  # fmt: skip
        self.write("tasks.events", event)
        return event

    def assigned(self, wish: TaskRequested, **fields: Any) -> TaskEvent:
        """A permit to dial."""
        given = {
            "edge_id": EDGE, "phone": wish.phone, "robot_id": "r1",
            "permit_expires_at": self.now + 15_000,
        }  # fmt: skip
        return self.task(wish, "assigned", **(given | fields))

    def call_event(self, call_id: str, kind: str, **fields: Any) -> CallEvent:
        """A record of the call by the edge."""
        once = kind in ("answered", "ended")
        event_id = (
            ids.call_once_id(call_id, kind)
            if once
            else ids.root_id(call_id, kind, fields.get("directive_id") or next(self._n))
        )
        event = CallEvent.model_validate(
            {
                "event_id": event_id, "kind": kind, "occurred_at": self.now, "producer": "edge",
                "call_id": call_id, "source": "edge", "edge_id": EDGE,
            } | fields
        )  # fmt: skip
        self.write("calls.events", event)
        return event

    def dial(self, permit: TaskEvent, **fields: Any) -> CallEvent:
        """The edge dials with a permit."""
        given = {
            "task_id": permit.task_id, "customer_id": permit.customer_id, "pool": "sales",
            "campaign_id": permit.campaign_id, "attempt": permit.attempt, "phone": permit.phone,
            "robot_id": "r1", "direction": "outbound", "edge_id": permit.edge_id,
            "optout_offset": self.optouts,
        }  # fmt: skip
        return self.call_event(permit.call_id or "", "dialing", **(given | fields))

    @property
    def optouts(self) -> int:
        """End of the do-not-call list."""
        return sum(entry.topic == "compliance.optouts" for entry in self.entries)

    def opt_out(self, phone: str = PHONE, kind: str = "opted_out") -> None:
        """Somebody wishes not to be called, or takes it back."""
        hashed = ids.phone_hash(phone, KEY)
        event = OptOut.model_validate(
            self._root("optout", hashed, next(self._n))
            | {"kind": kind, "phone_hash": hashed, "reason": "test"}
        )
        self.write("compliance.optouts", event)

    def final(self, call_id: str, text: str = "好的", n: int = 1) -> Transcript:
        """The customer has said something."""
        event = Transcript(
            event_id=ids.root_id(call_id, "final", n), kind="final", occurred_at=self.now,
            producer="asr", call_id=call_id, leg="customer", text=text, start_ms=n, end_ms=n + 1,
            utterance_id=ids.root_id(call_id, n), mark=n, ssrc=1, model="m", decode_ms=1.0,
            confidence=0.5, gaps_ms=[40, 80], tokens=[],
        )  # fmt: skip
        self.write("asr.transcripts", event)
        return event

    def turn(
        self, given: Event, directives: Iterable[Directive] = (), epoch: int = 1, **fields: Any
    ) -> Turn:
        """The robot's turn on an input."""
        final = isinstance(given, Transcript)
        event = Turn.model_validate(
            {
                "event_id": ids.event_id(given.event_id, "turn"), "occurred_at": self.now,
                "producer": "robots-a", "causation_id": given.event_id, "call_id": given.call_id,
                "customer_id": given.customer_id, "campaign_id": "spring", "epoch": epoch,
                "input_kind": "final" if final else given.kind, "input_event_id": given.event_id,
                "text": getattr(given, "text", ""), "intent": "affirm" if final else "",
                "node": "start", "slots": {"time": "明天"},
                "directive_ids": [d.directive_id for d in directives],
            } | fields
        )  # fmt: skip
        self.write("dialogue.turns", event)
        return event

    def directive(
        self, given: Event, kind: str = "say", n: int = 0, epoch: int = 1, **fields: Any
    ) -> Directive:
        """A directive that follows from an input; not yet written."""
        this = ids.event_id(given.event_id, kind, n)
        return Directive.model_validate(
            {
                "event_id": this, "directive_id": this, "kind": kind, "occurred_at": self.now,
                "producer": "robots-a", "causation_id": given.event_id, "call_id": given.call_id,
                "seq": n, "epoch": epoch, "prompt_sha256": "0" * 64,
            } | fields
        )  # fmt: skip

    def answer(
        self, given: Event, *kinds: str, epoch: int = 1, outcome: str | None = None
    ) -> list[Directive]:
        """A turn and its directives, and what the edge plays of them."""
        directives = [
            self.directive(given, kind, n, epoch) for n, kind in enumerate(kinds or ("say",))
        ]
        self.turn(given, directives, epoch, outcome=outcome)
        for directive in directives:
            self.write("dialogue.directives", directive)
        for directive in directives:
            if directive.kind == "say":
                self.play(directive)
        return directives

    def play(self, directive: Directive, ms: int = 1_000) -> None:
        """A prompt from beginning to end."""
        self.playout(directive, "playout_started", ms)
        self.now += ms
        self.playout(directive, "playout_ended", ms)

    def playout(self, directive: Directive, kind: str, ms: int = 1_000) -> None:
        """One of its two records."""
        call_id = directive.call_id or ""
        heard = ms if kind == "playout_ended" else None
        self.call_event(
            call_id, kind, directive_id=directive.directive_id, prompt_ms=ms, heard_ms=heard
        )

    def whole_call(self, n: int = 1) -> str:
        """From the wish to the end of the task; returns the call's id."""
        return self.call(self.wish(n, f"1380000{n:04d}"))

    def call(self, wish: TaskRequested, *says: str, outcome: str | None = None) -> str:
        """The same for a wish that is on the log. The customer `says` something, after which the
        playbook comes to an outcome."""
        self.task(wish, "queued")
        dial = self.dial(self.assigned(wish))
        call_id = dial.call_id or ""
        self.task(wish, "dialing")
        who = {"task_id": wish.task_id, "customer_id": wish.customer_id, "pool": "sales"}
        self.call_event(call_id, "tried", try_no=1, trunk="sim", **who)
        answered = self.call_event(call_id, "answered", **who)
        self.answer(answered)
        for k, text in enumerate(says or ("好的", "好的")):
            self.answer(self.final(call_id, text, n=k + 1), outcome=outcome)
        self.call_event(call_id, "ended", disposition="completed", cause_q850=16, **who)
        self.task(wish, "completed", reason="completed")
        return call_id

    def windows(self) -> None:
        """What Flink makes of the turns, and ticks that close all windows."""
        turns = [e.event for e in self.entries if isinstance(e.event, Turn)]
        for window, counted in recount(turns).items():
            end_ms = window.start_ms + window.size_s * 1_000
            self.write(
                "analytics.intent_windows",
                IntentWindow(
                    event_id=event_id_of(window, counted.turns - 1), occurred_at=end_ms,
                    producer="analytics", campaign_id=window.campaign, intent=window.intent,
                    window_start=window.start_ms, window_end=end_ms, count=counted.turns,
                    calls=counted.calls, revision=counted.turns - 1,
                ),
            )  # fmt: skip
        self.now += 120_000
        for p in range(8):
            tick = Tick(event_id=ids.root_id("tick", p), occurred_at=self.now, producer="analytics")
            self.write("analytics.ticks", tick, p)

    def dead_letter(self, topic: str, offset: int, reason: str, partition: int = 0) -> None:
        """What a reader could not read."""
        event = DeadLetter(
            event_id=ids.dead_letter_id(topic, partition, offset), occurred_at=self.now,
            producer="test", source_topic=topic, source_partition=partition, source_offset=offset,
            reason=reason, raw=b"?",
        )  # fmt: skip
        self.write("dead_letters", event)

    def _root(self, *parts: str | int) -> dict[str, Any]:
        return {"event_id": ids.root_id(*parts), "occurred_at": self.now, "producer": "test"}


@dataclass
class Tables:
    """ClickHouse, as far as it is asked: what its rows are is told by the log and by a test."""

    missing: frozenset[str] = frozenset()
    """Places (`topic/partition@offset`) that have no row."""
    spoilt: frozenset[str] = frozenset()
    """Places whose row differs."""


def judge(
    world: World,
    *names: str,
    tables: Tables | None = None,
    idle: bool = False,
    reached: frozenset[str] = EVERYTHING,
    key: bytes | None = KEY,
    later_ms: int = 1_000,
    rows_of: World | None = None,
) -> dict[str, Result]:
    """Results of the checks by name. `later_ms` lie between the last record and the second cut;
    `rows_of` is the log that the tables were filled from, where it is another one."""
    registry = MemoryRegistry()
    codec = Codec(registry)
    checks = make_checks(names, key)
    feeder = Feeder(checks, LogDecoder(registry))
    offsets: dict[tuple[str, int], int] = {}
    judged: dict[tuple[str, int], int] = {}
    for entry in world.entries:
        place = entry.topic, entry.partition
        offset = offsets.get(place, 0)
        offsets[place] = offset + 1
        if entry.judged:
            judged[place] = offset + 1
        value = entry.raw if entry.event is None else codec.encode(entry.topic, entry.event)
        feeder.take(*place, offset, entry.timestamp_ms, entry.key, value, entry.judged)
    places = {(t.name, p): 0 for t in TOPICS.values() for p in range(t.partitions)}
    context = Context(
        judged_ms=world.now, read_ms=world.now + later_ms, idle=idle, reached=reached,
        begins=places, judged=places | judged, kept=places | judged,
    )  # fmt: skip
    for check in checks:
        if not tables:
            continue
        context = _answered(check, context, rows_of or world, tables)
    return {check.name: check.finish(context) for check in checks}


def _answered(check: Check, context: Context, world: World, tables: Tables) -> Context:
    """The context with what such tables answer to a check's questions."""
    while asked := check.questions(context):
        answers = dict(context.answers)
        for name in asked:
            answers[name] = _answer(name, world, tables)
        context = Context(
            context.judged_ms, context.read_ms, context.idle, context.reached, context.begins,
            context.judged, context.kept, answers,
        )  # fmt: skip
    return context


def _answer(name: str, world: World, tables: Tables) -> list[list[str]]:
    room, what, *rest = name.split("/")
    topic = {"turns": "dialogue.turns", "transcripts": "asr.transcripts"}.get(what, what)
    rows: dict[int, dict[int, int]] = {}
    offsets: dict[int, int] = {}
    seen: set[str] = set()
    write = digest_of(TOPICS[topic])
    for entry in world.entries:
        if entry.topic != topic:
            continue
        partition, event = entry.partition, entry.event
        offset = offsets.get(partition, 0)
        offsets[partition] = offset + 1
        where = f"{topic}/{partition}@{offset}"
        if event is None or where in tables.missing or not entry.judged:
            continue
        if room == "views":
            if event.event_id in seen or event.kind == "partial":
                continue
            seen.add(event.event_id)
            digest = number(f"{event.event_id}|{offset}")
        else:
            digest = write(partition, offset, event.model_dump())
        rows.setdefault(partition, {})[offset] = digest + (where in tables.spoilt)
    if rest == ["rows"]:
        return [[str(p), str(o), str(d)] for p, found in rows.items() for o, d in found.items()]
    out = []
    for partition, found in rows.items():
        xor = 0
        for digest in found.values():
            xor ^= digest
        out.append([str(partition), str(len(found)), str(xor)])
    return out
