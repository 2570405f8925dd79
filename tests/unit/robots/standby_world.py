"""Calls around two robot workers in memory: an edge that plays, customers who answer, faults.

Customers speak when they have heard the robot out, so what is said follows from what was said: a
world with faults must come to the same talk as one without. `hasty` customers speak by the clock.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from schemas.acceptance import Acceptance
from schemas.events import CallEvent, Directive, Transcript, Turn
from schemas.ids import call_once_id, root_id
from tests.unit.robots.robot_talk import library_of
from tests.unit.robots.standby_cluster import LEASES, PARTITIONS, START_MS, Broker, Client, Member

PROMPT_MS = 600
"""Prompts are short here, so that much happens in a second."""

SILENT = None
"""The customer says nothing until the robot speaks again."""

NO_ANSWER = ("", "嗯")
"""What needs no answer in the nodes where the scripts say it."""

SCRIPTS: list[list[str | None]] = [
    ["可以", "太贵了", "", "一个月多少钱", "嗯", "再说一遍", "好的"],
    ["方便", SILENT, "多少钱", "你是谁", "", "你是谁", "不需要"],
    ["可以", "太贵了", "太贵了", "谢谢", "再见"],
    ["可以介绍一下吗", "多少钱", "嗯", SILENT, "转人工"],
    ["我在开会"],
    ["", "可以", "有没有优惠", "可以", "嗯", "嗯", "听不清楚", "不需要"],
]


@dataclass
class Talk:
    """One customer's side: the next line comes `think_ms` after the last prompt was over."""

    call_id: str
    script: list[str | None]
    starts_ms: int
    think_ms: int
    hasty: bool = False
    n: int = 0
    at_ms: int | None = None
    """When the next line is said; None while the robot's answer is awaited."""
    over: bool = False


@dataclass
class Playing:
    """What an edge does for a call."""

    queue: list[Directive] = field(default_factory=list)
    ends_ms: int | None = None
    done: set[str] = field(default_factory=set)


class World:
    """Everything; `run` lets time pass."""

    def __init__(self, seed: int, talks: list[Talk]) -> None:
        self.chance = random.Random(seed)
        self.broker = Broker()
        self.talks = {t.call_id: t for t in talks}
        self.library = library_of()
        self.members: list[Member] = []
        self.edge = self._client()
        self.lines = self._client()
        """Recogniser and carrier."""
        self.acceptance = Acceptance()
        self.accepted: dict[str, list[Directive]] = {}
        self.stale = 0
        self.epochs_seen: set[int] = set()
        self.playing: dict[str, Playing] = {}
        self.finals: dict[str, str] = {}
        self.plans: list[tuple[int, Callable[[], None]]] = []
        self._pid = 0
        for service in ("robots-a", "robots-b"):
            self.start(service)

    # -- processes

    def _client(self) -> Client:
        return Client(self.broker, random.Random(self.chance.random()))

    def start(self, service: str) -> None:
        self._pid += 1
        member = Member(service, self._pid, self._client(), self.library)
        self.members = [m for m in self.members if m.service != service] + [member]

    @property
    def speaker(self) -> Member:
        return max(self.members, key=lambda m: (m.alive, m.leadership.mine, m.leadership.epoch))

    @property
    def follower(self) -> Member:
        speaker = self.speaker
        return next(m for m in self.members if m is not speaker)

    def claims(self) -> int:
        return sum(r.event.kind == "claim" for r in self.broker.partitions.get(LEASES, []))

    def after(self, ms: int, what: Callable[[], None]) -> None:
        self.plans.append((self.broker.now + ms, what))

    # -- time

    def run(self, ms: int) -> None:
        end = self.broker.now + ms
        while self.broker.now < end:
            self.broker.now += 5
            due = [p for p in self.plans if p[0] <= self.broker.now]
            self.plans = [p for p in self.plans if p[0] > self.broker.now]
            for _, what in due:
                what()
            self._customers()
            self._edge()
            for member in self.members:
                member.step()

    def run_out(self, most_ms: int = 120_000) -> None:
        """Until every call is over and everything is answered."""
        end = self.broker.now + most_ms
        while not (all(t.over for t in self.talks.values()) and not self.unanswered()):
            assert self.broker.now < end, f"still waiting: {self._waiting()}"
            self.run(200)

    def _waiting(self) -> object:
        talks = [(t.call_id, t.n, t.at_ms) for t in self.talks.values() if not t.over]
        return talks, self.unanswered(), [(m.name, m.leadership.role) for m in self.members]

    # -- customers

    def _customers(self) -> None:
        for talk in self.talks.values():
            if talk.over or self.broker.now < talk.starts_ms:
                continue
            if talk.n == 0 and talk.at_ms is None and talk.call_id not in self.playing:
                self._answer(talk)
            elif talk.at_ms is not None and talk.at_ms <= self.broker.now:
                self._speak(talk)
        self.lines.flush()

    def _answer(self, talk: Talk) -> None:
        self.playing[talk.call_id] = Playing()
        fields: dict[str, Any] = {"robot_id": "r1", "playbook": "promotion", "profile": "{}"}
        self._write(talk.call_id, "dialing", root_id("sim", talk.call_id, "dialing"), **fields)
        self._write(talk.call_id, "answered", call_once_id(talk.call_id, "answered"))
        if talk.hasty:
            talk.at_ms = self.broker.now + 400

    def _speak(self, talk: Talk) -> None:
        if talk.n >= len(talk.script):
            # Whoever has said all hangs up in the end.
            self._over(talk.call_id, self.lines)
            return
        text, talk.at_ms = talk.script[talk.n], None
        talk.n += 1
        if talk.hasty:
            self._transcript(talk, text or "", "partial")
            talk.at_ms = self.broker.now + self.chance.randint(200, 1_500)
        elif text in NO_ANSWER:
            talk.at_ms = self.broker.now + talk.think_ms
        if text is not None:
            self._transcript(talk, text, "final")

    def _transcript(self, talk: Talk, text: str, kind: str) -> None:
        this = root_id("sim-asr", talk.call_id, kind, talk.n)
        transcript = Transcript.model_validate(
            {
                "event_id": this, "kind": kind, "occurred_at": START_MS + self.broker.now,
                "producer": "asr", "call_id": talk.call_id, "leg": "customer",
                "utterance_id": root_id("sim-u", talk.call_id, talk.n), "text": text,
                "start_ms": 0, "end_ms": 1, "mark": 8, "ssrc": 1, "model": "m", "decode_ms": 1.0,
            }
        )  # fmt: skip
        if kind == "final":
            self.finals[this] = talk.call_id
        self._twice(self.lines, "asr.transcripts", transcript)

    def _heard_out(self, call_id: str) -> None:
        """The robot is silent: the customer thinks, then speaks."""
        talk = self.talks[call_id]
        if not talk.hasty and not talk.over:
            talk.at_ms = self.broker.now + talk.think_ms
            if talk.n < len(talk.script) and talk.script[talk.n] is SILENT:
                talk.n, talk.at_ms = talk.n + 1, None

    # -- the edge

    def _edge(self) -> None:
        for received in self.edge.poll([("dialogue.directives", p) for p in PARTITIONS]):
            if isinstance(received.event, Directive):
                self._directive(received.partition, received.event)
        for call_id, playing in self.playing.items():
            self._play(call_id, playing)
        self.edge.flush()

    def _directive(self, partition: int, directive: Directive) -> None:
        standing = self.acceptance.evolve(partition, directive)
        self.stale += standing == "stale"
        if standing != "accepted":
            return
        call_id = directive.call_id or ""
        self.accepted.setdefault(call_id, []).append(directive)
        self.epochs_seen.add(directive.epoch or 0)
        playing = self.playing[call_id]
        if directive.kind == "stop":
            if playing.ends_ms is not None:
                self._played(call_id, playing, PROMPT_MS - (playing.ends_ms - self.broker.now))
            for said in [d for d in playing.queue if d.kind == "say"]:
                self._ended(call_id, playing, said, 0)
            playing.queue = [d for d in playing.queue if d.kind != "say"]
        elif directive.kind in ("say", "hangup", "transfer"):
            playing.queue.append(directive)

    def _play(self, call_id: str, playing: Playing) -> None:
        if playing.ends_ms is not None and playing.ends_ms <= self.broker.now:
            self._played(call_id, playing, PROMPT_MS)
            if not playing.queue:
                self._heard_out(call_id)
        while playing.queue and playing.ends_ms is None:
            first = playing.queue[0]
            if first.kind == "say":
                self._event(call_id, "playout_started", first)
                playing.ends_ms = self.broker.now + PROMPT_MS
            else:
                playing.queue.clear()
                if first.kind == "transfer":
                    self._event(call_id, "transferred", first)
                self._over(call_id, self.edge)

    def _played(self, call_id: str, playing: Playing, heard_ms: int) -> None:
        playing.ends_ms = None
        self._ended(call_id, playing, playing.queue.pop(0), heard_ms)

    def _ended(self, call_id: str, playing: Playing, said: Directive, heard_ms: int) -> None:
        if said.directive_id not in playing.done:
            playing.done.add(said.directive_id)
            self._event(call_id, "playout_ended", said, heard_ms=heard_ms, prompt_ms=PROMPT_MS)

    def restart_edge(self) -> None:
        """The edge comes back and reads the log: prompts that were not heard out begin again."""
        for playing in self.playing.values():
            playing.ends_ms = None

    def _over(self, call_id: str, by: Client) -> None:
        talk = self.talks[call_id]
        if not talk.over:
            talk.over, talk.at_ms = True, None
            self._write(call_id, "ended", call_once_id(call_id, "ended"), by=by)

    def _event(self, call_id: str, kind: str, d: Directive, **fields: Any) -> None:
        this = root_id("sim-edge", kind, d.directive_id)
        self._write(call_id, kind, this, by=self.edge, directive_id=d.directive_id, **fields)

    def _write(
        self, call_id: str, kind: str, this: str, by: Client | None = None, **fields: Any
    ) -> None:
        event = CallEvent.model_validate(
            {
                "event_id": this, "kind": kind, "occurred_at": START_MS + self.broker.now,
                "producer": "edge", "call_id": call_id, **fields,
            }
        )  # fmt: skip
        self._twice(by or self.lines, "calls.events", event)

    def _twice(self, client: Client, name: str, event: CallEvent | Transcript) -> None:
        """Delivery is at least once: now and then a record comes again."""
        client.send(name, event)
        if self.chance.random() < 0.05:
            client.send(name, event)

    # -- what came of it

    def turns(self) -> list[Turn]:
        """The turns that count: of two records with one id the first."""
        found: dict[str, Turn] = {}
        for p in PARTITIONS:
            for r in self.broker.partitions.get(("dialogue.turns", p), []):
                assert isinstance(r.event, Turn)
                found.setdefault(r.event.event_id, r.event)
        return list(found.values())

    def unanswered(self) -> list[str]:
        done = {t.input_event_id for t in self.turns()}
        return [f for f in self.finals if f not in done]

    def half_written(self) -> int:
        """Turns whose directives another epoch has written, all or the rest of them."""
        accepted = {d.directive_id: d for ds in self.accepted.values() for d in ds}
        return sum(
            any(i in accepted and accepted[i].epoch != t.epoch for i in t.directive_ids)
            for t in self.turns()
        )

    def said(self) -> dict[str, list[tuple[object, ...]]]:
        """What each robot did, in order, without ids and times. Without `stop` too: one that
        comes when the prompt's end lags on its own topic silences nothing."""
        return {
            call_id: [
                (d.kind, d.node, d.prompt_id, d.text, d.variant, d.target, d.reason)
                for d in directives
                if d.kind != "stop"
            ]
            for call_id, directives in self.accepted.items()
        }
