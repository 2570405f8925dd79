"""The sim carrier's driver against a real HTTP server: what is asked, and every way it can fail."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from ingest.trunks.driver import MediaAddress, Order, Refused
from ingest.trunks.sim import SimSwitch
from tests.integration.ingest.test_transports import until

OURS = MediaAddress("127.0.0.1", 20_000, 7)


class Carrier:
    """Answers as told."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.status = 200
        self.body: Any = {"rtp_host": "127.0.0.1", "rtp_port": 30_000, "ssrc": 9}
        self.text: str | None = None
        self.drop = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.asked.append((request.method, request.path, body))
        if self.drop:
            self.drop -= 1
            assert request.transport is not None
            request.transport.close()
        if self.text is not None:
            return web.Response(text=self.text, status=self.status)
        return web.json_response(self.body, status=self.status)


def _app_of(carrier: Carrier) -> web.Application:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", carrier.handle)
    return app


@pytest.fixture
async def carrier() -> AsyncIterator[tuple[Carrier, SimSwitch]]:
    carrier = Carrier()
    async with TestServer(_app_of(carrier)) as server:
        trunk = SimSwitch(str(server.make_url("/")))
        yield carrier, trunk
        await trunk.close()


async def test_a_call_is_asked_for_as_agreed(carrier: tuple[Carrier, SimSwitch]) -> None:
    far, trunk = carrier
    assert await trunk.dial(Order("c-1", "+86138", "sim", "pcmu", OURS)) == ("127.0.0.1", 30_000, 9)
    asked = {"call_id": "c-1", "try_no": 1, "phone": "+86138", "rtp_host": "127.0.0.1",
             "rtp_port": 20_000, "ssrc": 7, "codec": "pcmu"}  # fmt: skip
    assert far.asked == [("POST", "/calls", asked)]
    await trunk.hang_up("c/1")
    assert await trunk.transfer("c-1", "agents")
    assert [a[:2] for a in far.asked[1:]] == [
        ("DELETE", "/calls/c/1"),  # quoted on the wire
        ("POST", "/calls/c-1/transfer"),
    ]


@pytest.mark.parametrize(
    ("status", "body", "cause", "disposition"),
    [
        (486, {}, 17, "busy"),
        (404, {"cause_q850": 28}, 28, "failed"),
        (480, {"cause_q850": None}, 19, "no_answer"),
        (503, [], 38, "failed"),
    ],
)
async def test_a_refusal_has_its_cause(
    carrier: tuple[Carrier, SimSwitch], status: int, body: Any, cause: int, disposition: str
) -> None:
    far, trunk = carrier
    far.status, far.body = status, body
    with pytest.raises(Refused) as refused:
        await trunk.dial(Order("c", "1", "sim", "pcmu", OURS))
    assert refused.value.cause_q850 == cause and refused.value.cause_sip == status
    assert refused.value.disposition == disposition


@pytest.mark.parametrize(
    "body", [None, [], {}, {"rtp_host": "x"}, {"rtp_host": "x", "rtp_port": "y"}]
)
async def test_a_strange_answer_is_a_refusal(carrier: tuple[Carrier, SimSwitch], body: Any) -> None:
    far, trunk = carrier
    far.body = body
    with pytest.raises(Refused):
        await trunk.dial(Order("c", "1", "sim", "pcmu", OURS))
    far.text = "hello"
    with pytest.raises(Refused):
        await trunk.dial(Order("c", "1", "sim", "pcmu", OURS))


async def test_a_lost_answer_is_asked_for_again(carrier: tuple[Carrier, SimSwitch]) -> None:
    far, trunk = carrier
    far.drop = 1
    assert (await trunk.dial(Order("c", "1", "sim", "pcmu", OURS))).port == 30_000
    assert len(far.asked) == 2


async def test_a_carrier_that_is_away_is_a_refusal() -> None:
    trunk = SimSwitch("http://127.0.0.1:9")
    with pytest.raises(Refused):
        await trunk.dial(Order("c", "1", "sim", "pcmu", OURS))
    await trunk.hang_up("c")
    assert not await trunk.transfer("c", "agents")
    await trunk.close()


class Told:
    """Remembers what is said of trunks."""

    def __init__(self) -> None:
        self.reachable: list[tuple[str, bool]] = []

    def on_reachable(self, trunk: str, reachable: bool) -> None:
        self.reachable.append((trunk, reachable))


async def test_a_carrier_that_goes_away_and_comes_back_is_told(
    carrier: tuple[Carrier, SimSwitch],
) -> None:
    far, _ = carrier
    server = TestServer(_app_of(far))
    await server.start_server()
    port, told = server.port, Told()
    switch = SimSwitch(f"http://127.0.0.1:{port}", "sim", ["a", "b"], ask_s=0.01)
    await switch.start(told)  # type: ignore[arg-type] # the part of it that is used
    far.status = 503  # an answer is an answer
    await until(lambda: len(far.asked) > 3)
    assert told.reachable == []
    await server.close()
    await until(lambda: told.reachable == [("a", False), ("b", False)])
    async with TestServer(_app_of(far), port=port):
        await until(lambda: told.reachable[2:] == [("a", True), ("b", True)])
        await switch.close()
