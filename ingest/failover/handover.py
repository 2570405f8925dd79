"""Socket hand-over: the spare holds the sockets of running calls too, so no word is lost while
nobody serves.

A socket lives as long as any process holds it. The serving edge passes every RTP socket to the
spare (SCM_RIGHTS, unix(7)), which reads nothing from it. When the edge dies, the kernel buffers
some seconds of what the far end sends, until the spare serves and reads it.

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

logger = log.logger("ringlog.ingest.handover")

_MESSAGE: Final = struct.Struct("!?H")
_AGAIN_S: Final = 0.5


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """A short name for a path: a Unix socket's path may have 107 bytes. Raises OSError."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


class HandoverReceiver:
    """The spare's side: keeps the sockets that the serving edge passes to it, and reads none."""

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

    def take_over(self) -> dict[int, socket.socket]:
        """Stops listening; returns the sockets by port, which the caller now owns."""
        if self._serving is not None:
            self._take(self._serving)
        sockets, self._sockets = self._sockets, {}
        self.close()
        return sockets

    def close(self) -> None:
        """Stops listening and closes every socket."""
        self._hang_up()
        asyncio.get_running_loop().remove_reader(self._listener.fileno())
        self._listener.close()
        self._path.unlink(missing_ok=True)
        self._drop()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            serving, _ = self._listener.accept()
            # Another edge serves, or the same one reconnected: it passes all of its sockets.
            self._hang_up()
            self._drop()
            serving.setblocking(False)
            self._serving = serving
            asyncio.get_running_loop().add_reader(serving.fileno(), partial(self._take, serving))

    def _take(self, serving: socket.socket) -> None:
        """Takes all messages that have arrived."""
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(serving, _MESSAGE.size, 1)
            except BlockingIOError:
                return
            except OSError:
                data, fds = b"", []
            if len(data) < _MESSAGE.size:
                self._hang_up()  # the serving edge is gone; its sockets are kept
                return
            opened, port = _MESSAGE.unpack(data)
            if (old := self._sockets.pop(port, None)) is not None:
                old.close()
            if opened and fds:
                self._sockets[port] = rtp_socket = socket.socket(fileno=fds[0])
                rtp_socket.set_inheritable(False)

    def _hang_up(self) -> None:
        serving, self._serving = self._serving, None
        if serving is not None:
            asyncio.get_running_loop().remove_reader(serving.fileno())
            serving.close()

    def _drop(self) -> None:
        for rtp_socket in self._sockets.values():
            rtp_socket.close()
        self._sockets.clear()


class HandoverSender:
    """The serving edge's side: passes each socket to the spare, and never waits for it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sockets: dict[int, socket.socket] = {}
        self._spare: socket.socket | None = None
        self._over = False

    async def run(self) -> None:
        """Looks for a spare, for ever."""
        while True:
            self.connect()
            await asyncio.sleep(_AGAIN_S)

    def connect(self) -> None:
        """Passes every socket to a spare that has just begun to listen."""
        if self._over or self._listens():
            return
        self._lose()
        spare = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        spare.setblocking(False)
        try:
            with _short(self._path) as name:
                spare.connect(name)
        except OSError:
            spare.close()
            return
        self._spare = spare
        for port, rtp_socket in self._sockets.items():
            self._send(True, port, rtp_socket)

    def opened(self, port: int, rtp_socket: socket.socket) -> None:
        """A call has opened its socket."""
        self._sockets[port] = rtp_socket
        self._send(True, port, rtp_socket)

    def closed(self, port: int) -> None:
        """The call is over: the spare closes its copy."""
        self._sockets.pop(port, None)
        self._send(False, port, None)

    def close(self) -> None:
        """Ends the connection for good; the spare keeps the sockets that it has."""
        self._over = True
        self._lose()

    def _listens(self) -> bool:
        """Whether the spare is still there. It never sends, so its socket has nothing to read."""
        try:
            return self._spare is not None and bool(self._spare.recv(1))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def _send(self, opened: bool, port: int, rtp_socket: socket.socket | None) -> None:
        if self._spare is None:
            return
        fds = [] if rtp_socket is None else [rtp_socket.fileno()]
        try:
            socket.send_fds(self._spare, [_MESSAGE.pack(opened, port)], fds)
        except OSError as error:  # gone or not reading: it gets every socket again
            logger.info("a socket did not reach the spare", why=str(error))
            self._lose()

    def _lose(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.close()
