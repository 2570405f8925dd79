"""How many connections the media server holds: in all, and from one address.

Counted before any handshake, so that half-open and slow peers count. Pure.
"""

import ipaddress
from collections import Counter
from typing import Final

MAX_CONNECTIONS: Final = 4_000
"""More calls than one edge serves; each connection buffers at most about 300 kB."""

MAX_PER_ADDRESS: Final = 1_000
"""A large switch has one address; this machine's own addresses may be a proxy's and are exempt."""


class Admission:
    """The connections of one server."""

    def __init__(self, total: int = MAX_CONNECTIONS, per_address: int = MAX_PER_ADDRESS) -> None:
        self._total = total
        self._per_address = per_address
        self._held: Counter[str] = Counter()
        self._count = 0

    @property
    def count(self) -> int:
        """Connections held now."""
        return self._count

    def admit(self, address: str) -> bool:
        """Counts a connection; False when there are too many, and then it is not counted."""
        if self._count >= self._total:
            return False
        if self._held[address] >= self._per_address and not _is_loopback(address):
            return False
        self._count += 1
        self._held[address] += 1
        return True

    def release(self, address: str) -> None:
        """A connection that was admitted is over."""
        self._count -= 1
        self._held[address] -= 1
        if self._held[address] <= 0:
            del self._held[address]


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
