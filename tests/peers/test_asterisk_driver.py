"""The driver against a real Asterisk and real SIP far ends."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from demo.asterisk.instance import Asterisk
from demo.sip import scripts
from demo.sip.carrier import SipCarrier
from ingest.asterisk import switch as switch_module
from ingest.asterisk.check import check_asterisk
from ingest.asterisk.switch import AsteriskSwitch
from ingest.trunks.driver import LineEvent, Order, Refused
from tests.peers.asterisk_world import (
    DriverEar,
    RobotEnd,
    driving,
    placed,
    plan_of,
    strongest_hz,
    tone,
)
from tests.peers.test_harness import ari, until

pytestmark = pytest.mark.needs("asterisk")


@pytest.fixture
def call_id(tmp_path: Path) -> str:
    """One of its own for each test."""
    return f"call-{tmp_path.name}"[:60]


@pytest.fixture
async def robot() -> AsyncIterator[RobotEnd]:
    made = await RobotEnd().open()
    yield made
    made.close()


@pytest.fixture
async def ear(asterisk: Asterisk) -> AsyncIterator[DriverEar]:
    """After the test nothing is left on the switch."""
    yield DriverEar()
    await until(lambda: ari(asterisk, "GET", "/channels") == [], 8.0)
    await until(lambda: ari(asterisk, "GET", "/bridges") == [], 8.0)


@pytest.fixture
async def switch(asterisk: Asterisk, ear: DriverEar) -> AsyncIterator[AsteriskSwitch]:
    async with driving(asterisk, ear) as made:
        yield made


async def test_both_sides_hear_each_other_from_the_first_word(
    switch: AsteriskSwitch, ear: DriverEar, robot: RobotEnd, call_id: str,
    carriers: dict[str, SipCarrier],
) -> None:  # fmt: skip
    carriers["carrier-a"].default = scripts.answer(say=tone(700, 1.0), after_s=0.0)
    await placed(switch, robot, call_id, "+8613800000001")
    far = await carriers["carrier-a"].next_call()
    await ear.wait(call_id, "answered")
    await robot.say(tone(440, 1.0))
    assert ear.kinds(call_id) == ["ringing", "answered"]
    assert strongest_hz(far.media.heard()) == pytest.approx(440, abs=5)
    voiced = robot.sound[abs(robot.sound) > 1_000]
    assert strongest_hz(robot.sound) == pytest.approx(700, abs=5)
    assert len(voiced) > 0.7 * 0.95 * 8_000  # nothing of its second is lost
    assert far.number == "8613800000001"
    assert far.invite is not None
    assert far.invite.get("x-ringlog-call-id") == call_id
    assert "4001234567" in far.invite.get("from")
    far.hang_up()
    over = await ear.wait(call_id, "ended")
    assert (over.cause_q850, over.cause_sip, over.disposition) == (16, None, "completed")


@pytest.mark.parametrize(
    ("status", "cause", "disposition"),
    [(486, 17, "busy"), (480, 19, "no_answer"), (404, 1, "failed"), (503, 34, "failed"),
     (603, 21, "failed"), (500, 38, "failed")],
)  # fmt: skip
async def test_a_refusal_has_its_causes(
    switch: AsteriskSwitch, ear: DriverEar, robot: RobotEnd, call_id: str,
    carriers: dict[str, SipCarrier], status: int, cause: int, disposition: str,
) -> None:  # fmt: skip
    carriers["carrier-a"].default = scripts.refuse(status)
    await placed(switch, robot, call_id, "13800000002")
    over = await ear.wait(call_id, "ended")
    assert (over.cause_q850, over.cause_sip, over.disposition) == (cause, status, disposition)


async def test_nobody_answers(
    switch: AsteriskSwitch, ear: DriverEar, robot: RobotEnd, call_id: str,
    carriers: dict[str, SipCarrier],
) -> None:  # fmt: skip
    """The SIP status that Asterisk makes up for a ring time-out is not the far end's."""
    carriers["carrier-a"].default = scripts.ring_for_ever()
    await placed(switch, robot, call_id, "13800000003", ring_ms=1_000)
    over = await ear.wait(call_id, "ended")
    assert (over.cause_q850, over.cause_sip, over.disposition) == (19, None, "no_answer")


async def test_an_announcement_before_the_answer_is_heard(
    switch: AsteriskSwitch, ear: DriverEar, robot: RobotEnd, call_id: str,
    carriers: dict[str, SipCarrier],
) -> None:  # fmt: skip
    carriers["carrier-a"].default = scripts.announce(tone(950, 1.0), then=480)
    await placed(switch, robot, call_id, "13800000004")
    over = await ear.wait(call_id, "ended")
    assert ear.kinds(call_id) == ["early_media", "ended"]
    assert strongest_hz(robot.sound) == pytest.approx(950, abs=5)
    assert over.cause_sip == 480


async def test_a_trunk_that_does_not_exist_is_refused(asterisk: Asterisk, robot: RobotEnd) -> None:
    ear = DriverEar()
    async with driving(asterisk, ear) as switch:
        order = Order("nowhere", "1", "x", "pcmu", robot.address, endpoint="PJSIP/1@no-such-trunk")
        with pytest.raises(Refused) as caught:
            await switch.dial(order)
        assert caught.value.cause_q850 == 38
        await until(lambda: ari(asterisk, "GET", "/bridges") == [])


async def test_keys_go_both_ways(
    switch: AsteriskSwitch, ear: DriverEar, robot: RobotEnd, call_id: str,
    carriers: dict[str, SipCarrier],
) -> None:  # fmt: skip
    carriers["carrier-a"].default = scripts.answer(keys="15#")
    await placed(switch, robot, call_id, "13800000005")
    far = await carriers["carrier-a"].next_call()
    await ear.wait(call_id, "answered")
    for digit in "42*":
        await switch.send_keys(call_id, digit)
    await until(lambda: "".join(key.digit for key in far.media.keys) == "42*")
    await until(lambda: ear.keys == ["1", "5", "#"])
    assert len({e.source for _, e in ear.told if e.kind == "dtmf"}) == 3
    await switch.hang_up(call_id)
    await asyncio.wait_for(far.ended.wait(), 5)
    over = await ear.wait(call_id, "ended")
    assert (over.cause_q850, over.cause_sip) == (16, None)


async def test_a_transfer_is_a_second_leg_in_the_same_bridge(
    switch: AsteriskSwitch, ear: DriverEar, robot: RobotEnd, call_id: str,
    carriers: dict[str, SipCarrier],
) -> None:  # fmt: skip
    carriers["carrier-a"].default = scripts.echo()
    carriers["carrier-b"].default = scripts.answer(say=tone(600, 1.0))
    await placed(switch, robot, call_id, "13800000006")
    customer = await carriers["carrier-a"].next_call()
    await ear.wait(call_id, "answered")
    assert await switch.transfer(call_id, "2001")
    agent = await carriers["carrier-b"].next_call()
    await agent.answered.wait()
    await asyncio.sleep(1.5)
    assert agent.number == "2001"
    heard = customer.media.heard((agent.answered_s or 0) + 0.5)
    assert strongest_hz(heard) == pytest.approx(600, abs=5)
    agent.hang_up()
    await asyncio.wait_for(customer.ended.wait(), 5)
    assert (await ear.wait(call_id, "ended")).disposition == "completed"


async def test_a_transfer_that_is_refused_leaves_the_call(
    switch: AsteriskSwitch, ear: DriverEar, robot: RobotEnd, call_id: str,
    carriers: dict[str, SipCarrier],
) -> None:  # fmt: skip
    carriers["carrier-b"].default = scripts.refuse(486)
    await placed(switch, robot, call_id, "13800000007")
    customer = await carriers["carrier-a"].next_call()
    await ear.wait(call_id, "answered")
    assert not await switch.transfer(call_id, "2001")
    await robot.say(tone(440, 0.6))
    assert strongest_hz(customer.media.heard()) == pytest.approx(440, abs=5)
    customer.hang_up("Q.850;cause=27")
    assert (await ear.wait(call_id, "ended")).cause_q850 == 27


async def test_a_lost_media_leg_is_replaced(
    asterisk: Asterisk, switch: AsteriskSwitch, ear: DriverEar, robot: RobotEnd, call_id: str,
    carriers: dict[str, SipCarrier],
) -> None:  # fmt: skip
    ear.taker = robot
    await placed(switch, robot, call_id, "13800000008")
    far = await carriers["carrier-a"].next_call()
    await ear.wait(call_id, "answered")
    ari(asterisk, "DELETE", f"/channels/ringlog-edge~{call_id}~1-media1")
    await until(lambda: ear.moved != [])
    await asyncio.sleep(0.1)
    await robot.say(tone(440, 0.6))
    assert strongest_hz(far.media.heard()) == pytest.approx(440, abs=5)
    await switch.hang_up(call_id)
    await ear.wait(call_id, "ended")


async def test_a_call_that_comes_in_is_answered_and_its_end_is_told(
    asterisk: Asterisk, switch: AsteriskSwitch, ear: DriverEar, robot: RobotEnd,
    carriers: dict[str, SipCarrier],
) -> None:  # fmt: skip
    ear.taker = robot
    await until(lambda: switch.connected)
    here = (asterisk.host, asterisk.sip_port)
    far = await carriers["carrier-b"].dial(here, "4008001234", caller="13912345678")
    await asyncio.wait_for(far.answered.wait(), 5)
    (came,) = ear.came
    assert (came.called, came.caller) == ("4008001234", "13912345678")
    await robot.say(tone(440, 0.6))
    assert strongest_hz(far.media.heard()) == pytest.approx(440, abs=5)
    far.hang_up()
    over = await ear.wait(came.call_id, "ended")
    assert over.disposition == "completed"


async def test_a_number_that_nobody_answers_is_refused(
    asterisk: Asterisk, switch: AsteriskSwitch, ear: DriverEar, carriers: dict[str, SipCarrier]
) -> None:
    await until(lambda: switch.connected)
    far = await carriers["carrier-b"].dial((asterisk.host, asterisk.sip_port), "4008001234")
    await asyncio.wait_for(far.ended.wait(), 5)
    assert far.answered_s is None
    assert len(ear.came) == 1


async def test_a_restarted_edge_takes_its_calls_up_and_ends_orphans(
    asterisk: Asterisk, ear: DriverEar, robot: RobotEnd, call_id: str,
    carriers: dict[str, SipCarrier], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(switch_module, "SWEEP_S", 0.5)
    orphan_robot = await RobotEnd().open()
    async with driving(asterisk, ear) as first:
        await placed(first, robot, call_id, "13800000009")
        await placed(first, orphan_robot, "orphan", "13800000010")
        kept = await carriers["carrier-a"].next_call()
        orphan = await carriers["carrier-a"].next_call()
        await ear.wait(call_id, "answered")
        await ear.wait("orphan", "answered")
    if kept.number != "13800000009":
        kept, orphan = orphan, kept
    ear.running = {call_id: "carrier-a"}
    async with driving(asterisk, ear) as second:
        assert await second.adopt(call_id, robot.address, answered=True)
        await asyncio.wait_for(orphan.ended.wait(), 15)
        assert kept.ending is None
        await robot.say(tone(440, 0.6))
        assert strongest_hz(kept.media.heard(kept.answered_s or 0)) == pytest.approx(440, abs=5)
        kept.hang_up()
        assert (await ear.wait(call_id, "ended")).disposition == "completed"
    orphan_robot.close()


async def test_asterisk_is_killed_and_comes_back(
    asterisk: Asterisk, switch: AsteriskSwitch, ear: DriverEar, robot: RobotEnd, call_id: str,
    carriers: dict[str, SipCarrier],
) -> None:  # fmt: skip
    await placed(switch, robot, call_id, "13800000011")
    await ear.wait(call_id, "answered")
    asterisk.kill()
    asterisk.start()
    over: LineEvent = await ear.wait(call_id, "ended", 20)
    assert (over.cause_q850, over.disposition) == (31, "completed")
    await until(lambda: switch.connected, 20)
    again = await RobotEnd().open()
    await placed(switch, again, f"{call_id}-2", "13800000012")
    await ear.wait(f"{call_id}-2", "answered")
    await switch.hang_up(f"{call_id}-2")
    await ear.wait(f"{call_id}-2", "ended")
    again.close()


async def test_the_newest_controller_of_an_application_fences_the_older(
    asterisk: Asterisk, switch: AsteriskSwitch, ear: DriverEar, robot: RobotEnd
) -> None:
    await until(lambda: switch.connected)
    async with driving(asterisk, DriverEar()) as newer:
        await until(lambda: switch.fenced and newer.connected)
        with pytest.raises(Refused):
            await placed(switch, robot, "fenced", "1")


async def test_a_check_finds_nothing_wrong_and_calls_nobody(
    asterisk: Asterisk, carriers: dict[str, SipCarrier]
) -> None:
    found = [f async for f in check_asterisk(plan_of(asterisk), "127.0.0.1", ["carrier-a"])]
    assert [f for f in found if not f.ok] == []
    assert [f.what for f in found][-2:] == ["events", "sound there and back"]
    assert carriers["carrier-a"].calls == []
    assert ari(asterisk, "GET", "/channels") == []


async def test_a_check_says_what_is_wrong(asterisk: Asterisk) -> None:
    wrong = replace(plan_of(asterisk), password=SecretStr("guess"))
    (finding,) = [f async for f in check_asterisk(wrong, "127.0.0.1")]
    assert (finding.what, finding.ok) == ("log-in", False)
    found = [f async for f in check_asterisk(plan_of(asterisk), "127.0.0.1", ["nowhere"])]
    (finding,) = [f for f in found if not f.ok]
    assert finding.what == "endpoint nowhere" and "pjsip.conf" in finding.mend
