"""The whole server: engine, listeners, and an orderly end."""

from __future__ import annotations

import asyncio
import errno
import logging

from sql.server.config import ServerConfig
from sql.server.engine import Engine
from sql.server.metrics import Metrics
from sql.server.native import NativeConnection

log = logging.getLogger(__name__)

_BACKLOG = 128


class PortInUseError(RuntimeError):
    """A port is taken; the message says which."""


class Server:
    """Start it, wait, stop it. The ports are known after ``start()``."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.engine = Engine(config)
        self.metrics = Metrics()
        self.native_port = config.native_port
        self._native: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Open the engine and listen. Raises PathInUseError or PortInUseError."""
        await self.engine.start()
        try:
            self._native = await asyncio.start_server(
                self._accept, self.config.host, self.config.native_port, backlog=_BACKLOG
            )
        except OSError as error:
            raise port_error(error, self.config.host, self.config.native_port) from error
        self.native_port = self._native.sockets[0].getsockname()[1]

    def ports(self) -> dict[str, int]:
        """The ports that are listened on, by name."""
        return {"native": self.native_port}

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= self.config.limits.connections:
            log.warning("too many connections: one refused")
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self.metrics.connections.inc()
        try:
            await NativeConnection(self.engine, reader, writer, self.metrics).serve()
        finally:
            self.metrics.connections.dec()
            self._connections.discard(task)

    async def stop(self) -> bool:
        """Stop listening, kill what runs, close everything.

        Returns whether all of it ended in time; if not, leave the process by force.
        """
        if self._native is not None:
            self._native.close()
        connections = set(self._connections)
        for task in connections:
            task.cancel()
        await self.engine.kill_all()
        left: set[asyncio.Task[None]] = set()
        if connections:
            _, left = await asyncio.wait(connections, timeout=self.config.limits.shutdown_s)
        if left:
            log.warning("%d connections did not end in time", len(left))
            return False
        await self.engine.close()
        return True


def port_error(error: OSError, host: str, port: int) -> PortInUseError:
    """Say what is wrong with a port."""
    if error.errno == errno.EADDRINUSE:
        return PortInUseError(f"Port {port} on {host} is in use by another process")
    return PortInUseError(f"Cannot listen on {host}:{port}: {error.strerror or error}")
