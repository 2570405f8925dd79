"""Ports are checked before anything starts, so that a conflict names its cause."""

import errno
import socket
from collections.abc import Mapping

import psutil


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now (sockets in TIME_WAIT do not count)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno not in (errno.EADDRINUSE, errno.EACCES)
    return True


def holder(port: int) -> str:
    """Who listens on a TCP port, for people: name, pid and command line."""
    for connection in psutil.net_connections("tcp"):
        address = connection.laddr
        if connection.status != psutil.CONN_LISTEN or not address or address.port != port:
            continue
        if connection.pid is None:
            break
        try:
            process = psutil.Process(connection.pid)
            line = " ".join(process.cmdline())[:120]
            return f"{process.name()}, pid {connection.pid} ({line})"
        except psutil.Error:
            return f"pid {connection.pid}"
    return "a process of another user"


def conflicts(host: str, wanted: Mapping[int, str]) -> list[str]:
    """One line for each port that is taken: port, who wants it, who holds it."""
    return [
        f"port {port} ({purpose}) is held by {holder(port)}"
        for port, purpose in wanted.items()
        if not is_free(host, port)
    ]
