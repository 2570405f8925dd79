"""Small AudioSocket applications, the floor of what any robot behind Asterisk can reach.

Protocol: a frame is its kind (1 byte), the length (2, big-endian), and the payload; Asterisk sends
the call's UUID (0x01) first, then 20 ms of signed 16-bit little-endian sound at 8 kHz (0x10).
"""

import asyncio
import contextlib
import struct

import numpy as np
from numpy.typing import NDArray

from bench.lines.meter import LOUD_RMS

_HEADER = struct.Struct(">BH")
_UUID, _SOUND = 0x01, 0x10
_FRAME_BYTES = 320
_MAX_PAYLOAD = 4_096
Int16 = NDArray[np.int16]


class EchoApplication:
    """Gives every frame back as it comes."""

    def reply(self, frame: Int16) -> Int16 | None:
        """What is sent for 20 ms that came."""
        return frame


class ContraryApplication:
    """Speaks a tone while the other side is silent, and is silent while it speaks.

    It decides by each frame's loudness alone, so it reacts as soon as anything could.
    """

    def __init__(self) -> None:
        t = np.arange(_FRAME_BYTES // 2) / 8_000
        self._tone = np.asarray(6_000 * np.sin(2 * np.pi * 500 * t), np.int16)

    def reply(self, frame: Int16) -> Int16 | None:
        """The tone, or nothing."""
        loud = float(np.sqrt(np.mean(frame.astype(np.float64) ** 2))) > LOUD_RMS
        return None if loud else self._tone


Application = EchoApplication | ContraryApplication


class AudioSocketFloor:
    """Serves one application on a port of 127.0.0.1; 0 takes a free one."""

    def __init__(self, application: Application, port: int = 0) -> None:
        self._application = application
        self._server: asyncio.Server | None = None
        self.port = port
        self._open: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    async def start(self) -> "AudioSocketFloor":
        """Listens."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        """Takes no more calls, and ends those that it has."""
        if self._server is not None:
            self._server.close()
        for writer in self._open.values():
            writer.close()
        await asyncio.gather(*(task for task in self._open if task))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._open[task] = writer
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind, length = _HEADER.unpack(await reader.readexactly(_HEADER.size))
                if length > _MAX_PAYLOAD:
                    break
                payload = await reader.readexactly(length)
                if kind == 0:
                    break
                if kind != _SOUND or length % 2:
                    continue
                answer = self._application.reply(np.frombuffer(payload, "<i2"))
                if answer is not None:
                    data = answer.astype("<i2").tobytes()
                    writer.write(_HEADER.pack(_SOUND, len(data)) + data)
        self._open.pop(task, None)
        writer.close()
