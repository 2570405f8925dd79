"""The whole server: engine, listeners, and an orderly end."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Awaitable

from aiohttp import web

from sql.server.config import ServerConfig
from sql.server.engine import Engine
from sql.server.errors import TOO_MANY_SIMULTANEOUS_QUERIES, ServerError
from sql.server.http import HttpInterface
from sql.server.http_health import add_health_routes
from sql.server.metrics import Metrics
from sql.server.native import NativeConnection
from sql.server.protocol import packets

log = logging.getLogger(__name__)

# aiohttp logs parts of malformed requests with a traceback; they may hold personal data.
_QUIET = logging.getLogger("sql.server.http.malformed")
_QUIET.setLevel(logging.CRITICAL)
_FULL = "Too many connections to this server. (TOO_MANY_SIMULTANEOUS_QUERIES)"
_BACKLOG = 128
_MAX_URL_BYTES = 1 << 20


class PortInUseError(RuntimeError):
    """A port is taken; the message says which."""


class Server:
    """Start it, wait, stop it. The ports are known after ``start()``."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.engine = Engine(config)
        self.metrics = Metrics()
        self.native_port = config.native_port
        self.metrics_port: int | None = None
        self.http_port = config.http_port
        self._http = HttpInterface(self.engine, self.metrics)
        self._runners: list[web.AppRunner] = []
        self._listeners: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Open the engine and listen. Raises PathInUseError or PortInUseError."""
        await self.engine.start()
        try:
            await self._listen()
        except BaseException:
            await self.stop()
            raise

    async def _listen(self) -> None:
        config = self.config
        native = await _listening(
            asyncio.start_server(self._accept, config.host, config.native_port, backlog=_BACKLOG),
            config.host,
            config.native_port,
        )
        self._listeners.append(native)
        self.native_port = native.sockets[0].getsockname()[1]
        self.http_port = await self._listen_http(self._http.application(), config.http_port)
        if config.metrics_port is not None:
            app = web.Application()
            add_health_routes(app, self.engine, self.metrics)
            self.metrics_port = await self._listen_http(app, config.metrics_port)

    async def _listen_http(self, app: web.Application, port: int) -> int:
        runner = web.AppRunner(
            app,
            handle_signals=False,
            handler_cancellation=True,
            auto_decompress=False,
            access_log=None,
            logger=_QUIET,
            max_line_size=_MAX_URL_BYTES,
            keepalive_timeout=60.0,
            lingering_time=2.0,
            shutdown_timeout=self.config.limits.shutdown_s,
        )
        await runner.setup()
        self._runners.append(runner)
        server = runner.server
        assert server is not None
        limit = self.config.limits.http_connections

        def protocol() -> asyncio.BaseProtocol:
            if len(server.connections) >= limit:
                log.warning("too many HTTP connections: one refused")
                return _Refused()
            return server()

        listener = await _listening(
            asyncio.get_running_loop().create_server(
                protocol, self.config.host, port, backlog=_BACKLOG
            ),
            self.config.host,
            port,
        )
        self._listeners.append(listener)
        bound: int = listener.sockets[0].getsockname()[1]
        return bound

    def ports(self) -> dict[str, int]:
        """The ports that are listened on, by name."""
        known = {"native": self.native_port, "http": self.http_port}
        return known if self.metrics_port is None else known | {"metrics": self.metrics_port}

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= self.config.limits.connections:
            log.warning("too many connections: one refused")
            writer.write(packets.exception(ServerError(TOO_MANY_SIMULTANEOUS_QUERIES, _FULL)))
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self.metrics.connections.inc()
        try:
            await NativeConnection(self.engine, reader, writer, self.metrics).serve()
        except asyncio.CancelledError:
            pass  # at shutdown, while it was closing; asyncio would log it as a fault
        finally:
            self.metrics.connections.dec()
            self._connections.discard(task)

    async def stop(self) -> bool:
        """Stop listening, kill what runs, close everything.

        Returns whether all of it ended in time; if not, leave the process by force.
        """
        for listener in self._listeners:
            listener.close()
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
        for runner in self._runners:
            await runner.cleanup()
        await self._http.close()
        await self.engine.close()
        return True


class _Refused(asyncio.Protocol):
    """A connection too many: closed as soon as it is there."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


async def _listening(starting: Awaitable[asyncio.Server], host: str, port: int) -> asyncio.Server:
    try:
        return await starting
    except OSError as error:
        raise port_error(error, host, port) from error


def port_error(error: OSError, host: str, port: int) -> PortInUseError:
    """Say what is wrong with a port."""
    if error.errno == errno.EADDRINUSE:
        return PortInUseError(f"Port {port} on {host} is in use by another process")
    return PortInUseError(f"Cannot listen on {host}:{port}: {error.strerror or error}")
