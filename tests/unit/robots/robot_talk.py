"""A call played to the dialogue: inputs in, turns and directives out, folded as read back."""

from copy import copy
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from ringlog.kafka.reader import Received
from ringlog.settings import root
from schemas.catalogue import topic
from schemas.envelope import Event
from schemas.events import CallEvent, Directive, RobotStatus, Transcript, Turn
from schemas.events import Playbook as PublishedPlaybook
from schemas.ids import call_once_id, root_id
from schemas.partition import partition_of
from streams.robots.library import Library
from streams.robots.loading import Script, load_file
from streams.robots.shard import Shard, Work
from streams.robots.wording import VariantCounts

PROMOTION = root() / "playbooks" / "promotion.yaml"
START_MS = 1_750_000_000_000


@lru_cache(maxsize=1)
def script_of(path: Path = PROMOTION) -> Script:
    return load_file(path)


def published(script: Script) -> PublishedPlaybook:
    return PublishedPlaybook(
        event_id=root_id("playbook", script.name, script.sha256),
        kind="published",
        occurred_at=START_MS,
        producer="test",
        playbook=script.name,
        version=script.version,
        sha256=script.sha256,
        body=script.text,
    )


@lru_cache(maxsize=1)
def _promotion() -> Library:
    library = Library()
    library.evolve(published(script_of()))
    return library


def library_of() -> Library:
    """A library with the promotion playbook and one robot that runs it."""
    library = copy(_promotion())
    library.robots, library.counts = {}, VariantCounts()
    library.evolve(
        RobotStatus(
            event_id=root_id("robot", "r1"),
            occurred_at=START_MS,
            producer="test",
            robot_id="r1",
            pool="sales",
            voice="cmn-latn-pinyin+f3",
            playbooks=["promotion"],
        )
    )
    return library


@dataclass
class Log:
    """Every record written, and a shard that reads it. Time is what the test says."""

    call_id: str = "call-1"
    library: Library = field(default_factory=library_of)
    now: int = START_MS
    epoch: int = 7
    records: list[Received] = field(default_factory=list)
    shard: Shard = field(init=False)
    _offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    _n: int = 0

    def __post_init__(self) -> None:
        self.shard = Shard(self.library, "robots-a")

    def append(self, topic_name: str, event: Event) -> Received:
        """Writes a record; nobody has read it yet."""
        partition = partition_of(event.call_id or "", topic(topic_name).partitions)
        offset = self._offsets.get((topic_name, partition), 0)
        self._offsets[topic_name, partition] = offset + 1
        received = Received(topic_name, partition, offset, self.now, event)
        self.records.append(received)
        return received

    def write(self, topic_name: str, event: Event) -> None:
        """Writes a record, and the shard reads it."""
        self.shard.fold(self.append(topic_name, event), self.now)

    def speak(self) -> list[Directive]:
        """Decides and writes until nothing waits; returns the new directives."""
        said: list[Directive] = []
        while (work := self.work()) is not None:
            if work.turn is not None:
                self.write("dialogue.turns", work.turn)
            for directive in work.directives:
                self.write("dialogue.directives", directive)
                said.append(directive)
        return said

    def work(self) -> Work | None:
        return self.shard.next_work(self.call_id, self.now, self.epoch)

    # -- what happens in the world

    def event(self, kind: str, **fields: object) -> CallEvent:
        self._n += 1
        return CallEvent.model_validate(
            {
                "event_id": root_id("test", self.call_id, kind, self._n),
                "kind": kind,
                "occurred_at": self.now,
                "producer": "edge",
                "call_id": self.call_id,
                **fields,
            }
        )

    def dial(self, profile: str = "{}", **fields: object) -> None:
        envelope = {
            "task_id": "task-1", "customer_id": "cust-1", "campaign_id": "camp-1",
            "pool": "sales", "robot_id": "r1", "playbook": "promotion", "profile": profile,
        } | fields  # fmt: skip
        self.write("calls.events", self.event("dialing", **envelope))

    def answer(self) -> list[Directive]:
        event_id = call_once_id(self.call_id, "answered")
        self.write("calls.events", self.event("answered", event_id=event_id))
        return self.speak()

    def play(self, directives: list[Directive], heard_ms: int = 2_000) -> None:
        """The edge plays prompts to their end."""
        for d in directives:
            if d.kind == "say":
                self.start(d)
                self.now += heard_ms
                self.end(d, heard_ms)

    def start(self, d: Directive) -> None:
        self.write("calls.events", self.event("playout_started", directive_id=d.directive_id))

    def end(self, d: Directive, heard_ms: int) -> None:
        fields = {"directive_id": d.directive_id, "heard_ms": heard_ms}
        self.write("calls.events", self.event("playout_ended", **fields))

    def transcript(self, text: str, kind: str = "final") -> Transcript:
        self._n += 1
        return Transcript.model_validate(
            {
                "event_id": root_id("asr", self.call_id, self._n), "kind": kind,
                "occurred_at": self.now, "producer": "asr", "call_id": self.call_id,
                "leg": "customer", "utterance_id": root_id("utterance", self._n), "text": text,
                "start_ms": 0, "end_ms": 1, "mark": 8, "ssrc": 1, "model": "m", "decode_ms": 1.0,
            }
        )  # fmt: skip

    def say(self, text: str) -> list[Directive]:
        """The customer says something and the robot answers."""
        self.now += 1_000
        self.write("asr.transcripts", self.transcript(text))
        return self.speak()

    def wait(self, ms: int) -> list[Directive]:
        self.now += ms
        return self.speak() if self.call_id in self.shard.with_work(self.now) else []

    def talk(self, *texts: str, profile: str = "{}") -> list[Directive]:
        """Dials, answers, and says one thing after the other; returns the last answer."""
        self.dial(profile)
        said = self.answer()
        for text in texts:
            self.play(said)
            said = self.say(text)
        return said

    # -- what is on the log

    @property
    def turns(self) -> list[Turn]:
        return [r.event for r in self.records if isinstance(r.event, Turn)]

    @property
    def directives(self) -> list[Directive]:
        return [r.event for r in self.records if isinstance(r.event, Directive)]

    @property
    def node(self) -> str:
        return self.shard.calls[self.call_id].state.node


def kinds(directives: list[Directive]) -> list[str]:
    return [d.kind for d in directives]


def texts(directives: list[Directive]) -> list[str]:
    return [d.text or "" for d in directives if d.kind == "say"]
