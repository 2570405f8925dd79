"""A browser's RTP, decrypted, for the receive side that all RTP calls share: order, loss, clocks,
pauses and keys are decided there, and Opus is decoded after that."""

from collections.abc import Callable, Sequence
from typing import Final

from ingest.rtp.opus import OPUS_CLOCK_HZ
from ingest.rtp.packet import header
from ingest.rtp.receiver import Inbound, Receiver
from ingest.rtp.sources import Address
from ingest.rtp.wire import FrameDecoder, Wire
from ingest.sound.types import TELEPHONE_EVENT, Digit
from ingest.webrtc.offer import Offer

BROWSER: Final[Address] = ("browser", 0)
"""Stands for the far end: DTLS has proved who sends, whatever the address."""

MAX_PAYLOAD_BYTES: Final = 2_000
"""Longest payload that is read; a datagram has no more."""


def wire_of_offer(offer: Offer) -> Wire:
    """Opus by the number that the browser gave it."""
    return Wire("opus", offer.opus_type, OPUS_CLOCK_HZ)


class BrowserReceiver:
    """The receive side of one browser's call. `call_ms` tells call time for an arrival."""

    def __init__(self, offer: Offer, call_ms: Callable[[int], int]) -> None:
        wire = wire_of_offer(offer)
        self.rtp = Receiver(
            call_ms, BROWSER, {wire.payload_type: wire.received},
            TELEPHONE_EVENT if offer.event_type is None else offer.event_type,
        )  # fmt: skip
        self._decoder = FrameDecoder(wire)

    def receive(
        self, kind: int, seq: int, timestamp: int, ssrc: int, payload: bytes, now_us: int
    ) -> Sequence[Inbound]:
        """Takes one packet; returns what is in order now. Never raises on bad input."""
        if len(payload) > MAX_PAYLOAD_BYTES:
            self.rtp.stats.malformed += 1
            return ()
        packet = header(kind, seq, timestamp, ssrc, False) + payload
        return self._decoded(self.rtp.receive(packet, BROWSER, now_us))

    def poll(self, now_us: int) -> Sequence[Inbound]:
        """Gives up on packets that are overdue."""
        return self._decoded(self.rtp.poll(now_us)) if self.rtp.waiting else ()

    def flush(self) -> Sequence[Inbound]:
        """What is held."""
        return self._decoded(self.rtp.flush())

    def _decoded(self, items: Sequence[Inbound]) -> Sequence[Inbound]:
        if not items:
            return items
        out: list[Inbound] = []
        for item in items:
            if isinstance(item, Digit):
                out.append(item)
            elif (frame := self._decoder.decode(item)) is not None:
                out.append(frame)
        self.rtp.stats.malformed += self._decoder.malformed
        self._decoder.malformed = 0
        return out
