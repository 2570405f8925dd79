"""One connection of the media WebSocket as a session's transport."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from ingest.sound.playout import KeyTick
from ingest.sound.session import Session
from ingest.sound.silence import SilenceRule
from ingest.sound.types import SAMPLE_BYTES, Digit, Frame
from ingest.ws.dialects.base import ControlMessage
from ingest.ws.direct import DirectConnection
from ingest.ws.protocol import WS_SILENCE, WsReceiver, swapped
from ringlog.audio.g711 import SILENCE_BYTE
from ringlog.metrics import RTP_PACKETS_DROPPED

MAX_BUFFERED_BYTES: Final = 16_384
"""Sound that a slow peer may leave unread (1 s of L16 at 8 kHz) before the prompt waits."""


class WsTransport:
    """Frames and words out, held frames in."""

    def __init__(
        self,
        connection: DirectConnection,
        receiver: WsReceiver,
        session: Session,
        ended: Callable[[], None] | None = None,
    ) -> None:
        """`ended` is called once, when our side ends the call."""
        self.receiver = receiver
        self._session = session
        self._connection = connection
        self._open = True
        self._ended = ended
        self._silence = bytes([SILENCE_BYTE[session.sound.codec]]) * session.sound.frame_bytes
        self._frame_samples = session.sound.frame_samples
        self._next_ts: int | None = None
        self._swapped = receiver.dialect.little_endian and SAMPLE_BYTES[session.sound.codec] == 2

    @property
    def silence(self) -> SilenceRule:
        """Sound that TCP delays comes later, all at once; it is no silence."""
        return WS_SILENCE

    @property
    def alive_us(self) -> int | None:
        """When the peer's last message came."""
        return self.receiver.alive_us

    @property
    def holding(self) -> bool:
        """True while sound is held whose time is not known yet."""
        return self.receiver.waiting

    @property
    def ready(self) -> bool:
        """Whether the peer takes sound now: it is connected and reads what we send."""
        if not self._open:
            return False
        return self._connection.transport.get_write_buffer_size() <= MAX_BUFFERED_BYTES

    def send_frame(self, frame: bytes, seq: int, ts: int, talkspurt: bool) -> bool:
        """One message, without waiting: a tick must not be held up by a slow peer."""
        if not self.ready:
            RTP_PACKETS_DROPPED.labels("slow_peer").inc()
            return False
        dialect = self.receiver.dialect
        if dialect.gathers and ts != self._next_ts and frame == self._silence:
            return True
        self._next_ts = ts + self._frame_samples
        self.send(dialect.sound(swapped(frame) if self._swapped else frame))
        return True

    def send_key(self, key: KeyTick, seq: int, ts: int) -> int:
        """One text message a key press."""
        if key.n == 0:
            self.tell(ControlMessage("dtmf", digits=key.digit))
        return 0

    def clear(self) -> None:
        """Makes the peer clear its buffer; sent even to a slow peer, which needs it most."""
        self.tell(ControlMessage("clear"))

    def mark(self, name: str) -> None:
        """Sends a mark after everything sent so far."""
        self.tell(ControlMessage("mark", name=name))

    def tell(self, message: ControlMessage) -> None:
        """Says a word in the peer's dialect, if it has one."""
        if self._open:
            self.send(self.receiver.dialect.word(message))

    def send(self, message: str | bytes | None) -> None:
        """Sends a message without waiting."""
        if message is not None:
            self._connection.put(message)

    def poll(self, now_us: int) -> Sequence[Frame | Digit]:
        """Frames that were held until it was known what came before them."""
        return self.receiver.poll(now_us) if self.receiver.waiting else ()

    def flush(self) -> Iterable[Frame | Digit]:
        """All frames that are held."""
        return self.receiver.flush()

    def close(self) -> None:
        """Closes; reports that the call is over, unless it goes on by another connection."""
        if not self._open:
            return
        over = self._session.closed
        if over:
            self.tell(ControlMessage("hangup"))
            if self._ended is not None:
                self._ended()
        self._open = False
        asyncio.get_running_loop().create_task(self._close(over))

    async def _close(self, over: bool) -> None:
        linger_s = self.receiver.dialect.linger_s
        if linger_s and over:
            await asyncio.wait(
                (asyncio.ensure_future(self._connection.wait_closed()),), timeout=linger_s
            )
        await self._connection.close(reason="" if over else "another connection has this call")
