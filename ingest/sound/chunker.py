"""Cuts a leg's frames into chunks for the log.

A chunk is contiguous sound: it begins at the true timestamp of its first sample and ends at the
next multiple of 100 ms of RTP time, at a hole, or where the codec, the leg, the echo or what was
done to the sound changes. So
regular sound gives chunks that begin at multiples of 100 ms, a hole shows as the distance between
the end of one chunk and the `ts` of the next, and nothing is invented. `lost` counts
the packets missing just before the chunk; a hole with `lost` 0 is silence that was not sent.
"""

from typing import NamedTuple

from ingest.sound.types import CHUNK_MS, SAMPLE_BYTES, Chunk, CodecName, Frame, Leg, Silent


class LegEnd(NamedTuple):
    """The leg has ended; `ts` and `seq` are one past its last."""

    leg: Leg
    ts: int
    seq: int


Logged = Chunk | Silent | LegEnd


class Chunker:
    """Collects one direction of a call; holds at most one chunk's worth of sound."""

    def __init__(self) -> None:
        self.leg: Leg | None = None
        self._codec: CodecName = "pcmu"
        self._sample_bytes = 1
        self._echo = False
        self._cleaned = ""
        self._parts: list[bytes] = []
        self._start_ts = 0  # of what is pending
        self._end_ts = 0  # one past the last sample taken
        self._boundary_ts = 0
        self._first_seq = 0
        self._last_seq = 0
        self._lost = 0

    @property
    def end_ts(self) -> int:
        """One past the last sample taken."""
        return self._end_ts

    @property
    def next_seq(self) -> int:
        """One past the last packet taken."""
        return self._last_seq + 1

    @property
    def pending(self) -> bool:
        """True while sound waits for its chunk to fill."""
        return bool(self._parts)

    def push(self, frame: Frame) -> list[Logged]:
        """Takes the next frame in order; returns the chunks that it completed."""
        out: list[Logged] = []
        leg, seq, ts, payload, codec, lost, echo, cleaned = frame
        if (
            leg is not self.leg
            or codec != self._codec
            or echo != self._echo
            or cleaned != self._cleaned
        ):
            if leg is not self.leg:
                out += self.end()
                self._end_ts = leg.start_ts
            else:
                out += self.flush()
            self.leg, self._codec, self._sample_bytes = leg, codec, SAMPLE_BYTES[codec]
            self._echo, self._cleaned = echo, cleaned
        self._lost += lost
        if ts != self._end_ts:
            if ts < self._end_ts:  # overlaps what was taken: keep only what is new
                payload = payload[(self._end_ts - ts) * self._sample_bytes :]
                ts = self._end_ts
                if not payload:
                    return out
            else:
                out += self._cut(lost_before=lost)
        self._last_seq = seq
        while payload:
            if not self._parts:
                grid = leg.rate_hz * CHUNK_MS // 1000
                self._start_ts, self._first_seq = ts, seq
                self._boundary_ts = ts - ts % grid + grid
            samples = len(payload) // self._sample_bytes
            room = self._boundary_ts - ts
            if samples < room:
                self._parts.append(payload)
                self._end_ts = ts + samples
                break
            self._parts.append(payload[: room * self._sample_bytes])
            payload = payload[room * self._sample_bytes :]
            self._end_ts = ts = self._boundary_ts
            out += self._cut()
        return out

    def flush(self) -> list[Logged]:
        """Returns pending sound as a shorter chunk."""
        return self._cut()

    def end(self) -> list[Logged]:
        """Returns pending sound and the end of the leg."""
        out = self._cut()
        if self.leg is not None:
            out.append(LegEnd(self.leg, self._end_ts, self._last_seq + 1))
        self.leg = None
        return out

    def _cut(self, lost_before: int = 0) -> list[Logged]:
        """The pending chunk; `lost_before` of the count belongs to the chunk that follows."""
        if not self._parts or self.leg is None:
            return []
        lost, self._lost = self._lost - lost_before, lost_before
        payload = b"".join(self._parts)
        self._parts.clear()
        return [
            Chunk(
                self.leg, self._first_seq, self._start_ts, payload, self._codec, lost, self._echo,
                self._cleaned,
            )
        ]  # fmt: skip
