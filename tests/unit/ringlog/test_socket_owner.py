"""The kernel tells who owns the far end of a loopback connection."""

import os
import socket
from collections.abc import Callable

import pytest

from ringlog import socket_owner
from ringlog.socket_owner import End, owner_of


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("ask", [owner_of, socket_owner._asked, socket_owner._read])
def test_the_owner_of_a_connection_is_told(ask: Callable[[End, End], int], host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as server, socket.socket(family) as client:
        try:
            server.bind((host, 0))
        except OSError:
            pytest.skip(f"no {host} here")
        server.listen()
        client.connect(server.getsockname())
        far, near = client.getsockname()[:2], server.getsockname()[:2]
        assert ask(far, near) == os.getuid()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_nobody_owns_what_is_not_connected(host: str) -> None:
    assert owner_of((host, 1), (host, 2)) is None


def test_what_is_no_address_is_an_error() -> None:
    with pytest.raises((OSError, ValueError)):
        owner_of(("elsewhere", 1), ("127.0.0.1", 2))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can open a socket as somebody else")
@pytest.mark.parametrize("ask", [socket_owner._asked, socket_owner._read])
def test_another_user_is_told_from_us(ask: Callable[[End, End], int]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        os.seteuid(65_534)
        try:
            client = socket.create_connection(server.getsockname())
        finally:
            os.seteuid(0)
        with client:
            assert ask(client.getsockname(), server.getsockname()) == 65_534
