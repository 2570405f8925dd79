"""A real SIP telephone calls us through a real Asterisk."""

import asyncio
import socket
from pathlib import Path

import pytest

from demo.asterisk.instance import Asterisk, free_port
from tests.peers.asterisk_world import DriverEar, RobotEnd, driving, strongest_hz, tone
from tests.peers.baresip import BARESIP_HOST, Baresip
from tests.peers.test_harness import ari, until

pytestmark = pytest.mark.needs("asterisk", "baresip")


async def test_a_telephone_calls_and_both_sides_hear_each_other(
    asterisk: Asterisk, tmp_path: Path
) -> None:
    ear, robot = DriverEar(), await RobotEnd().open()
    ear.taker = robot
    uri = f"sip:4008001234@{asterisk.host}:{asterisk.sip_port}"
    async with driving(asterisk, ear) as switch:
        await until(lambda: switch.connected, 30)
        port = free_port(BARESIP_HOST, socket.SOCK_DGRAM)
        phone = Baresip(tmp_path, port, "13912345678", uri, tone(700, 6.0), lasts_s=8)
        try:
            await until(lambda: ear.came, 30)
            (came,) = ear.came
            assert (came.called, came.caller) == ("4008001234", "13912345678")
            await robot.say(tone(440, 1.5))
            await asyncio.to_thread(phone.wait, 30)
            over = await ear.wait(came.call_id, "ended", 30)
        finally:
            phone.stop()
            robot.close()
        assert over.disposition == "completed"
        await until(lambda: ari(asterisk, "GET", "/channels") == [], 30)
    assert strongest_hz(robot.sound) == pytest.approx(700, abs=5)
    assert strongest_hz(phone.heard()) == pytest.approx(440, abs=5)
