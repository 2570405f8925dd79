"""The media WebSocket server: `ws://…/media/{call_id}?codec=pcmu&token=…`."""

import asyncio
import hmac
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from websockets.asyncio.server import Server, ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed, InvalidHeader
from websockets.headers import parse_subprotocol
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from ingest.sound.clock import monotonic_us
from ingest.sound.playout import KeyTick
from ingest.sound.session import Session
from ingest.sound.silence import SilenceRule
from ingest.sound.types import SAMPLE_BYTES, Digit, Frame, format_of
from ingest.ws.dialects import (
    DIALECTS,
    MAX_TEXT_BYTES,
    OWN,
    ControlMessage,
    WsRefused,
    choose,
)
from ingest.ws.line import WsLine
from ingest.ws.protocol import WS_SILENCE, WsReceiver, swapped
from ringlog import log
from ringlog.health import BACKLOG
from ringlog.metrics import RTP_PACKETS_DROPPED

logger = log.logger("ringlog.ingest.ws")

MAX_MESSAGE_BYTES: Final = 4096
"""Longest message: 100 ms of L16 at 16 kHz is 3,200 bytes."""

MAX_BUFFERED_BYTES: Final = 16_384
"""Sound that a slow peer may leave unread (1 s of L16 at 8 kHz) before the prompt waits."""

assert MAX_TEXT_BYTES < MAX_MESSAGE_BYTES


class WsTransport:
    """One connection as a session's transport."""

    def __init__(
        self, connection: ServerConnection, receiver: WsReceiver, session: Session
    ) -> None:
        self.receiver = receiver
        self._connection = connection
        self._open = True
        self._swapped = receiver.dialect.little_endian and SAMPLE_BYTES[session.sound.codec] == 2

    @property
    def silence(self) -> SilenceRule:
        """Sound that TCP delays comes later, all at once; it is no silence."""
        return WS_SILENCE

    @property
    def alive_us(self) -> int | None:
        """When the peer's last message came."""
        return self.receiver.alive_us

    @property
    def holding(self) -> bool:
        """True while sound is held whose time is not known yet."""
        return self.receiver.waiting

    @property
    def ready(self) -> bool:
        """Whether the peer takes sound now: it is connected and reads what we send."""
        if not self._open:
            return False
        return self._connection.transport.get_write_buffer_size() <= MAX_BUFFERED_BYTES

    def send_frame(self, frame: bytes, seq: int, ts: int, talkspurt: bool) -> bool:
        """One binary message, without waiting: a tick must not be held up by a slow peer."""
        if not self.ready:
            RTP_PACKETS_DROPPED.labels("slow_peer").inc()
            return False
        broadcast((self._connection,), swapped(frame) if self._swapped else frame)
        return True

    def send_key(self, key: KeyTick, seq: int, ts: int) -> int:
        """One text message a key press."""
        if key.n == 0:
            self._tell(ControlMessage("dtmf", digits=key.digit))
        return 0

    def clear(self) -> None:
        """Makes the peer clear its buffer; sent even to a slow peer, which needs it most."""
        self._tell(ControlMessage("clear"))

    def mark(self, name: str) -> None:
        """Sends a mark after everything sent so far."""
        self._tell(ControlMessage("mark", name=name))

    def _tell(self, message: ControlMessage) -> None:
        text = self.receiver.dialect.word(message)
        if self._open and text is not None:
            broadcast((self._connection,), text)

    def poll(self, now_us: int) -> Sequence[Frame | Digit]:
        """Frames that were held until it was known what came before them."""
        return self.receiver.poll(now_us) if self.receiver.waiting else ()

    def flush(self) -> Iterable[Frame | Digit]:
        """All frames that are held."""
        return self.receiver.flush()

    def close(self) -> None:
        """Reports that the call is over and closes."""
        if self._open:
            self._tell(ControlMessage("hangup"))
            self._open = False
            asyncio.get_running_loop().create_task(self._connection.close())


Find = Callable[[str], WsLine | None]


class MediaServer:
    """Accepts connections for sessions that exist. `token_of` gives a call's secret."""

    def __init__(self, find: Find, token_of: Callable[[str], str]) -> None:
        self._find = find
        self._token_of = token_of
        self._server: Server | None = None

    async def start(self, host: str, port: int) -> None:
        """Listens; raises OSError when the port is in use."""
        self._server = await serve(
            self._handle,
            host,
            port,
            process_request=self._check,
            select_subprotocol=_select,
            backlog=BACKLOG,
            max_size=MAX_MESSAGE_BYTES,
            max_queue=64,
            compression=None,
            ping_interval=20,
            ping_timeout=20,
            open_timeout=5,
            close_timeout=1,
            server_header=None,
        )

    async def stop(self) -> None:
        """Closes all connections."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    def _check(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuses a handshake with the status that says why."""
        asked = _asked(request.path)
        if asked is None:
            return connection.respond(HTTPStatus.NOT_FOUND, "the path is /media/{call_id}\n")
        call_id, codec, tokens = asked
        right = self._token_of(call_id).encode()
        # The token first, so that nobody learns which calls exist.
        if not any(hmac.compare_digest(token.encode(), right) for token in tokens):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "wrong token\n")
        line = self._find(call_id)
        if line is None:
            return connection.respond(HTTPStatus.NOT_FOUND, "no such call\n")
        session = line.session
        try:
            choose(_offered(request))
        except WsRefused as refused:
            return connection.respond(HTTPStatus.BAD_REQUEST, f"{refused}\n")
        try:
            fits = codec is None or format_of(codec) == session.sound
        except ValueError as error:
            return connection.respond(HTTPStatus.BAD_REQUEST, f"{error}\n")
        if not fits:
            return connection.respond(
                HTTPStatus.BAD_REQUEST, f"the session's codec is {session.sound.codec}\n"
            )
        return None

    async def _handle(self, connection: ServerConnection) -> None:
        asked = _asked(connection.request.path if connection.request is not None else "")
        line = None if asked is None else self._find(asked[0])
        if line is None:
            await connection.close(1011, "the call is over")
            return
        dialect = DIALECTS.get(connection.subprotocol or "", OWN)
        receiver = line.open(monotonic_us(), dialect)
        session, transport = line.session, WsTransport(connection, receiver, line.session)
        session.attach(transport)
        try:
            async for message in connection:
                self._take(line, transport, message)
        except WsRefused as refused:
            logger.info(
                "closing the media connection: its peer breaks the protocol",
                call_id=session.call_id, reason=str(refused),
            )  # fmt: skip
            await connection.close(refused.code, str(refused)[:100])
        except ConnectionClosed:
            pass
        finally:
            if session.transport is transport:
                session.heard(receiver.flush(), monotonic_us())
            line.closed(receiver)
            session.detach(transport)

    def _take(self, line: WsLine, transport: WsTransport, message: str | bytes) -> None:
        at = monotonic_us()
        receiver, session = transport.receiver, line.session
        if isinstance(message, bytes):
            if session.transport is transport:
                session.heard(receiver.audio(message, at), at)
            return
        control = receiver.text(message, at)
        match None if control is None else control.type:
            case "dtmf" if control is not None:
                session.heard(line.keys(receiver, control, at), at)
            case "clear":
                session.flush()
            case "hangup":
                session.hang_up("peer")
            case _:
                pass  # a mark is the echo of ours: the peer played up to there


def _offered(request: Request) -> list[str]:
    """Sub-protocols of a handshake, the preferred one first; raises WsRefused."""
    try:
        return [
            name
            for value in request.headers.get_all("Sec-WebSocket-Protocol")
            for name in parse_subprotocol(value)
        ]
    except InvalidHeader as error:
        raise WsRefused(str(error)) from None


def _select(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """The sub-protocol that is spoken; `_check` has refused what we do not speak."""
    chosen = choose(list(offered))
    return None if chosen is None else Subprotocol(chosen)


def _asked(path: str) -> tuple[str, str | None, list[str]] | None:
    """(call_id, codec, tokens) of a request path; None for another path.

    Our `ws_url` has its query already; a client that adds codec and token once more means the same.
    """
    try:
        parts = urlsplit(path)
        query = parse_qs(parts.query.replace("?", "&"), max_num_fields=16)
    except ValueError:
        return None
    head, _, tail = parts.path.rpartition("/")
    if head != "/media" or not tail:
        return None
    return unquote(tail), query.get("codec", [None])[0], query.get("token", [])
