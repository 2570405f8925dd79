"""A browser's connection as a session's transport."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from ingest.rtp.opus import OPUS_CLOCK_HZ
from ingest.rtp.receiver import ReceiveStats
from ingest.rtp.wire import FrameEncoder
from ingest.sound.clock import monotonic_us
from ingest.sound.playout import KeyTick
from ingest.sound.session import Session
from ingest.sound.silence import RTP_SILENCE, SilenceRule
from ingest.sound.types import FRAME_MS, Digit, Frame
from ingest.webrtc.offer import Offer
from ingest.webrtc.peer import Peer
from ingest.webrtc.receiver import BrowserReceiver, wire_of_offer
from ringlog import log
from ringlog.metrics import RTP_PACKETS_DROPPED, RTP_PACKETS_LOST

logger = log.logger("ringlog.ingest.webrtc")

CONNECT_US: Final = 15_000_000
"""How long ICE and DTLS may take."""

LOST_US: Final = 15_000_000
"""A browser sends all the time, muted or not: after this long without a packet it is gone."""

COUNT_POLLS: Final = 50

_FRAME_TICKS: Final = OPUS_CLOCK_HZ * FRAME_MS // 1000


class BrowserTransport:
    """One connection, over which the session is heard from now on. It tells the session when the
    browser goes: `peer` ended the call, or is `lost`."""

    def __init__(self, session: Session, offer: Offer, peer: Peer) -> None:
        self.peer = peer
        self._session = session
        self._wire = wire_of_offer(offer)
        self._receiver = BrowserReceiver(offer, session.clock.call_ms)
        self._encoder = FrameEncoder(self._wire)
        self._quiet = bytes(session.sound.frame_bytes)
        self._opened_us = monotonic_us()
        self._first_ts: int | None = None
        self._next_ts = 0  # of the next packet that we send, at Opus' clock
        self._sent = False  # in this tick
        self._closed = False
        self._keyed = False
        self._counted = ReceiveStats()
        self._polls = 0
        peer.listen(self._packet, self._state_changed)

    @property
    def silence(self) -> SilenceRule:
        """As for RTP: packets come every 20 ms."""
        return RTP_SILENCE

    @property
    def alive_us(self) -> int | None:
        """When the browser's last packet came."""
        return self._receiver.rtp.alive_us

    @property
    def holding(self) -> bool:
        """True while packets are held for a missing one."""
        return self._receiver.rtp.waiting

    @property
    def ready(self) -> bool:
        """Whether the browser hears us: it is connected and has asked for our voice."""
        return not self._closed and self.peer.talks_back and self.peer.connected

    def send_frame(self, frame: bytes, seq: int, ts: int, talkspurt: bool) -> bool:
        """Encodes and queues 20 ms of sound."""
        if not self.ready:
            return False
        if self._first_ts is None:
            self._first_ts = ts
        self._send(frame, self._wire.to_wire(ts - self._first_ts))
        self._sent = True
        return True

    def _send(self, frame: bytes, timestamp: int) -> None:
        timestamp = max(timestamp, self._next_ts)
        self._next_ts = timestamp + _FRAME_TICKS
        if payload := self._encoder.encode(frame):
            self.peer.track.push(payload, timestamp)

    def send_key(self, key: KeyTick, seq: int, ts: int) -> int:
        """Says once in the log that the key is lost: what we offer a browser is sound alone, and a
        browser tells its page of no key (RFC 4733) that comes with it."""
        if not self._keyed:
            self._keyed = True
            logger.warning("a browser takes no keys: they are lost", call_id=self._session.call_id)
        return 0

    def clear(self) -> None:
        """Forgets what is not sent yet; the browser buffers little."""
        self.peer.track.clear()

    def mark(self, name: str) -> None:
        """WebRTC has no marks."""

    def poll(self, now_us: int) -> Sequence[Frame | Digit]:
        """Overdue packets. Fills up what we send with silence, and looks for a browser that is
        gone."""
        if self.ready and not self._sent and self._first_ts is not None:
            # A browser conceals missing packets by what it heard before: an echo of the last word.
            self._send(self._quiet, self._next_ts)
        self._sent = False
        if not self._closed:
            self._look_after(now_us)
        return self._receiver.poll(now_us)

    def _look_after(self, now_us: int) -> None:
        self._polls += 1
        if self._polls % COUNT_POLLS == 0:
            self.count()
        alive_us = self.alive_us
        if self.peer.over:
            self._lost("failed")
        elif alive_us is None:
            if now_us - self._opened_us > CONNECT_US:
                self._lost("never_connected")
        elif now_us - alive_us > LOST_US:
            self._lost("silent")

    def flush(self) -> Iterable[Frame | Digit]:
        """Packets that are held."""
        return self._receiver.flush()

    def count(self) -> None:
        """Adds the counts since the last call to the metrics."""
        now, before = self._receiver.rtp.stats, self._counted
        if now.lost > before.lost:
            RTP_PACKETS_LOST.inc(now.lost - before.lost)
            before.lost = now.lost
        for why in ("duplicate", "late", "source", "malformed", "payload_type", "ssrc", "rate"):
            more = getattr(now, why) - getattr(before, why)
            if more:
                RTP_PACKETS_DROPPED.labels(why).inc(more)
                setattr(before, why, getattr(now, why))

    def close(self) -> None:
        """Ends the connection."""
        if self._closed:
            return
        self._closed = True
        self.count()
        _closing.add(task := asyncio.get_running_loop().create_task(self.peer.close()))
        task.add_done_callback(_closing.discard)

    # From the connection -------------------------------------------------------------------------

    def _packet(self, kind: int, seq: int, timestamp: int, ssrc: int, payload: bytes) -> None:
        session = self._session
        if session.transport is not self:
            return
        now_us = monotonic_us()
        items = self._receiver.receive(kind, seq, timestamp, ssrc, payload, now_us)
        if items:
            session.heard(items, now_us)

    def _state_changed(self, state: str) -> None:
        logger.debug("browser", call_id=self._session.call_id, state=state)
        if self._closed:
            return
        if state == "closed":
            self._closed = True
            self._session.hang_up("peer")
        elif state == "failed":
            self._lost("failed")

    def _lost(self, why: str) -> None:
        logger.info("the browser is gone", call_id=self._session.call_id, why=why)
        self._session.hang_up("lost")
        self.close()


_closing: Final[set["asyncio.Task[None]"]] = set()
"""Connections that are being closed: the loop itself holds no task."""
