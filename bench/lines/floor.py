"""The floor: calls through the same Asterisk to AudioSocket applications without any recogniser."""

import asyncio
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import numpy as np

from bench.lines.audiosocket import AudioSocketFloor, ContraryApplication, EchoApplication
from bench.lines.caller import Heard, cut_in, echo_delay, telling
from demo.asterisk.instance import Asterisk, free_port
from demo.sip.carrier import SipCarrier
from demo.sip.media import RATE_HZ
from demo.sip.scripts import Script

CONTEXT = "bench-floor"
_CALL_S = 20.0


class Floor:
    """The two applications, and the dialplan that leads to them."""

    def __init__(self) -> None:
        ports = [free_port("127.0.0.1", socket.SOCK_STREAM) for _ in range(2)]
        self._echo = AudioSocketFloor(EchoApplication(), ports[0])
        self._contrary = AudioSocketFloor(ContraryApplication(), ports[1])

    @property
    def extensions(self) -> str:
        """Text for `extensions.conf`."""
        return f"[{CONTEXT}]\n" + "".join(
            f"exten => {name},1,Answer()\n"
            f" same => n,AudioSocket({uuid.uuid4()},127.0.0.1:{server.port})\n"
            " same => n,Hangup()\n"
            for name, server in (("echo", self._echo), ("contrary", self._contrary))
        )

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """While calls are placed."""
        await self._echo.start()
        await self._contrary.start()
        try:
            yield
        finally:
            await self._echo.close()
            await self._contrary.close()


async def echoes(asterisk: Asterisk, carrier: SipCarrier, calls: int) -> list[float]:
    """There and back through the echo, ms, one a call."""
    t = np.arange(RATE_HZ // 5) / RATE_HZ
    beep = np.asarray(9_000 * np.sin(2 * np.pi * 600 * t), np.int16)
    out: list[float] = []
    for _ in range(calls):
        await _call(asterisk, carrier, "echo", echo_delay(beep, out))
    return out


async def contrary(asterisk: Asterisk, carrier: SipCarrier, calls: int) -> list[Heard]:
    """Conversations with the application that reacts at once; the words are a tone, since it takes
    the pauses of speech for its end."""
    t = np.arange(3 * RATE_HZ // 2) / RATE_HZ
    words = np.asarray(9_000 * np.sin(2 * np.pi * 700 * t), np.int16)
    out: list[Heard] = []
    for _ in range(calls):
        await _call(asterisk, carrier, "contrary", cut_in(words, out))
    return out


async def _call(asterisk: Asterisk, carrier: SipCarrier, extension: str, script: Script) -> None:
    number = f"13800000{len(carrier.calls):03d}"
    over = asyncio.Event()
    carrier.when(number, telling(script, over))
    asked = {
        "endpoint": f"PJSIP/{number}@{carrier.name}", "extension": extension,
        "context": CONTEXT, "priority": "1", "formats": "alaw",
    }  # fmt: skip
    login = aiohttp.BasicAuth(asterisk.ari_user, asterisk.password)
    async with (
        aiohttp.ClientSession(auth=login) as session,
        session.post(f"{asterisk.ari_url}/channels", params=asked) as answer,
    ):
        answer.raise_for_status()
    await asyncio.wait_for(over.wait(), _CALL_S)
