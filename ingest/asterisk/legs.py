"""Media legs of each kind: what Asterisk is asked for, and what we do for it."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Protocol

from ingest.asterisk.audiosocket import AudioSocketPort
from ingest.asterisk.events import AriChannel, AriMalformed
from ingest.asterisk.media import format_name
from ingest.asterisk.websockets import bring
from ingest.sound.types import format_of
from ingest.trunks.driver import MediaAddress
from ingest.ws.line import WsLine

Find = Callable[[str], WsLine | None]


class LegMaker(Protocol):
    """One switch's legs. `call` is the name of a call's bridge."""

    async def start(self) -> None:
        """Makes ready; raises OSError."""
        ...

    async def stop(self) -> None:
        """Lets go."""
        ...

    def expect(self, call: str, call_id: str, ours: MediaAddress | None, codec: str) -> None:
        """A call is to have legs; `codec` as in a media session."""
        ...

    def query(self, call: str, name: str) -> dict[str, str]:
        """The query of `POST /channels/externalMedia` for a leg of this name; raises KeyError when
        the call is not expected (any more)."""
        ...

    def made(self, call: str, name: str, channel: AriChannel) -> MediaAddress | None:
        """The leg is there; gives where we send RTP. Raises AriMalformed."""
        ...

    def over(self, call: str) -> None:
        """The call needs no more legs."""
        ...


class RtpLegs:
    """Asterisk sends to the call's port, and names the port that it listens on. `host`: where it
    takes our RTP, if not at the address that it names."""

    def __init__(self, host: str = "") -> None:
        self._host = host
        self._ours: dict[str, tuple[MediaAddress, str]] = {}

    async def start(self) -> None:
        """Each call has a port of its own."""

    async def stop(self) -> None:
        """Nothing is open."""

    def expect(self, call: str, call_id: str, ours: MediaAddress | None, codec: str) -> None:
        """A call's port."""
        if ours is not None:
            self._ours[call] = ours, format_name(format_of(codec))

    def query(self, call: str, name: str) -> dict[str, str]:
        """Plain RTP over UDP, both ways; raises KeyError."""
        ours, form = self._ours[call]
        host = f"[{ours.host}]" if ":" in ours.host else ours.host
        return {"external_host": f"{host}:{ours.port}", "format": form}

    def made(self, call: str, name: str, channel: AriChannel) -> MediaAddress:
        """The port that Asterisk names; raises AriMalformed."""
        host = self._host or channel.variables.get("UNICASTRTP_LOCAL_ADDRESS", "")
        port = channel.variables.get("UNICASTRTP_LOCAL_PORT", "")
        if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise AriMalformed("the media leg has no UNICASTRTP_LOCAL_ADDRESS and _PORT")
        return MediaAddress(host, int(port), None)

    def over(self, call: str) -> None:
        """The port may serve another call."""
        self._ours.pop(call, None)


class AudioSocketLegs:
    """Asterisk connects to our AudioSocket port, with a UUID of each leg."""

    def __init__(self, find: Find, bind_host: str, host: str, port: int) -> None:
        """`host`: where Asterisk reaches us; port 0 takes a free one."""
        self._server = AudioSocketPort(find)
        self._bind_host, self._host, self._port = bind_host, host, port
        self._calls: dict[str, tuple[str, list[str]]] = {}

    async def start(self) -> None:
        """Listens; raises OSError."""
        self._port = await self._server.start(self._bind_host, self._port)

    async def stop(self) -> None:
        """Listens no more."""
        await self._server.stop()

    def expect(self, call: str, call_id: str, ours: MediaAddress | None, codec: str) -> None:
        """Its sound is converted here, so the session's codec does not matter."""
        self._calls[call] = call_id, []

    def query(self, call: str, name: str) -> dict[str, str]:
        """By TCP, at 8 kHz; raises KeyError."""
        call_id, uuids = self._calls[call]
        uuids.append(self._server.expect(call_id))
        return {
            "external_host": f"{self._host}:{self._port}", "format": "slin", "transport": "tcp",
            "encapsulation": "audiosocket", "data": uuids[-1],
        }  # fmt: skip

    def made(self, call: str, name: str, channel: AriChannel) -> None:
        """It has connected by now, or will never."""

    def over(self, call: str) -> None:
        """Its UUIDs open nothing any more."""
        for name in self._calls.pop(call, ("", []))[1]:
            self._server.forget(name)


class WebSocketLegs:
    """chan_websocket. With a `client` (a section of `websocket_client.conf`) Asterisk connects to
    our media server; without one we connect to its `/media/ID`."""

    def __init__(
        self,
        find: Find,
        token_of: Callable[[str], str],
        base_url: str,
        client: str = "",
        json_control: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`token_of`: a call's secret; `base_url`: of Asterisk's HTTP server, with `tls` where it
        is `https:`. `json_control`: messages of both sides are JSON and not plain text."""
        self._find = find
        self._token_of = token_of
        self._media_url = "ws" + base_url.rstrip("/").removeprefix("http") + "/media/"
        self._client = client
        self._form = "f(json)" if json_control else ""
        self._tls = tls
        self._calls: dict[str, tuple[str, str]] = {}
        self._work: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """The media server listens already."""

    async def stop(self) -> None:
        """Lets go of our connections."""
        for task in tuple(self._work):
            task.cancel()
        if self._work:
            await asyncio.wait(tuple(self._work))

    def expect(self, call: str, call_id: str, ours: MediaAddress | None, codec: str) -> None:
        """In the session's codec."""
        self._calls[call] = call_id, format_name(format_of(codec))

    def query(self, call: str, name: str) -> dict[str, str]:
        """A WebSocket in one direction or the other; raises KeyError."""
        call_id, form = self._calls[call]
        asked = {"format": form, "transport": "websocket", "encapsulation": "none"}
        if not self._client:
            asked |= {"transport_data": self._form} if self._form else {}
            return asked | {"external_host": "INCOMING", "connection_type": "server"}
        return asked | {
            "external_host": self._client, "connection_type": "client",
            "transport_data": f"v(call={call_id},token={self._token_of(call_id)}){self._form}",
        }  # fmt: skip

    def made(self, call: str, name: str, channel: AriChannel) -> None:
        """Connects, where Asterisk waits; raises AriMalformed."""
        if self._client:
            return
        found = channel.variables.get("MEDIA_WEBSOCKET_CONNECTION_ID", "")
        if not found or not found.replace("-", "").isalnum():
            raise AriMalformed("the media leg has no MEDIA_WEBSOCKET_CONNECTION_ID")
        call_id = self._calls[call][0] if call in self._calls else ""
        task = asyncio.create_task(bring(self._media_url + found, call_id, self._find, self._tls))
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    def over(self, call: str) -> None:
        """Its legs end by ARI."""
        self._calls.pop(call, None)
