"""A WebSocket whose messages are taken as they come, and sent without waiting.

`websockets` queues messages for a task, and wakes it for each; a call brings 50 of them a second,
and takes as many. So the reader calls us here, and frames of sound (binary, whole, RFC 6455 section
5.2) are read and written past the library. Everything else is the library's: the handshake, texts,
fragments, pings, ends, and whatever breaks the protocol.
"""

import asyncio
import functools
from collections import deque
from collections.abc import Callable
from typing import Final

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import Connection
from websockets.frames import DATA_OPCODES, Frame, Opcode
from websockets.frames import apply_mask as unmask  # type: ignore[attr-defined] # compiled or not
from websockets.http11 import Request, Response
from websockets.protocol import Side, State

from ingest.ws.dialects.base import WsRefused

MAX_WAITING: Final = 16
"""Messages read while nobody takes them; more wait in the kernel."""

MAX_FRAGMENTS: Final = 64
"""Most frames of one message."""

Message = str | bytes

_HEAD_END: Final = b"\r\n\r\n"
_BINARY: Final = 0x82
_WHOLE: Final = frozenset({0x81, _BINARY, 0x88, 0x89, 0x8A})
"""First octets of frames that are whole messages: text, binary, close, ping, pong."""
_MASKED: Final = 0x80


class DirectConnection(Connection):
    """Either side; stands before the library's own class among a class's bases."""

    _take: Callable[[Message], None] | None = None
    _failed: asyncio.Future[None] | None = None
    _awaited: asyncio.Future[None] | None = None
    _full = False
    _aligned = True
    """False once a peer sends fragments, or breaks the protocol: then the library reads it all."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Of asyncio."""
        self._waiting: deque[Message | WsRefused] = deque()
        self._parts: list[Frame] = []
        self._held = b""
        self._masked = _MASKED if self.protocol.side is Side.SERVER else 0
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Of asyncio."""
        super().connection_lost(exc)
        self._wake()

    async def first(self) -> Message | None:
        """The next message, before `listen`; None once the connection is over. Raises WsRefused."""
        while not self._waiting:
            if self.state is State.CLOSED:
                return None
            self._awaited = self.loop.create_future()
            await self._awaited
        message = self._waiting.popleft()
        if len(self._waiting) < MAX_WAITING:
            self._read_on()
        if isinstance(message, WsRefused):
            raise message
        return message

    async def listen(self, take: Callable[[Message], None]) -> None:
        """Hands every message to `take` from now on, until the connection is over. Raises what
        `take` does, and WsRefused for what is no message; no more is taken then."""
        self._failed = self.loop.create_future()
        self._take = take
        while self._waiting and self._take is not None:
            self._hand(self._waiting.popleft())
        self._read_on()
        closed = asyncio.ensure_future(self.wait_closed())
        try:
            await asyncio.wait((closed, self._failed), return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                self._failed.result()
        finally:
            self._take = _pass_over
            closed.cancel()

    def put(self, message: Message) -> None:
        """Sends a message without waiting; a connection that is not open sends nothing."""
        if self.protocol.state is not State.OPEN:
            return
        if isinstance(message, str):
            self.protocol.send_text(message.encode())
            self.send_data()
        elif self._masked and len(message) < 1 << 16:  # a server's frames have no mask
            self.transport.write(_head(len(message)) + message)
        else:
            self.protocol.send_binary(message)
            self.send_data()

    def data_received(self, data: bytes) -> None:
        """Of asyncio: what came."""
        protocol = self.protocol
        if protocol.state is State.CONNECTING:
            self._shake_hands(data)
            return
        if self._held:
            data, self._held = self._held + data, b""
        if not self._aligned or protocol.state is not State.OPEN:
            super().data_received(data)
            return
        at, size = 0, len(data)
        while size - at >= 2:
            length = data[at + 1] & ~_MASKED
            masked, begins = data[at + 1] & _MASKED, at + 2
            if length == 126:
                if size - at < 4:
                    break
                length, begins = data[at + 2] << 8 | data[at + 3], at + 4
            if (
                data[at] not in _WHOLE
                or masked != self._masked
                or length == 127
                or length > (protocol.max_message_size or length)
            ):
                self._aligned = False
                super().data_received(data[at:])
                return
            if masked:
                begins += 4
            end = begins + length
            if end > size:
                break
            if data[at] == _BINARY and self._take is not None:
                sound = data[begins:end]
                self._hand(unmask(sound, data[begins - 4 : begins]) if masked else sound)
            else:
                super().data_received(data[at:end])
                if protocol.state is not State.OPEN:
                    super().data_received(data[end:])
                    return
            at = end
        self._held = data[at:]

    def _shake_hands(self, data: bytes) -> None:
        """The library reads the head alone, so that it does not begin to read the first frames."""
        before, self._held = len(self._held), self._held[-3:] + data
        at = self._held.find(_HEAD_END)
        before = min(before, 3)
        if at < 0:
            super().data_received(data)
            return
        end = at + len(_HEAD_END) - before
        self._held = b""
        super().data_received(data[:end])
        if not data[end:]:
            return
        if self.protocol.state is State.OPEN:
            self.data_received(data[end:])
        else:  # what came before our answer, or the body of a refusal
            self._aligned = False
            super().data_received(data[end:])

    def process_event(self, event: Frame | Request | Response) -> None:
        """Of the library: what the reader has found."""
        if not isinstance(event, Frame) or event.opcode not in DATA_OPCODES:
            super().process_event(event)
        elif event.fin and not self._parts:
            self._whole(event.opcode, event.data)
        else:
            self._part(event)

    def _part(self, frame: Frame) -> None:
        """A fragment; the library bounds what all of a message hold."""
        parts = self._parts
        parts.append(frame)
        if len(parts) > MAX_FRAGMENTS:
            parts.pop()
            self._hand(WsRefused("a message has too many fragments", 1009))
        elif frame.fin:
            self._parts = []
            self._whole(parts[0].opcode, b"".join(part.data for part in parts))

    def _whole(self, opcode: Opcode, data: bytes | bytearray | memoryview) -> None:
        if opcode is Opcode.BINARY:
            self._hand(bytes(data))
            return
        try:
            text = bytes(data).decode()
        except UnicodeDecodeError:
            self._hand(WsRefused("text is not UTF-8", 1007))
        else:
            self._hand(text)

    def _hand(self, message: Message | WsRefused) -> None:
        if self._take is None:
            self._waiting.append(message)
            if len(self._waiting) >= MAX_WAITING and not self._full:
                self._full = True
                self.transport.pause_reading()
            self._wake()
            return
        try:
            if isinstance(message, WsRefused):
                raise message
            self._take(message)
        except Exception as error:  # it ends `listen`, whose task closes the connection
            self._take = _pass_over
            if self._failed is not None and not self._failed.done():
                self._failed.set_exception(error)

    def _read_on(self) -> None:
        if self._full and not self.transport.is_closing():
            self.transport.resume_reading()
        self._full = False

    def _wake(self) -> None:
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(None)


class DirectClient(DirectConnection, ClientConnection):
    """Our side of a connection that we make."""


@functools.cache
def _head(length: int) -> bytes:
    """What begins a server's whole binary frame of less than 64 KiB."""
    if length < 126:
        return bytes((_BINARY, length))
    return bytes((_BINARY, 126)) + length.to_bytes(2)


def _pass_over(message: Message) -> None:
    """Nobody takes it any more."""
