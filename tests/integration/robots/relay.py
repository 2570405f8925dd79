"""A program in a network of its own, and the ways out of it, which a test can cut."""

import asyncio
import functools
import os
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Literal

from ringlog.settings import root
from stack import exec_shim

Cut = Literal["all", "writes"]
"""`all`: nothing passes in either direction. `writes`: what is produced does not reach the broker;
all else passes, also the broker's answers."""

_STARTS_WITHIN_S = 60.0
_PRODUCE = 0  # API key of Produce, the first field of a request (Kafka protocol guide)
_CHUNK_BYTES = 65_536


def _unshare() -> list[str]:
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", "--net", *as_root, "--"]


def start_apart(
    command: Sequence[str], ports: Sequence[int], out: IO[bytes] | int, env: dict[str, str]
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Starts a program in a namespace; returns it and the socket that its listeners come by.

    The process is the program itself, so its id is the one the program knows. It dies with the
    thread that called.
    """
    here, there = socket.socketpair()
    here.settimeout(_STARTS_WITHIN_S)
    with there:
        # After `unshare`, because a new user namespace takes back the wish to die with the parent.
        shim = [sys.executable, "-I", "-S", str(Path(exec_shim.__file__)), str(os.getpid())]
        island = [sys.executable, "-m", "tests.integration.robots.island", str(there.fileno())]
        process = subprocess.Popen(
            [*_unshare(), *shim, *island, *map(str, ports), "--", *command],
            cwd=root(), env=env, stdout=out, stderr=out, pass_fds=[there.fileno()],
        )  # fmt: skip
    return process, here


def receive_listeners(control: socket.socket, ports: Sequence[int]) -> dict[int, socket.socket]:
    """The listening sockets of a namespace, by port. Raises OSError when none come."""
    with control:
        _, fds, _, _ = socket.recv_fds(control, 16, len(ports))
    if len(fds) != len(ports):
        raise OSError("the namespace has not come up")
    return {p: socket.socket(fileno=fd) for p, fd in zip(ports, fds, strict=True)}


@functools.cache
def refusal() -> str | None:
    """Why this machine lets us have no network namespaces; None where it does."""
    try:
        process, control = start_apart(["true"], [9], subprocess.PIPE, dict(os.environ))
    except OSError as error:
        return str(error)
    with process:
        try:
            receive_listeners(control, [9])[9].close()
        except OSError as error:
            said = process.communicate()[1].decode(errors="replace").strip().splitlines()
            return said[-1] if said else str(error)
    return None


class Relay:
    """Hands connections of a namespace on to the same ports outside it, as long as it may."""

    def __init__(self, listeners: dict[int, socket.socket], kafka_port: int) -> None:
        self.passed_bytes = 0
        self._listeners, self._kafka_port = listeners, kafka_port
        self._servers: list[asyncio.Server] = []
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._open, self._writes_open = asyncio.Event(), asyncio.Event()
        self._open.set()
        self._writes_open.set()

    async def start(self) -> None:
        """Accepts from now on."""
        for port, listener in self._listeners.items():
            serve = functools.partial(self._serve, port)
            self._servers.append(await asyncio.start_server(serve, sock=listener))

    async def stop(self) -> None:
        """Accepts no more, and drops what is open."""
        for server in self._servers:
            server.close()
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    @contextmanager
    def cut(self, what: Cut = "all", *, reset: bool = False) -> Iterator[None]:
        """A black hole for a while: connections stay open, new ones hang, bytes wait and arrive
        when it ends. With `reset` they never do: both ends lose their connections then."""
        gate = self._open if what == "all" else self._writes_open
        gate.clear()
        passed = self.passed_bytes
        try:
            yield
            assert what == "writes" or self.passed_bytes == passed > 0
        finally:
            if reset:
                self._reset()
            gate.set()

    def _reset(self) -> None:
        for task, writer in self._connections.items():
            # Closed at once, with RST and without what waits: SO_LINGER 0, socket(7).
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            task.cancel()

    async def _passes(self, write: bool = False) -> None:
        while not (self._open.is_set() and (self._writes_open.is_set() or not write)):
            await self._open.wait()
            if write:
                await self._writes_open.wait()

    async def _serve(
        self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        try:
            with suppress(OSError, asyncio.CancelledError):
                await self._passes()
                await self._join(port, reader, writer)
        finally:
            del self._connections[task]
            writer.transport.abort()

    async def _join(
        self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Carries bytes both ways until one end closes."""
        down, up = await asyncio.open_connection("127.0.0.1", port)
        sent = _requests(reader) if port == self._kafka_port else _chunks(reader)
        pumps = [
            asyncio.create_task(self._pump(sent, up)),
            asyncio.create_task(self._pump(_chunks(down), writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            up.transport.abort()

    async def _pump(
        self, parts: AsyncIterator[tuple[bytes, bool]], writer: asyncio.StreamWriter
    ) -> None:
        writer.transport.set_write_buffer_limits(0)  # `drain` returns when all is written
        async for part, is_write in parts:
            await self._passes(is_write)
            self.passed_bytes += len(part)
            writer.write(part)
            await writer.drain()
        await self._passes()  # an end is not seen through a cut either


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[tuple[bytes, bool]]:
    """Bytes as they come, none of them a write."""
    while part := await reader.read(_CHUNK_BYTES):
        yield part, False


async def _requests(reader: asyncio.StreamReader) -> AsyncIterator[tuple[bytes, bool]]:
    """Whole requests to Kafka, and whether each is a Produce."""
    with suppress(asyncio.IncompleteReadError):
        while True:
            size = await reader.readexactly(4)
            request = await reader.readexactly(int.from_bytes(size))
            yield size + request, int.from_bytes(request[:2]) == _PRODUCE
