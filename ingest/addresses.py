"""Addresses: where far ends and clients reach us, and where far ends say they are."""

import asyncio
import ipaddress
import socket
from typing import Final

from ingest.trunks.driver import MediaAddress, Refused
from ringlog.settings import Settings

_EVERYWHERE: Final = frozenset({"0.0.0.0", "::", ""})
"""Addresses to bind to that nobody can send to."""

_FAR: Final = ("192.0.2.1", 9)
"""An address that no machine has (RFC 5737): the route to it leads out of this machine."""

Q850_OUT_OF_ORDER: Final = 38


def rtp_host(config: Settings) -> str:
    """The host that far ends send RTP to: as set, else where we listen."""
    return config.rtp_host or _reachable(config.bind_host)


def media_ws_url(config: Settings) -> str:
    """The URL below which media WebSockets are opened: as set, else where we listen."""
    if config.media_url:
        return config.media_url.rstrip("/")
    host = _reachable(config.bind_host)
    host = f"[{host}]" if ":" in host else host
    return f"{config.media_scheme}://{host}:{config.port(config.media_ws_port)}/media"


def _reachable(bind_host: str) -> str:
    """An address at which others reach a socket bound to `bind_host`."""
    return _own_address() if bind_host in _EVERYWHERE else bind_host


def _own_address() -> str:
    """The address of this machine's outward interface. It asks the kernel's routes, sends no packet
    and asks no name server."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_FAR)
        except OSError:  # no route: this machine is alone
            return "127.0.0.1"
        return str(probe.getsockname()[0])


async def resolve(theirs: MediaAddress) -> tuple[str, int]:
    """A far end's numeric address; raises Refused for anything else."""
    if not 0 < theirs.port < 65536:
        raise Refused(Q850_OUT_OF_ORDER, None, "failed", "a media port is between 1 and 65535")
    try:
        return str(ipaddress.IPv4Address(theirs.host)), theirs.port
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    try:
        infos = await loop.getaddrinfo(theirs.host, theirs.port, family=socket.AF_INET)
    except (OSError, UnicodeError) as error:
        raise Refused(Q850_OUT_OF_ORDER, None, "failed", f"media host: {error}") from error
    return str(infos[0][4][0]), theirs.port
