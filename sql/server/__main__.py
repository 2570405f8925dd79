"""``python -m sql.server``: run the embedded ClickHouse server."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from pathlib import Path

import click

from sql.server.app import PortInUseError, Server
from sql.server.config import MIB, EngineSettings, Limits, ServerConfig
from sql.server.datapath import PathInUseError
from sql.server.errors import ServerError

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command()
@click.option("--path", type=click.Path(path_type=Path), required=True, help="Data directory.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--native-port", default=19000, show_default=True, help="Native TCP; 0: any free.")
@click.option("--http-port", default=18123, show_default=True, help="HTTP; 0: any free.")
@click.option("--metrics-port", type=int, help="Metrics and health on a port of their own, too.")
@click.option("--user", default="default", show_default=True, help="The one user.")
@click.option("--password-env", help="Name of the environment variable with the password.")
@click.option("--database", default="ringlog", show_default=True, help="Made at the start.")
@click.option("--max-connections", default=200, show_default=True, help="Native connections.")
@click.option("--insert-mb", default=512, show_default=True, help="Most data of one INSERT.")
@click.option(
    "--insert-piece-mb",
    default=128,
    show_default=True,
    help="A native INSERT without a deduplication token is written in pieces of this size.",
)
@click.option(
    "--cors-origin",
    multiple=True,
    envvar="RINGLOG_CLICKHOUSE_CORS_ORIGINS",
    help="Web pages of this origin may ask over HTTP (https://tool.example); * for any.",
)
@click.option(
    "--allow-host",
    multiple=True,
    envvar="RINGLOG_CLICKHOUSE_HOSTS",
    help="A further name under which programs reach the HTTP port.",
)
@click.option("--memory-mb", default=2048, show_default=True, help="Most memory for queries.")
def main(
    path: Path,
    host: str,
    native_port: int,
    http_port: int,
    metrics_port: int | None,
    user: str,
    password_env: str | None,
    database: str,
    max_connections: int,
    insert_mb: int,
    insert_piece_mb: int,
    cors_origin: tuple[str, ...],
    allow_host: tuple[str, ...],
    memory_mb: int,
) -> None:
    """Run ClickHouse (chDB) in this process behind the native protocol and HTTP.

    Prints one JSON line with the ports when ready. SIGTERM and SIGINT end it.
    """
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    config = ServerConfig(
        path=path,
        host=host,
        native_port=native_port,
        http_port=http_port,
        metrics_port=metrics_port,
        user=user,
        password=_password(password_env),
        database=database,
        cors_origins=cors_origin,
        allowed_hosts=allow_host,
        limits=Limits(
            connections=max_connections,
            insert_bytes=insert_mb * MIB,
            insert_flush_bytes=insert_piece_mb * MIB,
        ),
        engine=EngineSettings(max_server_memory_usage=memory_mb * MIB),
    )
    if not config.password and host not in _LOOPBACK:
        logging.getLogger(__name__).warning("listening on %s without a password", host)
    try:
        clean = asyncio.run(_run(config))
    except (PathInUseError, PortInUseError, ServerError, OSError) as error:
        click.echo(f"Error: {error}", err=True)
        sys.stderr.flush()
        os._exit(1)  # engine threads must not hold up a start that failed
    if not clean:
        sys.stderr.flush()
        os._exit(0)


def _password(variable: str | None) -> str:
    if variable is None:
        return ""
    value = os.environ.get(variable)
    if value is None:
        raise click.UsageError(f"the environment variable {variable} is not set")
    return value


async def _run(config: ServerConfig) -> bool:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = Server(config)
    await server.start()
    click.echo(json.dumps({"ready": True} | server.ports()))
    sys.stdout.flush()
    await stop.wait()
    logging.getLogger(__name__).info("stopping")
    return await server.stop()


if __name__ == "__main__":
    main()
