"""Cleans one leg's packets: the same packets come out, in order, with other samples in them.

The module takes 10 ms at a time, whatever the packets hold: a packet comes out when the last of its
samples is done, and what is left over is filled up with silence where sound ends. Sequence numbers,
timestamps, losses and lengths stay, so the sound log cuts its chunks as it would without.

By `auto` there is no module until an echo is measured. Then one is made, learns from the last sound
of both sides, and cleans also the packets that waited for the verdict; it goes when the echo is
gone. No clock, no thread: `clean_line` has these.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

import numpy as np

from ingest.sound.cleaning import Cleaning
from ingest.sound.delay import WINDOW_MS, EchoWatch
from ingest.sound.played import Played
from ingest.sound.types import SAMPLE_BYTES, CodecName, Frame, Leg
from ringlog.audio.g711 import Int16, decode, encode

STEP_MS: Final = 10
STEP_HZ: Final = 1000 // STEP_MS
"""Blocks a second."""

FADE_MS: Final = 20
"""From the sound as it came to the canceller's and back: no click."""

HOLD_MS: Final = 600
"""How long the first loud sound over our voice waits until it is known to be an echo."""

PASSES: Final = 4
"""How often a new module hears the last sound, so that it knows the echo when it is first used. Of
60 greetings with echoes to -6 dB and 450 ms, 9 left 80 ms and more of it after two times, 2 after
four."""

FARTHEST_MS: Final = 460
AIM_MS: Final = 100
"""Delay that the canceller finds by itself, and where a longer one is brought."""

MOVED_MS: Final = 10.0
"""A delay that differs by more than this is told to it."""


class Module(Protocol):
    """What cleans 10 ms (`apm.Apm`)."""

    def set_delay(self, delay_ms: int) -> None:
        """How long after ours its echo comes."""
        ...

    def play(self, reference: Int16) -> None:
        """Takes 10 ms of what we sent."""
        ...

    def clean(self, samples: Int16) -> Int16:
        """Cleans the 10 ms beside them."""
        ...


class Job(NamedTuple):
    """A packet to clean.

    `skip`: its samples that an earlier packet brought already. `fresh`: a leg begins, or sound goes
    on after a hole; then `lead` blocks of silence bridge the hole's end. `before`: what came just
    before it and was not given, in its codec. `at`: the sample of ours that was sent beside the
    packet's first new one. `hold`: it may be the beginning of an echo. `seen`: it was passed on as
    it came, and is only listened to. `raw`: leave it as it came.
    """

    frame: Frame
    skip: int = 0
    fresh: bool = False
    lead: int = 0
    before: bytes = b""
    at: int = 0
    hold: bool = False
    seen: bool = False
    raw: bool = False


class _Waiting(NamedTuple):
    frame: Frame
    skip: int
    samples: int


Make = Callable[[Cleaning, int, int], Module]
"""Makes a module of (what it does, the far end's rate, our rate)."""

_NOTHING: Final[Int16] = np.zeros(0, np.int16)


class Cleaner:
    """The state of one leg; a new leg gets a new module."""

    def __init__(self, cleaning: Cleaning, make: Make, done: deque[Frame], played: Played) -> None:
        """`done` gets every packet, in order; `played`: what we sent."""
        self.cleaning = cleaning
        self.done = done
        self._make = make
        self._mark = cleaning.mark
        self._played = played
        self._our_step = played.rate_hz // STEP_HZ
        self._module: Module | None = None
        self._leg: Leg | None = None
        self._codec: CodecName = "pcmu"
        self._step = 80
        self._watch = EchoWatch(played, 8000)
        self._told_ms: float | None = None
        self._older = 0  # how much older the reference is, samples of ours
        self._at = 0  # of ours, beside the end of what came
        self._decided = False  # nothing is held any longer
        self._drop = 0  # samples to come out that nobody waits for
        self._rising = 0  # samples of the fade into the module's sound that are left
        self._raw = _NOTHING  # beside `_out`, for that fade
        self._in = _NOTHING  # less than a block
        self._out = _NOTHING
        self._waiting: deque[_Waiting] = deque()

    @property
    def working(self) -> bool:
        """Whether packets go through a module now."""
        return self._module is not None

    @property
    def decided(self) -> bool:
        """Whether packets are held no longer for a verdict."""
        return self._decided

    def push(self, job: Job) -> None:
        """Takes the next packet. Raises ApmFailed; then `give_up`."""
        frame = job.frame
        if job.fresh or job.raw or frame.codec != self._codec:
            self.flush()
        if job.raw:
            self.done.append(frame)
            return
        if frame.leg is not self._leg:
            self._begin(frame.leg)
        self._codec = frame.codec
        samples = decode(frame.codec, frame.payload[job.skip * SAMPLE_BYTES[frame.codec] :])
        self._at = job.at + self._ours(len(samples))
        lead = np.zeros(job.lead * self._step, np.int16)
        sound = np.concatenate((lead, samples))
        if not job.seen:
            self._waiting.append(_Waiting(frame, job.skip, len(samples)))
        if self._module is not None:
            self._drop += len(lead) + (len(samples) if job.seen else 0)
            if self._rising and not job.seen:
                self._raw = np.concatenate((self._raw, samples))
            self._put(self._through(self._module, sound, self._at))
        if self.cleaning.echo:
            if job.fresh and not 0 < job.lead * STEP_MS < WINDOW_MS:
                self._watch.forget()
            if job.before:
                self._watch.heard(decode(frame.codec, job.before), job.at)
            self._watch.heard(sound, self._at)
            self._follow()
        self._finish(job.hold)

    def flush(self) -> None:
        """Packets that wait for a verdict, or for the rest of a block. Raises ApmFailed."""
        self._fill()
        self._finish()

    def give_up(self, last: Frame | None) -> None:
        """Passes on the packets that wait and the last one, as they came: the module has failed."""
        frames = [waiting.frame for waiting in self._waiting]
        if last is not None and not (frames and frames[-1] is last):
            frames.append(last)
        self.done.extend(frames)
        self._waiting.clear()
        self._in = self._out = self._raw = _NOTHING
        self._drop = self._rising = 0
        self._module = None

    def _begin(self, leg: Leg) -> None:
        """A new leg: another far end, perhaps."""
        self._leg, self._step = leg, leg.rate_hz // STEP_HZ
        self._watch = EchoWatch(self._played, leg.rate_hz)
        self._told_ms, self._older, self._decided = None, 0, False
        self._drop = self._rising = 0
        self._module = None if self.cleaning.measured else self._made(leg)

    def _made(self, leg: Leg) -> Module:
        return self._make(self.cleaning, leg.rate_hz, self._played.rate_hz)

    def _ours(self, samples: int) -> int:
        """Samples of ours that last as long as so many of the far end's."""
        return samples * self._our_step // self._step

    def _through(self, module: Module, sound: Int16, at: int) -> Int16:
        """Whole blocks through the module; the rest waits. The end is beside `at` of ours."""
        sound = np.concatenate((self._in, sound))
        blocks = len(sound) // self._step
        self._in = sound[blocks * self._step :]
        first = at - self._older - self._ours(len(sound))
        ours = _NOTHING
        if self.cleaning.echo:
            ours = self._played.read(first, first + blocks * self._our_step)
        out = [_NOTHING]
        for n in range(blocks):
            if self.cleaning.echo:
                module.play(ours[n * self._our_step : (n + 1) * self._our_step])
            out.append(module.clean(sound[n * self._step : (n + 1) * self._step]))
        return np.concatenate(out)

    def _fill(self) -> None:
        """Silence stands for the rest of a block."""
        if self._module is not None and (there := len(self._in)):
            rest = np.zeros(self._step - there, np.int16)
            done = self._through(self._module, rest, self._at + self._ours(len(rest)))
            self._put(done[:there])

    def _put(self, done: Int16) -> None:
        drop = min(self._drop, len(done))
        self._drop -= drop
        self._out = np.concatenate((self._out, done[drop:]))

    def _finish(self, hold: bool = False) -> None:
        """Passes on what is done."""
        if self._module is None:
            samples = sum(waiting.samples for waiting in self._waiting)
            self._decided = self._decided or samples * STEP_MS > HOLD_MS * self._step
            if not hold or self._decided:
                self.done.extend(waiting.frame for waiting in self._waiting)
                self._waiting.clear()
            return
        while self._waiting and self._waiting[0].samples <= len(self._out):
            frame, skip, count = self._waiting.popleft()
            # What an earlier packet brought stays as it came: the log does not take it again.
            head = frame.payload[: skip * SAMPLE_BYTES[frame.codec]]
            payload = head + encode(frame.codec, self._faded(self._out[:count]))
            self._out = self._out[count:]
            self.done.append(frame._replace(payload=payload, cleaned=self._mark))

    # With and without echo ------------------------------------------------------------------------

    def _follow(self) -> None:
        """What the watch has found."""
        found_ms, told_ms = self._watch.delay_ms, self._told_ms
        if found_ms is None:
            if told_ms is not None:
                self._told_ms = None
                if self.cleaning.measured and self._module is not None:
                    self._stop()
        elif told_ms is None or abs(found_ms - told_ms) > MOVED_MS:
            self._told_ms = found_ms
            older_ms = 0 if found_ms <= FARTHEST_MS else int(found_ms) - AIM_MS
            older = older_ms * self._played.rate_hz // 1000
            if self._module is None or older != self._older:
                self._older = older
                self._module = self._start()
            self._module.set_delay(int(found_ms) - older_ms)

    def _start(self) -> Module:
        """The echo is known: a new module learns it, and cleans what waits."""
        assert self._leg is not None, "an echo was heard on it"
        module = self._made(self._leg)
        came = self._watch.came
        came = came[len(came) % self._step :]
        for _ in range(PASSES):
            self._in = _NOTHING
            out = self._through(module, came, self._at)
        count = sum(waiting.samples for waiting in self._waiting)
        self._out, self._raw = out[len(out) - count :], came[len(came) - count :]
        self._drop, self._rising, self._decided = 0, self._fade, True
        return module

    def _faded(self, out: Int16) -> Int16:
        """The next samples, with what is left of the fade into them."""
        k = min(self._rising, len(out))
        if k == 0:
            return out
        share = np.arange(self._fade - self._rising, self._fade - self._rising + k) / self._fade
        mixed = self._raw[:k] * (1 - share) + out[:k] * share
        self._rising -= k
        self._raw = self._raw[len(out) :]
        return np.concatenate((mixed.astype(np.int16), out[k:]))

    def _stop(self) -> None:
        """The echo is gone: what waits is the last that the module cleans."""
        self._fill()
        count = len(self._out)
        k = min(count, self._fade)
        share = np.arange(k) / max(k, 1)
        came = self._watch.came[len(self._watch.came) - k :]
        mixed = self._out[count - k :] * (1 - share) + came * share
        self._out = np.concatenate((self._out[: count - k], mixed.astype(np.int16)))
        self._finish()
        self._module, self._out, self._drop, self._rising = None, _NOTHING, 0, 0

    @property
    def _fade(self) -> int:
        return self._step * FADE_MS // STEP_MS
