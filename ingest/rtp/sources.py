"""Whose packets are heard: the far end's address and SSRC, and when another takes its place.

A far end changes its port (re-INVITE, NAT, relay) or its SSRC (RFC 3550 section 8) and must be
followed; a stray packet, a second stream or a stranger must not. So what comes from elsewhere is a
candidate: its packets are kept, and it takes over after enough of them in sequence (probation, RFC
3550 app. A.1) once the source in use has been silent. How long depends on the evidence:

| candidate | source silent for | packets in sequence |
|---|---|---|
| announced, while something else is heard | 0 | 2 |
| same SSRC, sequence going on, another address | 0.3 s | 3 |
| same address, another SSRC | 0.2 s, doubled every 8 changes | 3 |
| nothing of the above | 1 s; 5 s where silence is suppressed | 25 |

If nothing was heard yet, the announced address or SSRC is accepted at once. If neither was
announced, the first packet is accepted; a packet that contradicts them, after 10 in sequence. Pure:
no socket, no clock.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ingest.rtp.packet import sequence_delta

Address = tuple[str, int]

MAX_CANDIDATES: Final = 8
MAX_KEPT: Final = 64
"""Candidates at once, and packets kept of each."""

MAX_SKIP: Final = 5
"""Packets that a candidate may lose in a row."""

FORGET_US: Final = 1_000_000
"""A candidate that is silent for this long starts its count again."""

MOVED_US: Final = 300_000
CHANGED_US: Final = 200_000
LONGEST_CHANGE_US: Final = 5_000_000
STRANGER_US: Final = 1_000_000
STRANGER_SUPPRESSED_US: Final = 5_000_000
STRANGER_PACKETS: Final = 25
UNANNOUNCED_PACKETS: Final = 10
CHANGED_PACKETS: Final = 3
ANNOUNCED_PACKETS: Final = 2


class RtpData(NamedTuple):
    """One packet of sound, as it came."""

    kind: int
    seq: int
    timestamp: int
    ssrc: int
    payload: bytes
    arrival_us: int


@dataclass(slots=True)
class Candidate:
    """A source that is not heard yet."""

    address: Address
    ssrc: int
    next_seq: int = 0
    count: int = 0
    last_us: int = 0
    kept: list[RtpData] = field(default_factory=list)

    def push(self, packet: RtpData) -> None:
        """Takes its next packet; one out of sequence restarts the count."""
        skipped = sequence_delta(packet.seq, self.next_seq)
        if not 0 <= skipped <= MAX_SKIP or packet.arrival_us - self.last_us > FORGET_US:
            self.count = 0
            self.kept.clear()
        self.next_seq = packet.seq + 1 & 0xFFFF
        self.count += 1
        self.last_us = packet.arrival_us
        self.kept = [*self.kept[1 - MAX_KEPT :], packet]


class Gate:
    """Decides whose packets one call hears.

    `remote` is where we send to: the announced address until something is heard, then its source.
    """

    def __init__(self, remote: Address | None = None, ssrc: int | None = None) -> None:
        self.remote = remote
        self.address: Address | None = None  # of the source in use
        self.ssrc: int | None = None
        self.alive_us: int | None = None  # its last packet of any kind
        self.suppresses_silence = False
        self.changes = 0
        self._announced = remote
        self._announced_ssrc = ssrc
        self.packets = 0  # of the source in use
        self._candidates: dict[tuple[Address, int], Candidate] = {}

    def announce(self, remote: Address, ssrc: int | None) -> None:
        """The far end's address, and its SSRC if known, as announced by signalling."""
        self._announced, self._announced_ssrc = remote, ssrc
        if self.ssrc is None or self.ssrc != ssrc:
            self.remote = remote

    def restore(self, address: Address | None) -> None:
        """The source that an earlier edge heard."""
        self.remote = self._announced = address

    def push(self, packet: RtpData, address: Address, going_on: bool) -> list[RtpData] | None:
        """Takes a packet of sound from another source than that in use.

        `going_on`: it has the SSRC in use, and follows its packets in sequence and time. Returns
        all packets kept of the source when it becomes the one in use; else None.
        """
        key = (address, packet.ssrc)
        candidate = self._candidates.get(key)
        if candidate is None:
            if len(self._candidates) >= MAX_CANDIDATES:
                oldest = min(self._candidates, key=lambda k: self._candidates[k].last_us)
                del self._candidates[oldest]
            candidate = self._candidates[key] = Candidate(address, packet.ssrc)
            candidate.next_seq, candidate.last_us = packet.seq, packet.arrival_us
        candidate.push(packet)
        if not self._takes_over(candidate, going_on, packet.arrival_us):
            return None
        self._candidates.clear()
        if self.ssrc is not None and not going_on:
            self.changes += 1
        if going_on or self._announced is None:
            self._announced = address  # it has proved to be the far end
        self.address = self.remote = address
        self.ssrc, self.packets = packet.ssrc, candidate.count
        self.alive_us, self.suppresses_silence = packet.arrival_us, False
        return candidate.kept

    def keeps(self, now_us: int) -> bool:
        """True while packets are kept that are likely to be the far end's: it is not silent."""
        likely = (self.address, self._announced)
        return any(
            (c.ssrc == self.ssrc or c.address in likely) and now_us - c.last_us < CHANGED_US // 2
            for c in self._candidates.values()
        )

    def _takes_over(self, it: Candidate, going_on: bool, now_us: int) -> bool:
        announced = it.address == self._announced
        if self.ssrc is None:
            if announced or it.ssrc == self._announced_ssrc:
                return True
            unannounced = self._announced is None and self._announced_ssrc is None
            return unannounced or it.count >= UNANNOUNCED_PACKETS
        same_address = it.address == self.address
        if it.count < ANNOUNCED_PACKETS:
            return False
        if self.packets < CHANGED_PACKETS and it.count > self.packets:
            return True  # what is in use may itself be a stray packet
        if announced and not same_address and it.ssrc != self.ssrc:
            return True
        if it.ssrc == self._announced_ssrc and self.ssrc != self._announced_ssrc:
            return True
        quiet_us = now_us - (self.alive_us or 0)
        if it.ssrc == self.ssrc:
            if going_on:
                return it.count >= CHANGED_PACKETS and quiet_us >= MOVED_US
        elif same_address:
            needed_us = min(CHANGED_US << min(self.changes // 8, 5), LONGEST_CHANGE_US)
            return it.count >= CHANGED_PACKETS and quiet_us >= needed_us
        stranger_us = STRANGER_SUPPRESSED_US if self.suppresses_silence else STRANGER_US
        return it.count >= STRANGER_PACKETS and quiet_us >= stranger_us
