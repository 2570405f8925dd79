"""Robot workers on a real broker: calls in, turns and directives out, through restarts."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ringlog.audio import wav
from ringlog.audio.prompts import prompt_path
from ringlog.clock import now_ms
from ringlog.kafka.codec import codec_of
from ringlog.kafka.sync import read
from ringlog.lifecycle import Lifecycle
from ringlog.settings import Settings
from schemas.envelope import Event
from schemas.events import CallEvent, Directive, Lease, PromptList, PromptSound, RobotStatus
from schemas.ids import call_once_id, dead_letter_id, event_id, root_id
from schemas.partition import partition_of
from streams.robots.loading import load_file
from streams.robots.publish import apply_robots, playbook_files, publish_playbooks
from streams.robots.worker import Worker
from tests.integration.robots.scene import PATIENCE_S, Call, Site

pytestmark = pytest.mark.stack


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
        assert turn.outcome == "rejected"
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


async def test_every_prompt_is_on_the_log_before_its_playbook(published: Settings) -> None:
    codec = codec_of(published)

    def read_all(topic: str) -> list[tuple[int, Event]]:
        return [
            (record.offset, codec.decode(topic, record.value)) for record in read(published, topic)
        ]

    ours = {load_file(file).name for file in playbook_files()}
    lists = {
        (e.playbook, e.voice): e
        for _, e in await asyncio.to_thread(read_all, "prompts")
        if isinstance(e, PromptList) and e.playbook in ours
    }
    sounds = dict(await asyncio.to_thread(read_all, "prompts.audio"))
    robots = [e for _, e in await asyncio.to_thread(read_all, "robots.status")]
    active = [e for e in robots if isinstance(e, RobotStatus)]
    voices = {(p, e.voice) for e in active for p in e.playbooks if p in ours}
    assert voices | {(p, "") for p, _ in voices} == set(lists)
    for one in lists.values():
        for ref in one.prompts:
            parts = [sounds[at] for at in ref.offsets]
            content = b"".join(e.payload for e in parts if isinstance(e, PromptSound))
            assert content == prompt_path(published, ref.name).read_bytes()
            assert hashlib.sha256(content).hexdigest() == ref.sha256
    assert await asyncio.to_thread(publish_playbooks, published, playbook_files()) == []
    assert len(await asyncio.to_thread(read_all, "prompts.audio")) == len(sounds)


async def test_publishing_twice_writes_nothing(published: Settings) -> None:
    assert await asyncio.to_thread(apply_robots, published) == []
    assert await asyncio.to_thread(publish_playbooks, published, playbook_files()) == []
