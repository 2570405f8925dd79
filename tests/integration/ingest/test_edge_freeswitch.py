"""The edge as a process, on a real broker, with a FreeSWITCH of our own as its switch."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ringlog.settings import Settings
from tests.integration.ingest.edge_world import World
from tests.integration.ingest.freeswitch_world import PASSWORD, FakeFreeSwitch

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


@pytest.fixture
async def far() -> AsyncIterator[FakeFreeSwitch]:
    made = FakeFreeSwitch()
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def world(
    stack: Settings, far: FakeFreeSwitch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    monkeypatch.setenv("RINGLOG_FREESWITCH", f"127.0.0.1:{far.port}")
    monkeypatch.setenv("RINGLOG_FREESWITCH_PASSWORD", PASSWORD)
    async with World(stack, tmp_path) as made:
        yield made


async def test_a_call_from_assignment_to_its_end(world: World, far: FakeFreeSwitch) -> None:
    log = world.log
    call = await log.assign()
    await log.until(lambda: "answered" in log.kinds(call), "the answer")
    assert log.kinds(call)[0] == "dialing" and "ringing" in log.kinds(call)
    assert log.call(call)[0].trunk == "freeswitch"
    channel = far.call_of(call)
    await log.until(lambda: log.chunks(call, "customer"), "customer's sound")
    await log.direct(call, "say", prompt_sha256=world.prompt(400))
    await log.until(lambda: "playout_ended" in log.kinds(call), "the prompt")
    assert any(channel.heard), "the robot is heard"

    def said() -> int:
        return sum(len(c.payload) for c in log.chunks(call, "robot") if c.kind == "chunk")

    await log.until(lambda: said() == 400 * 8, "the robot's sound on the log")
    far.press(channel, "7")
    await log.until(lambda: "7" in [e.digits for e in log.call(call)], "the key")
    await log.direct(call, "hangup", reason="completed")
    await log.until(lambda: "ended" in log.kinds(call), "the end")
    assert log.call(call)[-1].disposition == "completed"
    await log.until(lambda: channel.uuid in far.ended, "the channel's end")
    assert channel.cause == "NORMAL_CLEARING"


@pytest.mark.heavy
async def test_a_killed_edges_call_is_taken_up(world: World, far: FakeFreeSwitch) -> None:
    log = world.log
    call = await log.assign()
    await log.until(lambda: log.chunks(call, "customer"), "customer's sound")
    await world.edge.end(signal.SIGKILL)
    channel = far.call_of(call)
    await world.edge.start()
    await log.until(lambda: len(channel.streams) == 2, "a stream anew")
    heard = len(log.chunks(call, "customer"))
    await log.until(lambda: len(log.chunks(call, "customer")) > heard + 3, "sound goes on")
    far.hang_up(channel, "NORMAL_CLEARING", "16", "sip:200")
    await log.until(lambda: "ended" in log.kinds(call), "the end")
    assert log.call(call)[-1].disposition == "abandoned"
    assert log.kinds(call).count("dialing") == 1


@pytest.mark.heavy
async def test_a_busy_line_has_its_causes(world: World, far: FakeFreeSwitch) -> None:
    call = await world.log.assign(phone="+8613800000486")
    await world.log.until(lambda: "ended" in world.log.kinds(call), "the end")
    over = world.log.call(call)[-1]
    assert (over.disposition, over.cause_q850, over.cause_sip) == ("busy", 17, 486)
    assert far.channels == {}
