"""The media WebSocket server: `ws://…/media/{call_id}?codec=pcmu&token=…`, and the doors.

Who is let in is decided in the handshake; what messages mean, by the dialect; this module has the
sockets.
"""

import asyncio
import hmac
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final, NamedTuple, cast
from urllib.parse import parse_qs, unquote, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidHeader
from websockets.headers import parse_subprotocol
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from ingest.sound.clock import monotonic_us
from ingest.sound.types import format_of
from ingest.ws.admission import Admission
from ingest.ws.dialects import DIALECTS, OWN, choose
from ingest.ws.dialects.base import (
    ControlMessage,
    Dialect,
    Heard,
    Reply,
    Sound,
    Wanted,
    WsRefused,
)
from ingest.ws.direct import DirectConnection, Message
from ingest.ws.doors.base import Door, DoorClosed, Handshake
from ingest.ws.line import WsLine
from ingest.ws.protocol import WsReader
from ingest.ws.transport import WsTransport
from ringlog import log
from ringlog.health import BACKLOG
from ringlog.media_session import MediaSessionRequest
from ringlog.tls import HANDSHAKE_S

logger = log.logger("ringlog.ingest.ws")

_library = logging.getLogger("ringlog.ingest.ws.library")
_library.setLevel(logging.CRITICAL)  # it writes a traceback for every peer that talks nonsense

MAX_MESSAGE_BYTES: Final = 16_384
"""Longest message of any dialect, octets."""

PING_S: Final = 1.0
PONG_S: Final = 10.0
"""A dead host is found within 11 s, while the call still waits for its next connection."""

CLOSE_S: Final = 1.0
"""Time for the peer to answer our close, s."""

OPEN_S: Final = 5.0
"""Time for a handshake, and again for the message that names the call."""

RECONNECT_S: Final = 1.0
"""How long a server that stops waits for peers that it has asked to come back."""

Find = Callable[[str], WsLine | None]
Open = Callable[[MediaSessionRequest], Awaitable[WsLine]]


class NoSession(Exception):
    """No session can be opened; the text may be told to the peer. `retry_after_s` if later."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class MediaServer:
    """Accepts connections for sessions that exist, and for those that a door's first message opens.

    `token_of` gives a call's secret; `open_session` opens what a message wants, and raises
    NoSession.
    """

    def __init__(
        self,
        find: Find,
        token_of: Callable[[str], str],
        open_session: Open | None = None,
        doors: Mapping[str, Door] | None = None,
        admission: Admission | None = None,
    ) -> None:
        self._find = find
        self._token_of = token_of
        self._open_session = open_session
        self._doors = doors or {}
        self._server: Server | None = None
        self._connections: set[_Connection] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self.admission = admission or Admission()

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Listens, with `tls` for nobody without; raises OSError when the port is in use."""
        self._server = await serve(
            self._handle,
            host,
            port,
            create_connection=self._connection_type(),
            process_request=self._check,
            select_subprotocol=_select,
            backlog=BACKLOG,
            max_size=MAX_MESSAGE_BYTES,
            compression=None,
            ping_interval=PING_S,
            ping_timeout=PONG_S,
            open_timeout=OPEN_S,
            close_timeout=CLOSE_S,
            server_header=None,
            logger=_library,
            ssl=tls,
            ssl_handshake_timeout=None if tls is None else HANDSHAKE_S,
        )

    async def stop(self) -> None:
        """Asks peers that can to come back elsewhere, and closes all connections."""
        asked: list[asyncio.Task[None]] = []
        if self._server is not None:
            self._server.server.close()  # they come to our successor
        for made in self._connections:
            if made.transport is not None:
                made.transport.tell(ControlMessage("reconnect"))
                if made.dialect.linger_s:
                    asked.append(asyncio.ensure_future(made.connection.wait_closed()))
        if asked:
            await asyncio.wait(asked, timeout=RECONNECT_S)
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None
        if self._ending:
            await asyncio.wait(tuple(self._ending))

    def _connection_type(self) -> type[ServerConnection]:
        admission = self.admission

        class Counted(DirectConnection, ServerConnection):
            """A connection that counts from its first packet on."""

            _address: str | None = None

            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                peer = transport.get_extra_info("peername")
                address = str(peer[0]) if peer else ""
                super().connection_made(transport)
                if admission.admit(address):
                    self._address = address
                else:
                    self.transport.abort()

            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                if self._address is not None:
                    admission.release(self._address)
                    self._address = None

        return Counted

    # The handshake -------------------------------------------------------------------------------

    def _check(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuses a handshake with the status that says why."""
        door = self._door(request.path)
        if door is not None:
            try:
                page = door.check(Handshake(request.path, request.headers), time.time())
            except DoorClosed as closed:
                return connection.respond(closed.status, f"{closed.reason}\n")
            if page is None:
                return None
            response = connection.respond(page.status, page.body)
            del response.headers["Content-Type"]
            response.headers["Content-Type"] = page.content_type
            return response
        asked = _asked(request.path)
        if asked is None:
            return connection.respond(HTTPStatus.NOT_FOUND, "the path is /media/{call_id}\n")
        # The token first, so that nobody learns which calls exist.
        if not self._is_token(asked.call_id, asked.tokens):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "wrong token\n")
        line = self._find(asked.call_id)
        if line is None:
            return connection.respond(HTTPStatus.NOT_FOUND, "no such call\n")
        session = line.session
        try:
            _dialect_of(choose(_offered(request.headers)), asked.dialect)
        except WsRefused as refused:
            return connection.respond(HTTPStatus.BAD_REQUEST, f"{refused}\n")
        try:
            fits = asked.codec is None or format_of(asked.codec) == session.sound
        except ValueError as error:
            return connection.respond(HTTPStatus.BAD_REQUEST, f"{error}\n")
        if not fits:
            return connection.respond(
                HTTPStatus.BAD_REQUEST, f"the session's codec is {session.sound.codec}\n"
            )
        return None

    def _door(self, target: str) -> Door | None:
        """The door of a path: /media/{name}, or a page below it."""
        parts = target.partition("?")[0].split("/")
        return self._doors.get(parts[2]) if parts[:2] == ["", "media"] and parts[2:] else None

    def _is_token(self, call_id: str, tokens: Sequence[str]) -> bool:
        right = self._token_of(call_id).encode()
        return any(hmac.compare_digest(token.encode(), right) for token in tokens)

    # A connection --------------------------------------------------------------------------------

    async def _handle(self, made_by_us: ServerConnection) -> None:
        connection = cast(DirectConnection, made_by_us)  # as `_connection_type` says
        request = connection.request
        target, headers = ("", Headers()) if request is None else (request.path, request.headers)
        door, line = self._door(target), None
        if door is not None:
            made = _Connection(connection, door.greet(Handshake(target, headers)), door)
        else:
            asked = _asked(target)
            line = None if asked is None else self._find(asked.call_id)
            if asked is None or line is None:
                await connection.close(1011, "the call is over")
                return
            made = _Connection(connection, _dialect_of(connection.subprotocol, asked.dialect))
        self._connections.add(made)
        try:
            if line is not None:
                self._attach(made, line)
            await self._read(made)
        except WsRefused as refused:
            made.tell_refused(str(refused))
            logger.info(
                "closing the media connection: its peer breaks the protocol",
                call_id=None if made.line is None else made.line.session.call_id,
                reason=str(refused),
            )  # fmt: skip
            await connection.close(refused.code, str(refused)[:100])
        except NoSession as refused:
            logger.info("no session for a media connection", reason=str(refused))
            made.tell_refused(str(refused), refused.retry_after_s)
            await connection.close(1013 if refused.retry_after_s else 1008, str(refused)[:100])
        except TimeoutError:
            await connection.close(1008, "no message named a call in time")
        except ConnectionClosed:
            pass
        finally:
            self._connections.discard(made)
            if made.line is not None and made.transport is not None:
                receiver, session = made.transport.receiver, made.line.session
                if session.transport is made.transport:
                    session.heard(receiver.flush(), monotonic_us())
                made.line.closed(receiver)
                session.detach(made.transport)

    async def _read(self, made: "_Connection") -> None:
        connection = made.connection
        async with asyncio.timeout(OPEN_S) as opening:
            while made.line is None:
                if (message := await connection.first()) is None:
                    return
                at_us = monotonic_us()
                for heard in made.reader.take(message, at_us):
                    if isinstance(heard, Wanted):
                        opening.reschedule(None)
                        await self._found(made, heard)
                    else:
                        _take(made, heard, at_us)
        await connection.listen(made.take)

    async def _found(self, made: "_Connection", wanted: Wanted) -> None:
        """Finds or opens the call that a message names; raises NoSession and WsRefused."""
        if wanted.token is not None and not self._is_token(wanted.call_id, (wanted.token,)):
            raise NoSession("wrong token")
        line = self._find(wanted.call_id)
        if line is None:
            if wanted.session is None or self._open_session is None:
                raise NoSession("no such call")
            line = await self._open_session(wanted.session)
        self._attach(made, line)

    def _attach(self, made: "_Connection", line: WsLine) -> None:
        """Begins the call's sound on this connection; raises WsRefused."""
        for said in made.dialect.opened(line.session.sound):
            made.connection.put(said)
        receiver = line.open(monotonic_us(), made.dialect)
        made.line = line
        made.transport = WsTransport(
            made.connection, receiver, line.session, lambda: self._end(made)
        )
        line.session.attach(made.transport)

    def _end(self, made: "_Connection") -> None:
        if made.door is not None:
            task = asyncio.get_running_loop().create_task(made.door.end(made.dialect))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)


class _Connection:
    """One connection; its line is known from the start, or once a message has named it."""

    def __init__(
        self, connection: DirectConnection, dialect: Dialect, door: Door | None = None
    ) -> None:
        self.connection = connection
        self.dialect = dialect
        self.door = door
        self.reader = WsReader(dialect, monotonic_us())
        self.line: WsLine | None = None
        self.transport: WsTransport | None = None

    def take(self, message: Message) -> None:
        """A message of a connection whose call is known. Raises WsRefused."""
        at_us = monotonic_us()
        if self.transport is not None:
            self.transport.receiver.alive_us = at_us
        for heard in self.reader.take(message, at_us):
            _take(self, heard, at_us)

    def tell_refused(self, reason: str, retry_after_s: float | None = None) -> None:
        """Says in the peer's dialect why the connection is closed."""
        told = self.dialect.refused(reason, retry_after_s)
        if told is not None:
            self.connection.put(told)


def _take(made: _Connection, heard: Heard, at_us: int) -> None:
    line, transport = made.line, made.transport
    if isinstance(heard, Reply):
        made.connection.put(heard.message)
    elif line is None or transport is None:
        raise WsRefused("the first message names no call")
    elif isinstance(heard, Sound):
        session = line.session
        if session.transport is transport:
            session.heard(transport.receiver.audio(heard.payload, at_us, heard.lost), at_us)
    elif isinstance(heard, ControlMessage):
        session = line.session
        match heard.type:
            case "dtmf":
                session.heard(line.keys(transport.receiver, heard, at_us), at_us)
            case "clear":
                session.flush()
            case "hangup":
                session.hang_up("peer")
            case _:
                pass  # a mark is the echo of ours: the peer played up to there


def _offered(headers: Headers) -> list[str]:
    """Sub-protocols of a handshake, the preferred one first; raises WsRefused."""
    try:
        return [
            name
            for value in headers.get_all("Sec-WebSocket-Protocol")
            for name in parse_subprotocol(value)
        ]
    except InvalidHeader as error:
        raise WsRefused(str(error)) from None


def _select(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """The sub-protocol that is spoken; `_check` has refused what we do not speak."""
    try:
        chosen = choose(list(offered))
    except WsRefused:
        return None  # behind a door
    return None if chosen is None else Subprotocol(chosen)


def _dialect_of(chosen: str | None, named: str | None) -> Dialect:
    """The sub-protocol's dialect, else the one that the URL names, else our own."""
    name = chosen or named or OWN
    if name not in DIALECTS:
        raise WsRefused(f"unknown dialect; known: {', '.join(DIALECTS)}")
    return DIALECTS[name]()


class _Asked(NamedTuple):
    """What a URL asks for."""

    call_id: str
    codec: str | None
    dialect: str | None
    tokens: list[str]


def _asked(target: str) -> _Asked | None:
    """What a request target asks for; None for another path.

    Our `ws_url` has its query already; a client that adds codec and token once more means the same.
    """
    try:
        parts = urlsplit(target)
        query = parse_qs(parts.query.replace("?", "&"), max_num_fields=16)
    except ValueError:
        return None
    head, _, tail = parts.path.rpartition("/")
    if head != "/media" or not tail:
        return None
    codec, dialect = query.get("codec", [None])[0], query.get("dialect", [None])[0]
    return _Asked(unquote(tail), codec, dialect, query.get("token", []))
