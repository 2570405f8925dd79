"""A WebSocket whose sound is read past the library reads what the library would."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import cast
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.protocol import CLIENT, OPEN, SERVER, Protocol, Side

from ingest.ws.dialects.base import WsRefused
from ingest.ws.direct import MAX_FRAGMENTS, MAX_WAITING, DirectConnection, Message

MAX_SIZE = 1_000
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.written += b"<end>"

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        self.written += b"<abort>"


def opened(side: Side = SERVER) -> tuple[DirectConnection, Wire]:
    protocol, wire = Protocol(side, state=OPEN, max_size=MAX_SIZE), Wire()
    connection = DirectConnection(protocol, ping_interval=None)
    connection.connection_made(wire)
    return connection, wire


def listening(connection: DirectConnection, take: Callable[[Message], None]) -> asyncio.Task[None]:
    return asyncio.create_task(connection.listen(take))


async def read(
    parts: Sequence[bytes], side: Side, past_library: bool
) -> tuple[list[Message], bytes, str, str | None]:
    """What a connection finds in the octets, writes because of them, and how it stands then."""
    connection, wire = opened(side)
    connection._aligned = past_library
    found: list[Message] = []
    task = listening(connection, found.append)
    await asyncio.sleep(0)
    for part in parts:
        connection.data_received(part)
    connection.eof_received()
    state, error = connection.protocol.state.name, connection._failed
    failed = str(error.exception()) if error is not None and error.done() else None
    connection.connection_lost(None)
    await asyncio.gather(task, return_exceptions=True)
    return found, wire.written, state, failed


PAYLOADS = st.one_of(
    st.binary(max_size=300), st.just(bytes(160)), st.binary(min_size=125, max_size=127),
    st.just(bytes(MAX_SIZE + 1)),
)  # fmt: skip
FRAMES = st.one_of(
    st.builds(Frame, st.just(Opcode.BINARY), PAYLOADS),
    st.builds(Frame, st.just(Opcode.BINARY), PAYLOADS),
    st.builds(Frame, st.just(Opcode.TEXT), st.text(max_size=50).map(str.encode) | PAYLOADS),
    st.builds(Frame, st.sampled_from([Opcode.BINARY, Opcode.TEXT]), PAYLOADS, st.just(False)),
    st.builds(Frame, st.just(Opcode.CONT), PAYLOADS, st.booleans()),
    st.builds(Frame, st.just(Opcode.PING), st.binary(max_size=20)),
    st.just(Frame(Opcode.CLOSE, Close(CloseCode.NORMAL_CLOSURE, "").serialize())),
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[Side, list[bytes]]:
    side = draw(st.sampled_from([SERVER, CLIENT]))
    frames = draw(st.lists(FRAMES, max_size=8))
    wrong = draw(st.sampled_from([False, False, False, True]))  # about the mask
    wire = b"".join(f.serialize(mask=(side is SERVER) != wrong) for f in frames)
    wire += draw(st.binary(max_size=12))
    cuts = sorted(draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    return side, [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]


@settings(deadline=None, max_examples=60)
@given(streams())
def test_it_reads_what_the_library_reads(stream: tuple[Side, list[bytes]]) -> None:
    side, parts = stream

    async def both() -> None:
        assert await read(parts, side, True) == await read(parts, side, False)

    with patch("websockets.frames.secrets.token_bytes", return_value=b"mask"):
        asyncio.run(both())


@pytest.mark.parametrize("length", [1, 125, 126, 160, 3_200, 65_536])
def test_what_it_writes_is_a_frame(length: int) -> None:
    async def run() -> None:
        for side in (SERVER, CLIENT):
            connection, wire = opened(side)
            connection.put(bytes(length))
            other = Protocol(CLIENT if side is SERVER else SERVER, state=OPEN)
            other.receive_data(wire.written)
            assert other.events_received() == [Frame(Opcode.BINARY, bytes(length))]

    asyncio.run(run())


def test_messages_before_somebody_listens_wait_in_order_and_in_the_kernel() -> None:
    async def run() -> None:
        connection, wire = opened()
        sounds = [bytes([n]) * 160 for n in range(MAX_WAITING + 3)]
        connection.data_received(
            b"".join(Frame(Opcode.BINARY, sound).serialize(mask=True) for sound in sounds)
        )
        assert not wire.reading
        assert [await connection.first() for _ in range(2)] == sounds[:2]
        found: list[Message] = []
        task = listening(connection, found.append)
        await asyncio.sleep(0)
        assert found == sounds[2:] and wire.reading
        connection.connection_lost(None)
        await task
        assert await connection.first() is None

    asyncio.run(run())


def test_what_refuses_a_message_is_given_no_more() -> None:
    async def run() -> None:
        connection, _ = opened()
        seen: list[Message] = []

        def take(message: Message) -> None:
            seen.append(message)
            raise WsRefused("enough")

        task = listening(connection, take)
        await asyncio.sleep(0)
        connection.data_received(Frame(Opcode.BINARY, b"ab").serialize(mask=True) * 3)
        with pytest.raises(WsRefused, match="enough"):
            await task
        assert seen == [b"ab"]

    asyncio.run(run())


def test_a_message_of_endless_fragments_is_refused() -> None:
    async def run() -> None:
        connection, _ = opened()
        task = listening(connection, lambda message: None)
        await asyncio.sleep(0)
        connection.data_received(Frame(Opcode.BINARY, b"", False).serialize(mask=True))
        more = Frame(Opcode.CONT, b"", False).serialize(mask=True)
        connection.data_received(more * (MAX_FRAGMENTS + 5))
        assert len(connection._parts) <= MAX_FRAGMENTS
        with pytest.raises(WsRefused, match="fragments"):
            await task

    asyncio.run(run())


class Both(DirectConnection, ServerConnection):
    """As the media server has it."""


async def answered(talk: Callable[[asyncio.StreamWriter, asyncio.StreamReader], Awaitable[None]],
                   count: int) -> list[Message]:  # fmt: skip
    """What a server hears of a client that talks by a bare socket, until `count` messages came."""
    found: list[Message] = []
    enough = asyncio.Event()

    def take(message: Message) -> None:
        found.append(message)
        if len(found) == count:
            enough.set()

    async def handle(connection: ServerConnection) -> None:
        await cast(DirectConnection, connection).listen(take)

    async with serve(handle, "127.0.0.1", 0, create_connection=Both) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await talk(writer, reader)
        await asyncio.wait_for(enough.wait(), 30)
        writer.close()
    return found


@pytest.mark.parametrize("step", [1, 3, 7, len(HANDSHAKE)])
def test_sound_may_follow_the_handshake_in_any_pieces(step: int) -> None:
    sound = Frame(Opcode.BINARY, bytes(160)).serialize(mask=True)

    async def talk(writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> None:
        for at in range(0, len(HANDSHAKE), step):
            writer.write(HANDSHAKE[at : at + step])
            await asyncio.sleep(0)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sound + sound[:5])
        await asyncio.sleep(0)
        writer.write(sound[5:])

    assert asyncio.run(answered(talk, 2)) == [bytes(160)] * 2


def test_sound_before_the_servers_answer_is_heard_too() -> None:
    sound = Frame(Opcode.BINARY, bytes(160)).serialize(mask=True)

    async def talk(writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> None:
        writer.write(HANDSHAKE + sound + sound[:3])
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sound[3:] + sound)

    assert asyncio.run(answered(talk, 3)) == [bytes(160)] * 3
