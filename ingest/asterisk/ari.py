"""Connection to one Asterisk: REST requests, and the events' WebSocket.

https://docs.asterisk.org/Configuration/Interfaces/Asterisk-REST-Interface-ARI/
"""

import asyncio
import json
import random
import ssl
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import aiohttp
from pydantic import SecretStr
from yarl import URL

from ingest.asterisk.events import MAX_EVENT_BYTES
from ringlog import log

logger = log.logger("ringlog.ingest.asterisk")

REQUEST_S: Final = 5.0
"""Longest wait for one answer."""

HEARTBEAT_S: Final = 3.0
"""Pings on the events' socket; one that is not answered in half that time ends it."""

AGAIN_S: Final = 0.2
LONGEST_AGAIN_S: Final = 10.0
"""Waits between attempts to connect: doubled each time, with chance in it, so that the edges of a
site do not come all at once."""

MAX_ANSWER_BYTES: Final = 16_777_216
"""Longest answer: a list of some thousand channels."""


class AriLost(Exception):
    """Asterisk cannot be reached, or did not answer in time. Whether it has done what was asked is
    not known."""


class AriAnswer(NamedTuple):
    """Status and JSON of an answer."""

    status: int
    body: Any

    @property
    def ok(self) -> bool:
        """What was asked is done."""
        return self.status < 300

    @property
    def gone(self) -> bool:
        """What was asked for is no more."""
        return self.status == HTTPStatus.NOT_FOUND

    @property
    def why(self) -> str:
        """What Asterisk says of a refusal, shortened; it may hold no number of a customer."""
        body = self.body if isinstance(self.body, dict) else {}
        text = body.get("message") or body.get("error") or ""
        return f"{self.status} {text}"[:120]


def ari_path(*parts: str) -> str:
    """A path of names that may have any character."""
    return "/" + "/".join(quote(part, safe="~") for part in parts)


class Ari:
    """One application's connection. `app` is its name; the password is never logged."""

    def __init__(
        self,
        url: str,
        user: str,
        password: SecretStr,
        app: str,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`tls`: what checks the certificate of a URL `https:`; None: the system's authorities."""
        base = url.rstrip("/").removesuffix("/ari")
        self.url = f"{base}/ari"
        self.app = app
        self._auth = aiohttp.BasicAuth(user, password.get_secret_value())
        self._tls = tls
        self._http: aiohttp.ClientSession | None = None

    def session(self) -> aiohttp.ClientSession:
        """The HTTP session; its number of connections is not limited, since a WebSocket of a call
        takes one for as long as the call."""
        if self._http is None or self._http.closed:
            self._http = aiohttp.ClientSession(
                auth=self._auth,
                timeout=aiohttp.ClientTimeout(total=REQUEST_S),
                connector=aiohttp.TCPConnector(limit=0, ssl=self._tls or True),
            )
        return self._http

    async def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> AriAnswer:
        """One request; raises AriLost."""
        url = URL(self.url + path, encoded=True).with_query(query or {})
        try:
            async with self.session().request(method, url, json=body) as answer:
                data = await answer.content.read(MAX_ANSWER_BYTES)
                while not answer.content.at_eof():
                    more = await answer.content.read(MAX_ANSWER_BYTES)
                    if len(data) + len(more) > MAX_ANSWER_BYTES:
                        raise AriLost("the answer is too long")
                    data += more
                return AriAnswer(answer.status, _json(data))
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise AriLost(type(error).__name__) from None

    async def events(self) -> AsyncIterator["aiohttp.ClientWebSocketResponse"]:
        """Connections for events, one after the other, for ever; the caller reads each until it is
        over."""
        failed = 0
        while True:
            try:
                socket = await self.connect()
                failed = 0
                try:
                    yield socket
                finally:
                    await socket.close()
            except AriLost as error:
                if failed in (0, 5):
                    logger.warning("Asterisk is not there", url=self.url, reason=str(error))
            wait_s = min(LONGEST_AGAIN_S, AGAIN_S * 2 ** min(failed, 10))
            failed += 1
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))

    async def connect(self) -> "aiohttp.ClientWebSocketResponse":
        """One connection for events; raises AriLost."""
        query = {"app": self.app, "subscribeAll": "false"}
        try:
            return await self.session().ws_connect(
                URL(self.url + "/events", encoded=True).with_query(query),
                heartbeat=HEARTBEAT_S,
                max_msg_size=MAX_EVENT_BYTES,
                timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
            )
        except aiohttp.WSServerHandshakeError as error:
            raise AriLost(_refusal(error.status)) from None
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise AriLost(type(error).__name__) from None

    async def close(self) -> None:
        """Ends the connections."""
        if self._http is not None:
            await self._http.close()


def _refusal(status: int) -> str:
    if status == HTTPStatus.UNAUTHORIZED:
        return "the user or the password is wrong (ari.conf)"
    if status == HTTPStatus.NOT_FOUND:
        return "there is no ARI at this address (res_ari, http.conf)"
    return f"status {status}"


def _json(data: bytes) -> Any:
    try:
        return json.loads(data) if data else None
    except (ValueError, RecursionError):
        return None
