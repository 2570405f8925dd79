"""A stack with published playbooks, calls on it, and all that is written about them."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from ringlog.clock import now_ms
from ringlog.kafka.producer import EventProducer
from ringlog.kafka.reader import Received, TopicReader
from ringlog.settings import Settings
from schemas.events import CallEvent, DeadLetter, Directive, Lease, Transcript, Turn
from schemas.ids import call_once_id, root_id

WATCHED = ("dialogue.turns", "dialogue.directives", "dead_letters", "robots.leases")
PATIENCE_S = 60.0


@dataclass
class Site:
    """A stack with published playbooks, a producer, and all that was read from `WATCHED`."""

    config: Settings
    producer: EventProducer
    read: list[Received] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until(self, what: Callable[[], bool]) -> None:
        """Waits until something is on the log."""
        async with asyncio.timeout(PATIENCE_S), self.news:
            await self.news.wait_for(what)

    def turns(self, call_id: str) -> list[Turn]:
        found = [r.event for r in self.read if isinstance(r.event, Turn)]
        return [t for t in found if t.call_id == call_id]

    def directives(self, call_id: str) -> list[Directive]:
        found = [r.event for r in self.read if isinstance(r.event, Directive)]
        return [d for d in found if d.call_id == call_id]

    def dead(self) -> dict[str, DeadLetter]:
        found = [r.event for r in self.read if isinstance(r.event, DeadLetter)]
        return {d.event_id: d for d in found}

    def leases(self, kind: str) -> list[Lease]:
        found = [r.event for r in self.read if isinstance(r.event, Lease)]
        return [x for x in found if x.kind == kind]


@asynccontextmanager
async def open_site(config: Settings, name: str) -> AsyncIterator[Site]:
    """A site that reads on while it is used."""
    async with EventProducer(config, name) as producer:
        made = Site(config, producer)
        reader = TopicReader(config, producer, WATCHED)
        await reader.start()

        async def watch() -> None:
            async for batch in reader.batches():
                async with made.news:
                    made.read += batch
                    made.news.notify_all()

        task = asyncio.create_task(watch())
        await reader.caught_up.wait()
        try:
            yield made
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await reader.stop()


@dataclass
class Call:
    """One call, as edge and recogniser tell of it."""

    site: Site
    call_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    n: int = 0
    finals: int = 0

    async def event(self, kind: str, **fields: object) -> None:
        self.n += 1
        event = CallEvent.model_validate(
            {
                "event_id": root_id("it", self.call_id, kind, self.n), "kind": kind,
                "occurred_at": now_ms(), "producer": "edge", "call_id": self.call_id, **fields,
            }
        )  # fmt: skip
        await self.site.producer.send("calls.events", event)

    async def begin(self) -> Directive:
        """Dials and answers; returns the greeting."""
        await self.event(
            "dialing", robot_id="sales-1", playbook="promotion", profile="{}", pool="sales",
            campaign_id="spring", customer_id="c-1", task_id="t-1",
        )  # fmt: skip
        await self.event("answered", event_id=call_once_id(self.call_id, "answered"))
        await self.site.until(lambda: bool(self.site.directives(self.call_id)))
        return self.site.directives(self.call_id)[0]

    async def play(self, *directives: Directive) -> None:
        for d in directives:
            await self.event("playout_started", directive_id=d.directive_id)
            await self.event("playout_ended", directive_id=d.directive_id, heard_ms=900)

    def next_final_id(self) -> str:
        """The id that the next final will have."""
        return root_id("it-asr", self.call_id, self.finals)

    async def final(self, text: str) -> str:
        """Writes a final; returns its id."""
        this = self.next_final_id()
        self.finals += 1
        transcript = Transcript.model_validate(
            {
                "event_id": this, "kind": "final",
                "occurred_at": now_ms(), "producer": "asr", "call_id": self.call_id,
                "leg": "customer", "utterance_id": root_id("it-u", self.call_id, self.finals),
                "text": text, "start_ms": 0, "end_ms": 1, "mark": 8, "ssrc": 1, "model": "m",
                "decode_ms": 1.0,
            }
        )  # fmt: skip
        await self.site.producer.send("asr.transcripts", transcript)
        return transcript.event_id

    async def say(self, text: str) -> tuple[Turn, list[Directive]]:
        """The customer says something; returns the turn and its directives once all are there."""
        return await self.answer_to(await self.final(text))

    async def answer_to(self, final_id: str) -> tuple[Turn, list[Directive]]:
        site = self.site

        def there() -> bool:
            turn = self.turn_of(final_id)
            ids = {d.directive_id for d in site.directives(self.call_id)}
            return turn is not None and set(turn.directive_ids) <= ids

        await site.until(there)
        turn = self.turn_of(final_id)
        assert turn is not None
        directives = site.directives(self.call_id)
        return turn, [d for d in directives if d.directive_id in turn.directive_ids]

    def turn_of(self, input_id: str) -> Turn | None:
        turns = self.site.turns(self.call_id)
        return next((t for t in turns if t.input_event_id == input_id), None)
