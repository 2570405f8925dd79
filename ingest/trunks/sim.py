"""The simulated carrier's driver: plain HTTP.

`POST /calls` {call_id, try_no, phone, rtp_host, rtp_port, ssrc, codec} -> {rtp_host, rtp_port,
ssrc}, or a SIP status as HTTP status, with {cause_q850} where the carrier knows better than the
usual mapping; `DELETE /calls/{call_id}` hangs up; `POST /calls/{call_id}/transfer` {target}
transfers. The carrier tells ringing, answered, dtmf and ended by `POST /api/calls/status`, and
`refused` with the `try_no` where it gives up a try that it had taken. With the option `ask_s`
`GET /readyz` asks that often, as SIP OPTIONS do, whether it is there: any answer says so.
"""

import asyncio
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

import aiohttp

from ingest.trunks.driver import Listener, MediaAddress, Medium, Order, Refused
from ingest.trunks.reach import Reach
from ringlog import log

logger = log.logger("ringlog.ingest.sim")

TIMEOUT_S: Final = 5.0
RETRIES: Final = 1
"""A repeated call id is the same call, so a lost answer may be asked for again."""

MISSES: Final = 2
"""Questions in a row without an answer after which its trunks are unreachable."""

_SIP: Final[dict[int, tuple[int, str]]] = {
    404: (1, "failed"),
    408: (18, "no_answer"),
    480: (19, "no_answer"),
    486: (17, "busy"),
    603: (21, "failed"),
}
"""Q.850 cause and disposition of a refusal (RFC 3398 section 7.2.4.1 for the causes)."""


class SimSwitch:
    """Driver of `demo`'s carrier, and the smallest example of one."""

    medium: Medium = "rtp"
    sends_keys = False
    keeps_calls = False
    connected = True

    def __init__(
        self, url: str, name: str = "sim", trunks: Iterable[str] = (), ask_s: float = 0
    ) -> None:
        """`trunks`: those that go by this carrier; `ask_s`: how often it is asked whether it is
        there, 0: never."""
        self.name = name
        self._url = url.rstrip("/")
        self._http: aiohttp.ClientSession | None = None
        self._reach = Reach({name: tuple(trunks)})
        self._ask_s = ask_s
        self._looking: asyncio.Task[None] | None = None

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None or self._http.closed:
            self._http = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
                connector=aiohttp.TCPConnector(limit=0),
            )
        return self._http

    async def start(self, listener: Listener) -> None:
        """Asks from now on whether the carrier is there; calls it tells to the API."""
        if self._ask_s:
            self._looking = asyncio.create_task(self._look(listener), name=f"sim {self.name}")

    async def _look(self, listener: Listener) -> None:
        missed = 0
        while True:
            try:
                async with self._session().get(f"{self._url}/readyz"):
                    missed = 0
            except (TimeoutError, aiohttp.ClientError):
                missed += 1
            if missed in (0, MISSES):
                for trunk in self._reach.news(self.name, missed == 0):
                    listener.on_reachable(trunk, missed == 0)
            await asyncio.sleep(self._ask_s)

    async def dial(self, order: Order) -> MediaAddress:
        """Asks for a call; raises Refused."""
        assert order.ours is not None, "the carrier sends RTP"
        asked = {
            "call_id": order.call_id,
            "try_no": order.try_no,
            "phone": order.phone,
            "rtp_host": order.ours.host,
            "rtp_port": order.ours.port,
            "ssrc": order.ours.ssrc,
            "codec": order.codec,
        }
        unsure = False
        for attempt in range(RETRIES + 1):
            try:
                return await self._dial(asked)
            except (TimeoutError, aiohttp.ClientConnectionError) as error:
                unsure |= not isinstance(error, aiohttp.ClientConnectorError)
                if attempt == RETRIES:
                    why = f"no answer: {type(error).__name__}"
                    raise Refused(38, None, "failed", why, unsure) from None
                await asyncio.sleep(0.05)
        raise AssertionError("unreachable")

    async def _dial(self, asked: dict[str, object]) -> MediaAddress:
        async with self._session().post(f"{self._url}/calls", json=asked) as answer:
            if answer.status >= 400:
                cause, disposition = _SIP.get(answer.status, (38, "failed"))
                try:
                    cause = int((await answer.json())["cause_q850"])
                except (aiohttp.ContentTypeError, ValueError, TypeError, KeyError):
                    pass  # only the status is left
                raise Refused(cause, answer.status, disposition, f"status {answer.status}")
            try:
                body = await answer.json()
                ssrc = body.get("ssrc")
                return MediaAddress(
                    str(body["rtp_host"]),
                    int(body["rtp_port"]),
                    None if ssrc is None else int(ssrc),
                )
            except (aiohttp.ContentTypeError, ValueError, TypeError, KeyError, AttributeError):
                raise Refused(38, None, "failed", "the answer has another form") from None

    async def adopt(
        self, call_id: str, ours: MediaAddress | None, try_no: int = 1, answered: bool = False,
        placed_by: str = "", anew: bool = False,
    ) -> bool:  # fmt: skip
        """The carrier sends on to the port that the call had."""
        return True

    def let_go(self, call_id: str) -> None:
        """Never called: it keeps no calls."""

    async def send_keys(self, call_id: str, digits: str) -> None:
        """Never called: keys go with the sound."""

    async def hang_up(self, call_id: str) -> None:
        """Ends a call; no error if it is already over."""
        try:
            url = f"{self._url}/calls/{quote(call_id, safe='')}"
            async with self._session().delete(url) as answer:
                if answer.status >= 500:
                    logger.warning("hang-up refused", call_id=call_id, status=answer.status)
        except (TimeoutError, aiohttp.ClientError) as error:
            logger.warning("hang-up failed", call_id=call_id, error=type(error).__name__)

    async def transfer(self, call_id: str, target: str) -> bool:
        """Connects the customer elsewhere; False when the carrier cannot."""
        try:
            url = f"{self._url}/calls/{quote(call_id, safe='')}/transfer"
            async with self._session().post(url, json={"target": target}) as answer:
                return answer.status < 300
        except (TimeoutError, aiohttp.ClientError):
            return False

    async def close(self) -> None:
        """Ends the HTTP session."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        if self._http is not None:
            await self._http.close()
