"""From inside a network namespace: listens for a program whose network the test holds, becomes it.

`python -m tests.integration.robots.island CONTROL_FD PORT... -- PROGRAM ARG...`: brings `lo` up,
listens on 127.0.0.1 at each port, and sends the listening sockets over the Unix socket CONTROL_FD
(SCM_RIGHTS, unix(7)). A socket stays in the namespace where it was made, so whoever holds these
accepts, outside, the only connections that the program can open.
"""

import fcntl
import os
import socket
import struct
import sys

_SIOCSIFFLAGS = 0x8914  # netdevice(7)
_IFF_UP = 1


def lo_up() -> None:
    """A new namespace has the loopback interface, but switched off. Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))


def main(arguments: list[str]) -> None:
    """Never returns."""
    split = arguments.index("--")
    control, *ports = (int(a) for a in arguments[:split])
    program = arguments[split + 1 :]
    lo_up()
    listeners = [socket.create_server(("127.0.0.1", port)) for port in ports]
    with socket.socket(fileno=control) as test:
        socket.send_fds(test, [b"here"], [listener.fileno() for listener in listeners])
    os.execvp(program[0], program)


if __name__ == "__main__":
    main(sys.argv[1:])
