"""The edge as a process, on a real broker, with a real Asterisk as its switch."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from demo.asterisk.instance import Asterisk
from demo.sip import scripts
from demo.sip.carrier import SipCarrier
from ringlog.settings import Settings
from schemas.events import CallEvent
from tests.integration.ingest.edge_world import World
from tests.peers.asterisk_world import strongest_hz, tone
from tests.peers.test_harness import ari, until

pytestmark = [pytest.mark.needs("asterisk"), pytest.mark.stack, pytest.mark.timeout(300)]

NUMBER = "+864008001234"
TRUNKS = f"""
switches:
  asterisk: {{type: asterisk, url: URL}}
trunks:
  asterisk:
    switch: asterisk
    inbound:
      "{NUMBER}": {{playbook: loan, pool: sales, campaign_id: hotline}}
"""


@asynccontextmanager
async def running(
    stack: Settings, asterisk: Asterisk, folder: Path, patch: pytest.MonkeyPatch, media: str
) -> AsyncIterator[World]:
    """An edge whose switch is Asterisk; nothing is left there afterwards."""
    trunks = folder / "trunks.yaml"
    trunks.write_text(TRUNKS.replace("URL", f'"{asterisk.base_url}"'), encoding="utf-8")
    for name, value in {
        "URL": asterisk.base_url, "USER": asterisk.ari_user, "PASSWORD": asterisk.password,
        "ENDPOINT": "PJSIP/{digits}@carrier-a", "TRANSFER": "PJSIP/{target}@carrier-b",
        "MEDIA": media,
    }.items():  # fmt: skip
        patch.setenv(f"RINGLOG_ARI_{name}", value)
    patch.setenv("RINGLOG_TRUNKS_FILE", str(trunks))
    async with World(stack, folder) as made:
        yield made
        await until(lambda: ari(asterisk, "GET", "/channels") == [], 10.0)


def answered(world: World, call: str) -> bool:
    """Whether the log knows of the answer."""
    return "answered" in world.log.kinds(call)


def incoming(world: World) -> set[str]:
    """Ids of the calls that came in."""
    found = world.log.events["calls.events"]
    return {
        event.call_id
        for event in found
        if isinstance(event, CallEvent) and event.direction == "inbound" and event.call_id
    }


@pytest.mark.parametrize("media", ["rtp", "audiosocket", "websocket-in"])
async def test_a_call_from_assignment_to_its_end(
    stack: Settings, asterisk: Asterisk, carriers: dict[str, SipCarrier], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, media: str,
) -> None:  # fmt: skip
    """Its records, the robot heard by the customer, keys both ways, a transfer."""
    carriers["carrier-a"].default = scripts.answer(say=tone(700, 1.0), after_s=0.0, keys="7")
    carriers["carrier-b"].default = scripts.answer(say=tone(900, 1.0))
    async with running(stack, asterisk, tmp_path, monkeypatch, media) as world:
        log = world.log
        call = await log.assign()
        far = await carriers["carrier-a"].next_call(20)
        await log.until(lambda: "answered" in log.kinds(call), "the answer")
        assert log.call(call)[0].trunk == "asterisk"
        await log.until(lambda: "7" in [e.digits for e in log.call(call)], "the key")
        await log.direct(call, "say", prompt_sha256=world.prompt(600))
        await log.direct(call, "dtmf", digits="42")
        await log.until(lambda: "playout_ended" in log.kinds(call), "the prompt")
        await log.until(lambda: "".join(key.digit for key in far.media.keys) == "42", "the keys")
        heard = far.media.heard(far.media.voiced()[0])[: 600 * 8]
        assert strongest_hz(heard) == pytest.approx(300, abs=5)
        said = b"".join(c.payload for c in log.chunks(call, "customer") if c.kind == "chunk")
        assert len(said) > 0.9 * 8_000
        await log.direct(call, "transfer", target="2001")
        agent = await carriers["carrier-b"].next_call()
        await log.until(lambda: "transferred" in log.kinds(call), "the transfer")
        agent.hang_up()
        await log.until(lambda: "ended" in log.kinds(call), "the end")
        await asyncio.wait_for(far.ended.wait(), 5)


async def test_a_call_that_comes_in_finds_its_playbook(
    stack: Settings, asterisk: Asterisk, carriers: dict[str, SipCarrier], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    async with running(stack, asterisk, tmp_path, monkeypatch, "rtp") as world:
        log, here = world.log, (asterisk.host, asterisk.sip_port)
        before = incoming(world)  # other tests' calls are on the log
        far = await carriers["carrier-b"].dial(here, NUMBER, caller="+8613912345678")
        await asyncio.wait_for(far.answered.wait(), 10)
        far.media.play(tone(700, 1.0))
        (call,) = await log.until(lambda: incoming(world) - before, "the call's first record")
        first = log.call(call)[0]
        assert (first.kind, first.playbook, first.campaign_id, first.pool) == (
            "answered", "loan", "hotline", "sales",
        )  # fmt: skip
        assert first.customer_id is not None and first.phone == "+8613912345678"
        assert "13912345678" not in first.customer_id
        await log.until(lambda: log.chunks(call, "customer"), "the caller's sound")
        await log.direct(call, "say", prompt_sha256=world.prompt(400))
        await log.until(lambda: "playout_ended" in log.kinds(call), "the prompt")
        await log.direct(call, "hangup", reason="completed")
        await asyncio.wait_for(far.ended.wait(), 5)
        await log.until(lambda: "ended" in log.kinds(call), "the end")
        stranger = await carriers["carrier-b"].dial(here, "+864009999999")
        await asyncio.wait_for(stranger.ended.wait(), 5)
        assert stranger.answered_s is None
        assert "13912345678" not in world.edge.log.read_text()


async def test_the_edge_is_killed_amid_calls_and_takes_them_up(
    stack: Settings, asterisk: Asterisk, carriers: dict[str, SipCarrier], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """One goes on talking, one hung up while nobody served."""
    carriers["carrier-a"].default = scripts.answer(say=tone(700, 60.0))
    async with running(stack, asterisk, tmp_path, monkeypatch, "rtp") as world:
        log = world.log
        stays, leaves = await log.assign(), await log.assign(phone="+8613800000077")
        await log.until(lambda: log.chunks(stays, "customer"), "the customer's sound")
        await log.until(lambda: log.chunks(leaves, "customer"), "the customer's sound")
        for call in (stays, leaves):
            await log.until(partial(answered, world, call), "the answer")
        far = {c.number[-2:]: c for c in carriers["carrier-a"].calls}
        await world.edge.end(signal.SIGKILL)
        far["77"].hang_up()
        await world.edge.start()
        await log.until(lambda: "ended" in log.kinds(leaves), "the end of who left")
        before = len(log.chunks(stays, "customer"))
        await log.until(lambda: len(log.chunks(stays, "customer")) > before + 10, "more sound")
        assert "ended" not in log.kinds(stays)
        await log.direct(stays, "hangup", reason="completed")
        await log.until(lambda: "ended" in log.kinds(stays), "the end of who stayed")
        for one in far.values():
            await asyncio.wait_for(one.ended.wait(), 5)
