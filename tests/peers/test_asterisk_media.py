"""Sound by AudioSocket and by chan_websocket, against a real Asterisk."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from demo.asterisk.instance import Asterisk, free_port
from demo.sip import scripts
from demo.sip.call import SipCall
from demo.sip.carrier import SipCarrier
from ingest.asterisk.media import MediaKind
from ingest.asterisk.switch import AsteriskSwitch
from ingest.trunks.driver import Order
from ingest.ws.dialects.asterisk_media import AsteriskMediaDialect
from ingest.ws.doors.asterisk import AsteriskDoor
from ingest.ws.line import WsLine
from ingest.ws.server import MediaServer
from ingest.ws.transport import WsTransport
from tests.peers.asterisk_world import DriverEar, SocketEnd, plan_of, strongest_hz, tone
from tests.peers.test_harness import ari, until

pytestmark = pytest.mark.needs("asterisk")

TOKEN = "a-token-of-this-call"
KINDS: list[tuple[MediaKind, bool]] = [
    ("audiosocket", False), ("websocket", False), ("websocket-in", False), ("websocket", True),
    ("websocket-in", True),
]  # fmt: skip
"""Each kind, and whether its control messages are JSON."""


@pytest.fixture(scope="module")
def media_port() -> int:
    return free_port("127.0.0.1", socket.SOCK_STREAM)


@pytest.fixture(scope="module")
def pbx(asterisk: Asterisk, media_port: int) -> Iterator[Asterisk]:
    """An Asterisk of its own, whose `websocket_client.conf` names our port; its trunks' far ends
    are those of the session's."""
    made = Asterisk(list(asterisk.trunks.values()), f"ws://127.0.0.1:{media_port}/media/asterisk")
    try:
        yield made.start()
    finally:
        made.close()


@asynccontextmanager
async def calling(
    pbx: Asterisk, kind: MediaKind, port: int, end: SocketEnd, ear: DriverEar, json: bool = False
) -> AsyncIterator[AsteriskSwitch]:
    lines: dict[str, WsLine] = {end.session.call_id: end.line}
    server = MediaServer(lines.get, lambda call_id: TOKEN, doors={"asterisk": AsteriskDoor()})
    await server.start("127.0.0.1", port)
    plan = replace(plan_of(pbx), media=kind, json_control=json)
    switch = AsteriskSwitch(plan, lines.get, lambda call_id: TOKEN)
    await switch.start(ear)
    try:
        yield switch
    finally:
        await switch.close()
        await server.stop()


async def a_clear_is_heard(end: SocketEnd, far: SipCall) -> None:
    """A tone that is cleared after half a second has not sounded much longer."""
    before = len(far.media.voiced())
    end.say(tone(500, 2.0))
    await asyncio.sleep(0.5)
    end.session.flush()
    await asyncio.sleep(1.0)
    assert 10 < len(far.media.voiced()) - before < 60


@pytest.mark.parametrize(("kind", "json"), KINDS)
async def test_both_sides_hear_each_other_and_a_lost_leg_is_replaced(
    pbx: Asterisk, media_port: int, carriers: dict[str, SipCarrier], kind: MediaKind, json: bool,
    tmp_path: Path,
) -> None:  # fmt: skip
    call_id = f"call-{kind}-{'json' if json else 'text'}"
    carriers["carrier-a"].default = scripts.answer(say=tone(700, 1.0), after_s=0.2, keys="5")
    ear, end = DriverEar(), SocketEnd(call_id)
    async with calling(pbx, kind, media_port, end, ear, json) as switch:
        order = Order(call_id, "13800000001", "carrier-a", "pcmu", None)
        assert await switch.dial(order) is None
        far = await carriers["carrier-a"].next_call()
        await ear.wait(call_id, "answered")
        end.say(tone(440, 1.0))
        await asyncio.sleep(1.8)
        assert strongest_hz(far.media.heard()) == pytest.approx(440, abs=5)
        assert strongest_hz(end.sound) == pytest.approx(700, abs=5)
        voiced = end.sound[abs(end.sound) > 1_000]
        assert len(voiced) > 0.7 * 0.95 * 8_000
        await until(lambda: ear.keys == ["5"])
        first = end.session.transport
        assert first is not None
        if isinstance(first, WsTransport):
            dialect = first.receiver.dialect
            assert isinstance(dialect, AsteriskMediaDialect)
            assert dialect.speaks_json == json
        await a_clear_is_heard(end, far)
        ari(pbx, "DELETE", f"/channels/ringlog-edge~{call_id}~1-media1")
        await until(lambda: end.session.transport not in (None, first))
        heard_s = asyncio.get_running_loop().time()
        end.say(tone(600, 0.8))
        await asyncio.sleep(1.2)
        assert asyncio.get_running_loop().time() > heard_s
        last = far.media.heard(far.media.arrivals[-40].at_s)
        assert strongest_hz(last) == pytest.approx(600, abs=10)
        await switch.hang_up(call_id)
        await ear.wait(call_id, "ended")
        end.close()
        await until(lambda: ari(pbx, "GET", "/channels") == [])
    assert pbx.errors() == []
