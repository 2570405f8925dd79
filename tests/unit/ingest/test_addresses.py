"""The addresses that we tell others (review 15)."""

import ipaddress
import socket
from typing import Any

import pytest

from ingest import addresses
from ingest.trunks.driver import MediaAddress, Refused
from ringlog.settings import Settings


@pytest.fixture(autouse=True)
def no_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: object) -> str:
        raise AssertionError("a name server was asked")

    monkeypatch.setattr(socket, "gethostbyname", asked)


@pytest.mark.parametrize(
    ("fields", "rtp", "url"),
    [
        ({}, "127.0.0.1", "ws://127.0.0.1:18090/media"),
        ({"bind_host": "10.1.2.3"}, "10.1.2.3", "ws://10.1.2.3:18090/media"),
        ({"bind_host": "0.0.0.0", "rtp_host": "198.51.100.7", "media_url": "wss://m.example/media/"},
         "198.51.100.7", "wss://m.example/media"),
    ],
)  # fmt: skip
def test_what_is_advertised(fields: dict[str, Any], rtp: str, url: str) -> None:
    config = Settings(port_shift=0).model_copy(update=fields)
    assert (addresses.rtp_host(config), addresses.media_ws_url(config)) == (rtp, url)


def test_bound_to_all_an_address_of_this_machine_is_told() -> None:
    config = Settings(port_shift=0, bind_host="0.0.0.0")
    host = addresses.rtp_host(config)
    assert not ipaddress.IPv4Address(host).is_unspecified
    assert addresses.media_ws_url(config) == f"ws://{host}:18090/media"


@pytest.mark.parametrize(("host", "port"), [("10.0.0.1", 0), ("10.0.0.1", 70_000), ("x" * 70, 9)])
async def test_a_far_end_without_an_address_is_a_refusal(host: str, port: int) -> None:
    with pytest.raises(Refused):
        await addresses.resolve(MediaAddress(host, port, None))
