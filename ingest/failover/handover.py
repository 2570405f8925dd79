"""The sockets of running calls, held by the spare too: no word is lost while nobody serves.

A socket lives as long as any process holds it. The edge that serves passes every RTP socket to the
spare (SCM_RIGHTS, unix(7)), which reads nothing from it. When the edge dies, what the far end sends
waits in the kernel's buffer, some seconds of it, until the spare serves and reads it.

Messages are packets of three bytes: whether the port was opened or closed, and the port.
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from ringlog import log

logger = log.logger("ringlog.ingest.heir")

_MESSAGE: Final = struct.Struct("!?H")
_AGAIN_S: Final = 0.5


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """Another name of a path: a Unix socket's may have 107 bytes. Raises OSError."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


class Heir:
    """The spare's side: holds what one serving edge passes to it."""

    def __init__(self, path: Path) -> None:
        """Listens at a path, readable by this user only. Raises OSError."""
        self._path = path
        self._sockets: dict[int, socket.socket] = {}
        self._serving: socket.socket | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.setblocking(False)
        with _short(path) as name:
            self._listener.bind(name)
        path.chmod(0o600)
        self._listener.listen()
        asyncio.get_running_loop().add_reader(self._listener.fileno(), self._accept)

    def inherit(self) -> dict[int, socket.socket]:
        """The sockets by port, now the caller's; ends listening."""
        if self._serving is not None:
            self._take(self._serving)
        sockets, self._sockets = self._sockets, {}
        self.close()
        return sockets

    def close(self) -> None:
        """Lets go of everything."""
        self._hang_up()
        asyncio.get_running_loop().remove_reader(self._listener.fileno())
        self._listener.close()
        self._path.unlink(missing_ok=True)
        self._drop()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            serving, _ = self._listener.accept()
            # Another edge serves, or the same one anew: it tells all that there is.
            self._hang_up()
            self._drop()
            serving.setblocking(False)
            self._serving = serving
            asyncio.get_running_loop().add_reader(serving.fileno(), partial(self._take, serving))

    def _take(self, serving: socket.socket) -> None:
        """Takes all messages that are there."""
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(serving, _MESSAGE.size, 1)
            except BlockingIOError:
                return
            except OSError:
                data, fds = b"", []
            if len(data) < _MESSAGE.size:
                self._hang_up()  # it is gone; what it had is kept
                return
            opened, port = _MESSAGE.unpack(data)
            if (old := self._sockets.pop(port, None)) is not None:
                old.close()
            if opened and fds:
                self._sockets[port] = held = socket.socket(fileno=fds[0])
                held.set_inheritable(False)

    def _hang_up(self) -> None:
        serving, self._serving = self._serving, None
        if serving is not None:
            asyncio.get_running_loop().remove_reader(serving.fileno())
            serving.close()

    def _drop(self) -> None:
        for held in self._sockets.values():
            held.close()
        self._sockets.clear()


class Bequest:
    """The serving edge's side. A spare that is not there, or does not read, costs nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sockets: dict[int, socket.socket] = {}
        self._heir: socket.socket | None = None
        self._over = False

    async def run(self) -> None:
        """Looks for a spare again and again, for ever."""
        while True:
            self.connect()
            await asyncio.sleep(_AGAIN_S)

    def connect(self) -> None:
        """Passes everything to the spare, if one listens that has not got it yet."""
        if self._over or self._listens():
            return
        self._lose()
        heir = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        heir.setblocking(False)
        try:
            with _short(self._path) as name:
                heir.connect(name)
        except OSError:
            heir.close()
            return
        self._heir = heir
        for port, held in self._sockets.items():
            self._send(True, port, held)

    def opened(self, port: int, held: socket.socket) -> None:
        """A call's socket."""
        self._sockets[port] = held
        self._send(True, port, held)

    def closed(self, port: int) -> None:
        """The call is over."""
        self._sockets.pop(port, None)
        self._send(False, port, None)

    def close(self) -> None:
        """Ends the connection for good; the spare keeps what it has."""
        self._over = True
        self._lose()

    def _listens(self) -> bool:
        """Whether the spare that has everything is still there: it never says anything."""
        try:
            return self._heir is not None and bool(self._heir.recv(1))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def _send(self, opened: bool, port: int, held: socket.socket | None) -> None:
        if self._heir is None:
            return
        fds = [] if held is None else [held.fileno()]
        try:
            socket.send_fds(self._heir, [_MESSAGE.pack(opened, port)], fds)
        except OSError as error:  # it is gone, or does not read: it gets all again
            logger.info("the spare is not told", why=str(error))
            self._lose()

    def _lose(self) -> None:
        heir, self._heir = self._heir, None
        if heir is not None:
            heir.close()
