"""One call's cleaning beside the event loop: packets go to a thread and come back in order.

The loop gives packets with `push` and fetches what is done with `take`, at the next packet or tick,
at most 20 ms later. A call that ends does not wait for the thread: `finish` does the rest itself.
While `MOST_WAITING` packets wait, further ones are logged as they came, and say so.

By `auto` packets are passed on at once, as they came, until an echo is known. Those in which there
may be one are listened to on the thread; the first of them wait for what it finds.
"""

import os
import threading
from collections import deque
from queue import SimpleQueue
from typing import Final, NamedTuple

from ingest.sound.apm import Apm, load
from ingest.sound.clean import STEP_HZ, Cleaner, Job, Make, Module
from ingest.sound.cleaning import Cleaning
from ingest.sound.delay import HISTORY_MS, LONGEST_MS, WINDOW_MS
from ingest.sound.onset import level_db
from ingest.sound.played import Played
from ingest.sound.types import FRAME_MS, SAMPLE_BYTES, Format, Frame, Leg
from ringlog import log
from ringlog.audio.g711 import decode
from ringlog.metrics import RTP_PACKETS_DROPPED, SOUND_NOT_CLEANED

logger = log.logger("ringlog.ingest.clean")

MOST_WAITING: Final = 50
"""Packets of one call that wait for their thread: 1 s of sound."""

HOLD_TICKS: Final = 3
"""A packet waits for the tick that sends the reference beside it, usually the next one, for at most
so many: a reference that is younger than its echo cancels nothing, and an echo is as young as a
packet, 10 or 20 ms, where the far end is near."""

LATE: Final = 25
MOST_LEAD_MS: Final = 400
"""After so many packets in a row that waited longer the leg's first packet was late, and the
reference gets older by what they lacked; a stall of ours passes before."""

LOUD_DB: Final = 30.0
"""Level (`onset.level_db`) of a frame that may be an echo worth cancelling."""

NEAR_TICKS: Final = (LONGEST_MS + WINDOW_MS) // FRAME_MS
"""So long after our sound there may be an echo of it."""

ANSWERED_TICKS: Final = 32
"""Ticks of ours without anything loud beside them after which a line counts as clean: what comes
later is not held, and an echo that only begins then is heard until it is measured."""

HUNG_S: Final = 2.0
"""A packet takes a module 0.1 ms. One that takes this long is not waited for."""

BRIDGE_MS: Final = 600
"""Of a hole in the far end's sound, this much is filled for the canceller, so that what follows
stands beside its reference again. Of an echo 250 ms late with 5 % of its packets lost 14 % of the
frames stayed loud with nothing filled in, 0.4 % with silence, of 76 % that were."""


def apm_of(cleaning: Cleaning, rate_hz: int, reference_hz: int) -> Module:
    """The WebRTC module; raises ApmFailed."""
    return Apm(noise=cleaning.noise, echo=cleaning.echo, rate_hz=rate_hz, reference_hz=reference_hz)


class CleanThreads:
    """The threads of an edge: a call stays with one, so its packets stay in order."""

    def __init__(self, count: int | None = None) -> None:
        """`count`: None for one a spare core, at most 4; with 0 calls clean their own packets."""
        cores = os.cpu_count() or 1
        self._count = max(1, min(4, cores - 1)) if count is None else count
        self._queues: list[SimpleQueue[CleanLine | None]] = []
        self._next = 0

    def queue(self) -> "SimpleQueue[CleanLine | None] | None":
        """The queue of the thread that serves the next call; threads begin with the first calls."""
        if not self._count:
            return None
        n, self._next = self._next % self._count, self._next + 1
        if n == len(self._queues):
            made: SimpleQueue[CleanLine | None] = SimpleQueue()
            self._queues.append(made)
            threading.Thread(target=_serve, args=(made,), name=f"clean-{n}", daemon=True).start()
        return self._queues[n]

    def stop(self) -> None:
        """Ends the threads; all calls are over."""
        for queue in self._queues:
            queue.put(None)
        self._queues = []


def _serve(queue: "SimpleQueue[CleanLine | None]") -> None:
    load()  # while no call's packet waits for it
    while (line := queue.get()) is not None:
        line.work()


class _Held(NamedTuple):
    """A packet that waits for its reference, and so many ticks of it."""

    frame: Frame
    ticks: int
    seen: bool = False


class CleanLine:
    """The cleaning of one call. Only `work` runs on a thread."""

    def __init__(
        self, call_id: str, cleaning: Cleaning, sound: Format, threads: CleanThreads,
        make: Make = apm_of,
    ) -> None:  # fmt: skip
        """`sound`: what we send."""
        self.call_id = call_id
        self.cleaning = cleaning
        self.sound = sound
        self.lead_ms = 0
        """How much older the reference is than the far end's sound beside it, ms."""
        self._queue = threads.queue()
        self._lock = threading.Lock()  # of the cleaner; held for one packet
        self._held: deque[_Held] = deque()
        self._ticks = 0  # that are over
        self._waiting: deque[Job] = deque()
        self._done: deque[Frame] = deque()
        self._played = Played(sound.rate_hz)
        self._cleaner = Cleaner(cleaning, make, self._done, self._played)
        self._inside = 0
        self._failed = False
        self._hangs = False
        self._late: list[int] = []  # of the last packets in a row, ms
        self._said: tuple[int, int] | None = None  # ticks: our first sound, and our last
        self._answered = False
        self._passed: deque[Frame] = deque(maxlen=HISTORY_MS // FRAME_MS)
        self._leg: Leg | None = None
        self._end_ts = 0
        self._broken = True  # what follows does not go on where sound ended
        self._from_ts = 0  # of the sound since the last hole

    @property
    def holding(self) -> bool:
        """True while packets are not fetched yet."""
        return self._inside > 0

    def said(self, n: int, frame: bytes) -> None:
        """We sent `frame` in tick `n` of the call."""
        if self.cleaning.echo:
            self._played.write(n * self.sound.frame_samples, decode(self.sound.codec, frame))
            self._said = (n if self._said is None else self._said[0], n)

    def ticked(self, n: int) -> None:
        """Tick `n` of the call is over: what it did not send is silence."""
        self._ticks = n + 1
        if self._held:
            self._held = deque(held._replace(ticks=held.ticks + 1) for held in self._held)
            self._release()

    def push(self, frame: Frame) -> None:
        """Gives the next packet of the far end, in order."""
        passes = self.cleaning.echo and self._passes(frame)
        self._inside += 1
        if passes:
            self._done.append(frame)
        if not self.cleaning.echo:
            self._give(frame)
        elif not passes or self._held or self._may_echo(frame):
            self._held.append(_Held(frame, 0, seen=passes))
            self._release()
        else:
            self._pass(frame)

    def _passes(self, frame: Frame) -> bool:
        """Whether it is passed on at once, as it came: no echo is known."""
        if not self.cleaning.measured or self._cleaner.working:
            return False
        if self._inside > len(self._done):  # one before it is not done
            return False
        return self._answered or self._cleaner.decided or not self._may_echo(frame)

    def _may_echo(self, frame: Frame) -> bool:
        """Whether there may be an echo in it that is worth cancelling."""
        if self._said is None:
            return False
        first, last = self._said
        n = frame.leg.call_ms(frame.ts) // FRAME_MS
        if n - last > NEAR_TICKS:
            return False
        loud = level_db(frame.codec, frame.payload) >= LOUD_DB
        self._answered = self._answered or (not loud and n - first >= ANSWERED_TICKS)
        return loud

    def _pass(self, frame: Frame) -> None:
        """Not to the thread. A canceller that begins learns the line's noise from it."""
        if (
            frame.leg is not self._leg
            or (self._passed and frame.codec != self._passed[-1].codec)
            or frame.ts != self._end_ts
        ):
            self._passed.clear()
        self._passed.append(frame)
        self._leg = frame.leg
        self._end_ts = frame.ts + len(frame.payload) // SAMPLE_BYTES[frame.codec]
        self._broken = True

    def _release(self, everything: bool = False) -> None:
        """Gives on what has its reference, or waited for it long enough."""
        self._played.silence(self._ticks * self.sound.frame_samples)
        while self._held:
            frame, ticks, seen = self._held[0]
            late_ms = self._late_ms(frame)
            waits = late_ms > 0 and ticks < HOLD_TICKS and len(self._held) < MOST_WAITING
            if waits and not everything:
                return
            self._held.popleft()
            late_ms += (ticks - 1) * FRAME_MS
            self._late = [*self._late, late_ms] if late_ms > 0 else []
            if len(self._late) == LATE:
                older_ms = -(-min(self._late) // 10) * 10
                self.lead_ms = min(MOST_LEAD_MS, self.lead_ms + older_ms)
                self._late = []
            self._give(frame, seen)

    def _late_ms(self, frame: Frame) -> int:
        """How much later what is needed of ours will be sent; 0 or less: it has been."""
        samples = len(frame.payload) // SAMPLE_BYTES[frame.codec]
        needed_ms = frame.leg.call_ms(frame.ts + samples) - self.lead_ms
        return needed_ms - self._played.end * 1000 // self._played.rate_hz

    def _give(self, frame: Frame, seen: bool = False) -> None:
        job = self._job(frame)._replace(seen=seen)
        if self._failed or len(self._waiting) >= MOST_WAITING:
            self._broken = True
            if seen:
                return
            SOUND_NOT_CLEANED.inc()
            job = Job(frame, raw=True)
        if len(self._waiting) >= 2 * MOST_WAITING:  # the thread has no time, or it hangs
            self._hangs = self._hangs or not self.work(HUNG_S)
            if self._hangs:
                RTP_PACKETS_DROPPED.labels("cleaning").inc()
                self._inside -= 1
                return
        self._waiting.append(job)
        if self._queue is None:
            self.work()
        else:
            self._queue.put(self)

    def take(self) -> list[Frame]:
        """The packets that are done."""
        out: list[Frame] = []
        while self._done:
            out.append(self._done.popleft())
        self._inside -= len(out)
        return out

    def finish(self) -> list[Frame]:
        """All packets, also those that wait for the rest of a block: sound has ended here."""
        self._release(everything=True)
        if self.work(HUNG_S) and self._lock.acquire(timeout=HUNG_S):
            self._try(None)
            self._lock.release()
        else:
            logger.error("cleaning hangs; its last sound is lost", call_id=self.call_id)
        self._broken = True
        return self.take()

    def work(self, patience_s: float = -1) -> bool:
        """Cleans what waits; False when the thread that does it hangs for longer than that."""
        while self._waiting:
            if not self._lock.acquire(timeout=patience_s):
                return False
            try:
                if self._waiting:
                    self._try(self._waiting.popleft())
            finally:
                self._lock.release()
        return True

    def _try(self, job: Job | None) -> None:
        """A packet through the cleaner, or all that it holds; as it came where that fails."""
        try:
            if job is None:
                self._cleaner.flush()
            else:
                self._cleaner.push(job)
        except Exception as error:  # whatever failed, the call goes on with its sound as it came
            if not self._failed:
                logger.error("sound is not cleaned", call_id=self.call_id,
                             error=f"{type(error).__name__}: {error}")  # fmt: skip
            self._failed = True
            self._cleaner.give_up(None if job is None or job.seen else job.frame)

    # Beside the far end's time -------------------------------------------------------------------

    def _job(self, frame: Frame) -> Job:
        """The packet with what the cleaner needs beside it, as the chunker will take it."""
        leg, size = frame.leg, SAMPLE_BYTES[frame.codec]
        samples = len(frame.payload) // size
        fresh, hole, passed_ts = self._broken, 0, self._end_ts
        self._broken = False
        if leg is not self._leg:
            self._leg, self._end_ts, fresh = leg, leg.start_ts, True
        skip = min(max(0, self._end_ts - frame.ts), samples)
        if frame.ts > self._end_ts:
            hole, fresh = frame.ts - self._end_ts, True
        first = frame.ts + skip
        self._end_ts = max(self._end_ts, frame.ts + samples)
        lead = 0
        if self.cleaning.echo:
            lead = min(hole * STEP_HZ // leg.rate_hz, BRIDGE_MS * STEP_HZ // 1000)
        if fresh:
            self._from_ts = first
        # Whole blocks of the far end are whole blocks of ours, counted from the last hole.
        rate = self.sound.rate_hz
        at = leg.call_ms(self._from_ts) * rate // 1000
        at += (first - self._from_ts) * rate // leg.rate_hz - self.lead_ms * rate // 1000
        before = b""
        if self._passed:
            last = self._passed[-1]
            if (leg, frame.ts, frame.codec) == (last.leg, passed_ts, last.codec):
                before = b"".join(passed.payload for passed in self._passed)
            self._passed.clear()
        hold = self.cleaning.measured and not self._answered
        return Job(frame, skip, fresh, lead, before, at, hold)
