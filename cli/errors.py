"""Exit codes and errors of the command: 0 good, 1 a check failed, 2 wrong usage, 3 not running."""

import socket
from urllib.parse import urlsplit

import click

from ringlog.settings import Settings

CHECK_FAILED, WRONG_USAGE, NOT_RUNNING = 1, 2, 3


class CheckFailed(click.ClickException):
    """A check failed."""

    exit_code = CHECK_FAILED


class NotRunning(click.ClickException):
    """The stack, or the part needed, is not running."""

    exit_code = NOT_RUNNING


def need_kafka(config: Settings) -> None:
    """Raises NotRunning when nothing listens at the broker's address."""
    host, _, port = config.kafka_bootstrap.split(",")[0].rpartition(":")
    _need("the broker", host, int(port))


def need_registry(config: Settings) -> None:
    """Raises NotRunning when nothing listens at the registry's address."""
    url = urlsplit(config.registry_url)
    _need("the schema registry", url.hostname or "", url.port or 80)


def need_clickhouse(config: Settings) -> None:
    """Raises NotRunning when nothing listens at ClickHouse's address."""
    _need("ClickHouse", *config.clickhouse_native)


def _need(what: str, host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        raise NotRunning(
            f"{what} does not answer at {host}:{port}; start the stack with `ringlog up -d`"
        ) from None
