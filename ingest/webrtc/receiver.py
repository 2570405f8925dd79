"""A browser's RTP, decrypted, for the receive side that all RTP calls share.

Each Opus packet becomes a packet of L16 of the same sequence and source, on the clock of the
session's sample rate. `ingest.rtp.receiver` then does order, loss, clocks, pauses and keys. A
packet that comes out of order is decoded when it comes; the decoder smooths over the seam.
"""

from collections.abc import Callable, Sequence
from typing import Final

from ingest.rtp.packet import (
    RtpError,
    TelephoneEvent,
    header,
    parse_event,
    serialise_event,
    timestamp_delta,
)
from ingest.rtp.receiver import MAX_SSRCS, Inbound, Receiver
from ingest.rtp.sources import Address
from ingest.sound.types import TELEPHONE_EVENT, Format, payload_type_of
from ingest.webrtc.offer import OPUS_CLOCK_HZ
from ingest.webrtc.opus import NotOpus, OpusDecoder

BROWSER: Final[Address] = ("browser", 0)
"""Stands for the far end: DTLS has proved who sends, whatever the address."""


class OpusReceiver:
    """The receive side of one browser's call. `call_ms` tells call time for an arrival."""

    def __init__(
        self,
        sound: Format,
        opus_type: int,
        event_type: int | None,
        call_ms: Callable[[int], int],
    ) -> None:
        self.rtp = Receiver(call_ms, BROWSER)
        self._ratio = OPUS_CLOCK_HZ // sound.rate_hz
        self._sound_type = payload_type_of(sound)
        self._opus_type, self._event_type = opus_type, event_type
        self._decoder = OpusDecoder(sound.rate_hz)
        self._last: dict[int, int] = {}  # extended timestamp by SSRC, at Opus' clock

    def receive(
        self, kind: int, seq: int, timestamp: int, ssrc: int, payload: bytes, now_us: int
    ) -> Sequence[Inbound]:
        """Takes one packet; returns what is in order now. Never raises on bad input."""
        if kind == self._opus_type:
            try:
                payload = self._decoder.decode(payload)
            except NotOpus:
                self.rtp.stats.malformed += 1
                return ()
            kind = self._sound_type
        elif kind == self._event_type:
            try:
                event = parse_event(payload)
            except RtpError:
                self.rtp.stats.malformed += 1
                return ()
            shorter = TelephoneEvent(
                event.event, event.end, event.volume, event.duration // self._ratio
            )
            kind, payload = TELEPHONE_EVENT, serialise_event(shorter)
        else:
            self.rtp.stats.payload_type += 1
            return ()
        ts = self._on_our_clock(ssrc, timestamp)
        return self.rtp.receive(header(kind, seq, ts, ssrc, False) + payload, BROWSER, now_us)

    def _on_our_clock(self, ssrc: int, timestamp: int) -> int:
        """A timestamp at the session's rate: extended first, since 2**32 is no multiple of the
        ratio."""
        last = self._last.get(ssrc)
        if last is None:
            if len(self._last) >= MAX_SSRCS:
                del self._last[next(iter(self._last))]
            extended = timestamp + 2**32
        else:
            extended = last + timestamp_delta(timestamp, last & 0xFFFFFFFF)
        self._last[ssrc] = extended
        return extended // self._ratio
