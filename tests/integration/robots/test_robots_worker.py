"""Robot workers on a real broker: calls in, turns and directives out, through restarts."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from ringlog.audio import wav
from ringlog.audio.prompts import prompt_path
from ringlog.clock import now_ms
from ringlog.kafka.producer import EventProducer
from ringlog.kafka.reader import Received, TopicReader
from ringlog.lifecycle import Lifecycle
from ringlog.settings import Settings
from schemas.events import CallEvent, DeadLetter, Directive, Lease, Transcript, Turn
from schemas.ids import call_once_id, dead_letter_id, event_id, root_id
from schemas.partition import partition_of
from streams.robots.publish import apply_robots, playbook_files, publish_playbooks
from streams.robots.worker import Worker

pytestmark = pytest.mark.stack

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


@dataclass
class Call:
    """One call, as edge and recogniser tell of it."""

    site: Site
    call_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    n: int = 0

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

    async def final(self, text: str) -> str:
        """Writes a final; returns its id."""
        self.n += 1
        transcript = Transcript.model_validate(
            {
                "event_id": root_id("it-asr", self.call_id, self.n), "kind": "final",
                "occurred_at": now_ms(), "producer": "asr", "call_id": self.call_id,
                "leg": "customer", "utterance_id": root_id("it-u", self.call_id, self.n),
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


@pytest.fixture(scope="module")
def published(stack: Settings) -> Settings:
    apply_robots(stack)
    publish_playbooks(stack, playbook_files())
    return stack


@pytest.fixture
async def site(published: Settings) -> AsyncIterator[Site]:
    async with EventProducer(published, "test-robots") as producer:
        made = Site(published, producer)
        reader = TopicReader(published, producer, WATCHED)
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


Stop = Callable[[], Awaitable[None]]


@asynccontextmanager
async def worker(config: Settings, service: str = "robots-a") -> AsyncIterator[Lifecycle]:
    """A worker beside the test, without signals and metrics port."""
    life = Lifecycle(service, config)
    task = asyncio.create_task(Worker(life).run())
    try:
        yield life
    finally:
        life.stopping.set()
        await asyncio.wait_for(task, PATIENCE_S)
        await life.close()


async def ready(life: Lifecycle) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not life.health.ready:
            assert not life.stopping.is_set(), "the worker has failed"
            await asyncio.sleep(0.02)


async def test_a_call_from_greeting_to_registration(site: Site) -> None:
    async with worker(site.config) as life:
        await ready(life)
        call = Call(site)
        greeting = await call.begin()
        assert greeting.text == "您好，请问您现在方便接电话吗"
        _, rate_hz = wav.read(prompt_path(site.config, greeting.prompt_sha256 or ""))
        assert rate_hz == 8000
        await call.play(greeting)
        turn, offer = await call.say("方便你说")
        assert (turn.intent, turn.node, turn.heard_ms) == ("affirm", "offer", 900)
        await call.play(*offer)
        turn, details = await call.say("一个月多少钱")
        assert turn.node == "details"
        await call.play(*details)
        turn, end = await call.say("好的")
        assert [d.kind for d in end] == ["say", "message", "hangup"]
        assert turn.outcome == end[-1].reason == "interested"
        empty, nothing = await call.say("")
        assert (empty.intent, nothing) == ("", [])
        finals = [t for t in site.turns(call.call_id) if t.input_kind == "final"]
        assert len(finals) == 4
        assert all(t.event_id == event_id(t.input_event_id, "turn") for t in finals)


async def test_barrier_lies_before_the_first_directive_of_an_epoch(site: Site) -> None:
    async with worker(site.config) as life:
        await ready(life)
        await Call(site).begin()
    epochs: dict[int, list[tuple[str, int]]] = {}
    for r in site.read:
        if isinstance(r.event, Directive):
            epochs.setdefault(r.partition, []).append((r.event.kind, r.event.epoch or 0))
    newest = max(e for seen in epochs.values() for _, e in seen)
    for partition in range(8):
        kinds = [kind for kind, epoch in epochs[partition] if epoch == newest]
        assert kinds[0] == "takeover"
        assert kinds.count("takeover") == 1
    claims = {r.offset for r in site.read if isinstance(r.event, Lease) and r.event.kind == "claim"}
    assert newest in claims


async def test_a_restart_in_the_middle_of_a_call_keeps_the_node(site: Site) -> None:
    call = Call(site)
    async with worker(site.config) as life:
        await ready(life)
        await call.play(await call.begin())
        _, offer = await call.say("可以")
        await call.play(*offer)
    assert site.leases("release")
    pending = await call.final("太贵了")  # nobody is there
    async with worker(site.config):
        turn, directives = await call.answer_to(pending)
        assert (turn.node, turn.intent) == ("promotion", "price_too_high")
        assert directives[0].epoch == turn.epoch
        assert (turn.epoch or 0) > (offer[0].epoch or 0)
        assert directives[0].seq > offer[0].seq
    assert len([t for t in site.turns(call.call_id) if t.input_kind == "answered"]) == 1


async def test_a_second_worker_follows_and_takes_over(site: Site) -> None:
    call = Call(site)
    async with worker(site.config, "robots-b") as follower:
        async with worker(site.config, "robots-a") as other:
            await ready(follower)
            await ready(other)
            await call.play(await call.begin())
            _, offer = await call.say("可以")
            assert len(site.directives(call.call_id)) == 2
            await call.play(*offer)
            speakers = {d.producer for d in site.directives(call.call_id)}
            assert len(speakers) == 1
        final = await call.final("不需要")
        turn, end = await call.answer_to(final)
        assert turn.outcome == "opted_out"
        assert [d.kind for d in end] == ["say", "hangup"]
        assert turn.producer == "robots-b"
    turns = [t.event_id for t in site.turns(call.call_id)]
    assert len(turns) == len(set(turns))


async def test_silence_is_noticed_by_the_clock(site: Site) -> None:
    async with worker(site.config) as life:
        await ready(life)
        call = Call(site)
        await call.play(await call.begin())
        await site.until(lambda: len(site.turns(call.call_id)) == 2)
        silence = site.turns(call.call_id)[1]
        assert (silence.input_kind, silence.outcome) == ("silence", "reprompt")
        await call.event("ended", event_id=call_once_id(call.call_id, "ended"))


async def test_poison_goes_to_dead_letters_and_the_worker_goes_on(site: Site) -> None:
    call = Call(site)
    async with worker(site.config) as life:
        await ready(life)
        raw = site.producer._producer
        assert raw is not None
        partition = partition_of(call.call_id, 8)
        wrong = (partition + 1) % 8
        bad = await raw.send_and_wait("asr.transcripts", b"\x00\x00nonsense", partition=partition)
        lost = CallEvent(
            event_id=root_id("lost", call.call_id),
            kind="ringing",
            occurred_at=now_ms(),
            producer="test",
            call_id=call.call_id,
        )
        _, offset = await site.producer.send("calls.events", lost, wrong)
        ids = {
            dead_letter_id("asr.transcripts", partition, bad.offset),
            dead_letter_id("calls.events", wrong, offset),
        }
        await site.until(lambda: ids <= set(site.dead()))
        await call.play(await call.begin())
        turn, _ = await call.say("我在开会")
        assert turn.outcome == "callback"


async def test_publishing_twice_writes_nothing(published: Settings) -> None:
    assert await asyncio.to_thread(apply_robots, published) == []
    assert await asyncio.to_thread(publish_playbooks, published, playbook_files()) == []
