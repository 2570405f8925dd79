"""Which user owns the other end of a connection within this machine, as the kernel tells it."""

import socket
import struct
from pathlib import Path
from typing import Final

End = tuple[str, int]
"""Address and port of one end of a connection."""

# From linux/netlink.h, linux/sock_diag.h and linux/inet_diag.h.
_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST: Final = 1

_HEADER: Final = struct.Struct("=IHHII")
"""nlmsghdr: length, type, flags, sequence, port id."""

_REQUEST: Final = struct.Struct("=BBBxI")
"""inet_diag_req_v2 before its socket id: family, protocol, extensions, states."""

_ANY_SOCKET: Final = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
"""End of a socket id: no interface, no cookie."""

_UID_AT: Final = _HEADER.size + 64
"""Where an answer's inet_diag_msg holds the user id."""


def owner_of(far: End, near: End) -> int | None:
    """User id of the process whose socket is bound to `far` and connected to `near`; None where
    there is none. Raises OSError, and ValueError for what is no address.

    One question to sock_diag(7), whose cost does not grow with the machine's connections. A kernel
    without it is read by the table of proc(5), which does.
    """
    try:
        return _asked(far, near)
    except (OSError, struct.error):
        return _read(far, near)


def _asked(far: End, near: End) -> int:
    family = _family(far[0])
    ports = struct.pack("!HH", far[1], near[1])
    hosts = b"".join(socket.inet_pton(family, host).ljust(16, b"\0") for host in (far[0], near[0]))
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0xFFFFFFFF) + ports + hosts + _ANY_SOCKET
    head = _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(1.0)
        kernel.send(head + body)
        answer = kernel.recv(4_096)
    if _HEADER.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
        raise OSError("the kernel tells no owner")
    (uid,) = struct.unpack_from("=I", answer, _UID_AT)
    return int(uid)


def _read(far: End, near: End) -> int | None:
    table = "/proc/net/tcp6" if ":" in far[0] else "/proc/net/tcp"
    wanted = [_as_in_table(*far), _as_in_table(*near)]
    for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if fields[1:3] == wanted:
            return int(fields[7])
    return None


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _as_in_table(host: str, port: int) -> str:
    """An address as the kernel prints it: 32-bit words in the machine's byte order, in hex."""
    raw = socket.inet_pton(_family(host), host)
    words = (raw[n : n + 4][::-1].hex().upper() for n in range(0, len(raw), 4))
    return f"{''.join(words)}:{port:04X}"
