"""The wire of one native connection, as a running query uses it: packets in, bytes out, and
reading ahead for what ends the query."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sql.server.engine import Engine, EngineSession
from sql.server.errors import SOCKET_TIMEOUT, CancelledByClient, ProtocolError
from sql.server.metrics import Metrics
from sql.server.protocol import packets
from sql.server.protocol.blocks import BlockLimits, BlockShape, block, block_info
from sql.server.protocol.compression import frame
from sql.server.protocol.wire import NEED, Buffer, Parse, text

T = TypeVar("T")

READ_BYTES = 1 << 18
_TABLE_NAME_BYTES = 4_096
_COLUMN_NAME_BYTES = 65_536


class Disconnected(Exception):
    """The client has gone."""


class NativeLink:
    """Reads and writes for one client; the engine's session of the connection comes with it."""

    def __init__(
        self,
        engine: Engine,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        metrics: Metrics,
    ) -> None:
        self.engine = engine
        self.limits = engine.config.limits
        self.metrics = metrics
        self.revision = packets.REVISION
        self.compressed = False
        self._reader = reader
        self._writer = writer
        self._buffer = Buffer()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="native")
        self.session = EngineSession(engine, self._executor)

    @property
    def marked(self) -> bool:
        """Whether the blocks of both sides have a mark in each column."""
        return self.revision >= packets.WITH_MARKS

    async def read_block(self) -> tuple[BlockShape, memoryview]:
        """Read a Data packet behind its number: its shape and its Native bytes.

        The bytes are valid until the next read; release the view before that.
        """
        _, shape, native = await self.read_named_block()
        return shape, native

    async def read_named_block(self) -> tuple[str, BlockShape, memoryview]:
        """The same with the table's name in front."""
        name = await self.read(lambda buffer: text(buffer, _TABLE_NAME_BYTES))
        limits = BlockLimits(
            self.limits.block_bytes, self.limits.block_columns, self.marked, _COLUMN_NAME_BYTES
        )
        if not self.compressed:
            shape = await self.read(lambda buffer: _block(buffer, limits))
            return name, shape, _plain(shape, self._buffer.data)
        inner = Buffer()
        size = self.limits.frame_bytes
        shape = await self.read(lambda buffer: _framed_block(buffer, inner, limits, size))
        return name, shape, _plain(shape, inner.data)

    def compact(self) -> None:
        """Forget what has been read."""
        self._buffer.compact()

    async def read(self, parser: Callable[[Buffer], Parse[T]], timeout_s: float | None = None) -> T:
        """Run a parser over what arrives.

        Raises Disconnected, ProtocolError, or ServerError (SOCKET_TIMEOUT) when nothing arrives.
        """
        running = parser(self._buffer)
        while True:
            try:
                signal = next(running)
            except StopIteration as stop:
                result: T = stop.value
                return result
            if signal is NEED:
                await self._more(timeout_s or self.limits.receive_s)
            else:
                await asyncio.sleep(0)

    async def _more(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                received = await self._reader.read(READ_BYTES)
        except TimeoutError:
            raise ProtocolError(SOCKET_TIMEOUT, "Timeout exceeded while reading") from None
        if not received:
            raise Disconnected
        self._buffer.feed(received)

    def write(self, data: bytes) -> None:
        """Queue bytes for the client."""
        self._writer.write(data)

    async def drain(self) -> None:
        """Wait until the client has taken most of what is queued."""
        await self._writer.drain()

    async def cancellable(self, work: Awaitable[T]) -> T:
        """Await ``work`` while reading ahead: Cancel or a disconnect ends it.

        Raises CancelledByClient or Disconnected.
        """
        task = asyncio.ensure_future(work)
        watch = asyncio.ensure_future(self._watch())
        try:
            await asyncio.wait((task, watch), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            gone = watch.result()
            if gone is None:  # the next packet is no matter of this query
                return await task
            task.cancel()
            await asyncio.wait((task,))
            if not task.cancelled():
                task.exception()
            raise gone
        finally:
            for left in (task, watch):
                if not left.done():
                    left.cancel()
                    await asyncio.wait((left,))

    async def _watch(self) -> Exception | None:
        """Wait for what ends a running query; None when another packet comes, left unread."""
        while True:
            try:
                if not len(self._buffer):
                    await self._more(self.limits.idle_s)
            except (Disconnected, ConnectionError):
                return Disconnected()
            except ProtocolError:
                continue  # silence is fine while a query runs
            packet = self._buffer.data[self._buffer.pos]
            if packet == packets.CLIENT_CANCEL:
                self._buffer.pos += 1
                return CancelledByClient()
            if packet != packets.CLIENT_PING:
                return None
            self._buffer.pos += 1
            self.write(packets.pong())


def _plain(shape: BlockShape, data: bytearray) -> memoryview:
    if shape.marks:
        return memoryview(shape.plain(data))
    return memoryview(data)[shape.start : shape.end]


def _block(buffer: Buffer, limits: BlockLimits) -> Parse[BlockShape]:
    yield from block_info(buffer)
    return (yield from block(buffer, limits))


def _framed_block(
    outer: Buffer, inner: Buffer, limits: BlockLimits, frame_bytes: int
) -> Parse[BlockShape]:
    """A block inside compressed frames: frames are added to ``inner`` until it is complete."""
    running = _block(inner, limits)
    while True:
        try:
            signal = next(running)
        except StopIteration as stop:
            shape: BlockShape = stop.value
            return shape
        if signal is NEED:
            inner.feed((yield from frame(outer, frame_bytes)))
            outer.compact()
        else:
            yield signal
