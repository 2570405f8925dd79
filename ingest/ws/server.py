"""The media WebSocket server: `ws://…/media/{call_id}?codec=pcmu&token=…`."""

import asyncio
import hmac
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from websockets.asyncio.server import Server, ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from ingest.sound.clock import monotonic_us
from ingest.sound.playout import Key
from ingest.sound.session import Session
from ingest.sound.silence import Patience
from ingest.sound.types import Digit, Frame, Leg, format_of, leg_ssrc
from ingest.ws.protocol import (
    MAX_TEXT_BYTES,
    WS_PATIENCE,
    WsReceiver,
    WsRefused,
    control_text,
)
from ringlog import log
from ringlog.metrics import RTP_PACKETS_DROPPED

logger = log.logger("ringlog.ingest.ws")

MAX_MESSAGE_BYTES: Final = 4096
"""Longest message: 100 ms of L16 at 16 kHz is 3,200 bytes."""

MAX_BUFFERED_BYTES: Final = 16_384
"""Sound that a slow peer may leave unread (1 s of L16 at 8 kHz); what comes then is dropped."""

assert MAX_TEXT_BYTES < MAX_MESSAGE_BYTES


class WsTransport:
    """One connection as a session's transport."""

    def __init__(self, connection: ServerConnection, receiver: WsReceiver) -> None:
        self.receiver = receiver
        self._connection = connection
        self._open = True

    @property
    def patience(self) -> Patience:
        """What TCP holds up comes later, all at once; it is no silence."""
        return WS_PATIENCE

    @property
    def alive_us(self) -> int | None:
        """When the peer's last message came."""
        return self.receiver.alive_us

    @property
    def holding(self) -> bool:
        """True while sound is here whose time is not known yet."""
        return False

    def _send(self, message: str | bytes) -> bool:
        # Without waiting: a tick must not be held up by a slow peer.
        connection = self._connection
        if not self._open:
            return False
        if connection.transport.get_write_buffer_size() > MAX_BUFFERED_BYTES:
            RTP_PACKETS_DROPPED.labels("slow_peer").inc()
            return False
        broadcast((connection,), message)
        return True

    def send_frame(self, frame: bytes, seq: int, ts: int, talkspurt: bool) -> bool:
        """One binary message."""
        return self._send(frame)

    def send_key(self, key: Key, seq: int, ts: int) -> int:
        """One text message a key press."""
        if key.n == 0:
            self._send(control_text("dtmf", digits=key.digit))
        return 0

    def clear(self) -> None:
        """The peer forgets what it has buffered."""
        self._send(control_text("clear"))

    def mark(self, name: str) -> None:
        """The peer has everything up to here."""
        self._send(control_text("mark", name=name))

    def poll(self, now_us: int) -> Iterable[Frame | Digit]:
        """TCP keeps order: nothing waits."""
        return ()

    def flush(self) -> Iterable[Frame | Digit]:
        """Nothing waits."""
        return ()

    def close(self) -> None:
        """Says that the call is over and closes."""
        if self._open:
            self._send(control_text("hangup"))
            self._open = False
            asyncio.get_running_loop().create_task(self._connection.close())


Find = Callable[[str], Session | None]


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
        session = self._find(call_id)
        if session is None:
            return connection.respond(HTTPStatus.NOT_FOUND, "no such call\n")
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
        session = None if asked is None else self._find(asked[0])
        if session is None:
            await connection.close(1011, "the call is over")
            return
        transport = WsTransport(connection, _receiver_of(session))
        session.attach(transport)
        try:
            async for message in connection:
                self._take(session, transport, message)
        except WsRefused as refused:
            logger.info("x refused", call_id=session.call_id, reason=str(refused))
            await connection.close(refused.code, str(refused)[:100])
        except ConnectionClosed:
            pass
        finally:
            session.ws_next = (transport.receiver.next_seq, transport.receiver.next_ts)
            session.detach(transport)

    def _take(self, session: Session, transport: WsTransport, message: str | bytes) -> None:
        at = monotonic_us()
        receiver = transport.receiver
        if isinstance(message, bytes):
            if session.transport is transport:
                session.heard((receiver.audio(message, at),), at)
            return
        control = receiver.text(message, at)
        match control.type:
            case "dtmf":
                keys = receiver.digits(control, session.clock.call_ms(at), session.last_key)
                session.last_key = keys[-1].ts
                session.heard(keys, at)
            case "clear":
                session.flush()
            case "hangup":
                session.hang_up("peer")
            case "mark":
                pass  # the echo of ours: the peer played up to there


def _receiver_of(session: Session) -> WsReceiver:
    """A new connection's receive side: a later one of the same call goes on where it should be."""
    at = monotonic_us()
    start_ms = session.clock.call_ms(at)
    if session.ws_leg is None:
        leg = Leg(
            "customer", leg_ssrc(session.call_id, "customer"), 0, start_ms, session.sound.rate_hz
        )
        session.ws_leg = leg
        return WsReceiver(session.sound, leg, at)
    leg = session.ws_leg
    seq, ts = session.ws_next
    frames = (start_ms - leg.start_ms) // 20
    expected = leg.start_ts + frames * session.sound.frame_samples
    return WsReceiver(session.sound, leg, at, next_seq=max(seq, frames), next_ts=max(ts, expected))


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
