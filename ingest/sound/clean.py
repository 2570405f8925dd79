"""Cleans one leg's packets: the same packets come out, in order, with other samples in them.

The module takes 10 ms at a time, whatever the packets hold: a packet comes out when the last of its
samples is done, and what is left over is filled up with silence where sound ends. Sequence numbers,
timestamps, losses and lengths stay, so the sound log cuts its chunks as it would without. No clock,
no thread: `clean_line` has these.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

import numpy as np

from ingest.sound.cleaning import Cleaning
from ingest.sound.types import SAMPLE_BYTES, CodecName, Frame, Leg
from ringlog.audio.g711 import Int16, decode, encode

STEP_HZ: Final = 100
"""Blocks a second: 10 ms each."""


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
    on after a hole; then `lead` blocks of silence bridge the hole's end. `reference`: what we sent
    beside lead and packet, None without echo cancellation. `delay_ms`: a new delay to tell.
    `raw`: leave it as it came.
    """

    frame: Frame
    skip: int = 0
    fresh: bool = False
    lead: int = 0
    reference: Int16 | None = None
    reference_hz: int = 8000
    delay_ms: int | None = None
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

    def __init__(self, cleaning: Cleaning, make: Make, done: deque[Frame]) -> None:
        """`done` gets every packet, in order."""
        self.cleaning = cleaning
        self.done = done
        self._make = make
        self._mark = cleaning.mark
        self._module: Module | None = None
        self._leg: Leg | None = None
        self._codec: CodecName = "pcmu"
        self._step = 80
        self._reference_step = 80
        self._in = _NOTHING  # less than a block
        self._reference = _NOTHING
        self._out = _NOTHING
        self._waiting: deque[_Waiting] = deque()

    def push(self, job: Job) -> None:
        """Takes the next packet. Raises ApmFailed; then `give_up` and pass it on."""
        frame = job.frame
        if job.fresh or job.raw or frame.codec != self._codec:
            self.flush()
        if job.raw:
            self.done.append(frame)
            return
        if frame.leg is not self._leg or self._module is None:
            rate = frame.leg.rate_hz
            self._module = self._make(self.cleaning, rate, job.reference_hz)
            self._leg = frame.leg
            self._step, self._reference_step = rate // STEP_HZ, job.reference_hz // STEP_HZ
        self._codec = frame.codec
        if job.delay_ms is not None:
            self._module.set_delay(job.delay_ms)
        size = SAMPLE_BYTES[frame.codec]
        samples = decode(frame.codec, frame.payload[job.skip * size :])
        if job.reference is not None:
            self._reference = np.concatenate((self._reference, job.reference))
        for _ in range(job.lead):
            self._block(np.zeros(self._step, np.int16))
        self._in = np.concatenate((self._in, samples))
        done = [self._out]
        while len(self._in) >= self._step:
            done.append(self._block(self._in[: self._step]))
            self._in = self._in[self._step :]
        self._out = np.concatenate(done)
        self._waiting.append(_Waiting(frame, job.skip, len(samples)))
        self._finish()

    def flush(self) -> None:
        """Packets that wait for the rest of a block: silence stands for it. Raises ApmFailed."""
        missing = len(self._in)
        if missing:
            block = np.zeros(self._step, np.int16)
            block[:missing] = self._in
            self._in = _NOTHING
            self._out = np.concatenate((self._out, self._block(block)[:missing]))
        self._finish()
        self._reference = _NOTHING

    def give_up(self) -> None:
        """Passes on the packets that wait, as they came: the module has failed."""
        self.done.extend(waiting.frame for waiting in self._waiting)
        self._waiting.clear()
        self._in = self._out = self._reference = _NOTHING
        self._module = None

    def _block(self, samples: Int16) -> Int16:
        module = self._module
        assert module is not None, "a block has a packet before it"
        if self.cleaning.echo:
            reference = self._reference[: self._reference_step]
            self._reference = self._reference[self._reference_step :]
            if len(reference) < self._reference_step:  # the rest of a block before a hole
                reference = np.pad(reference, (0, self._reference_step - len(reference)))
            module.play(reference)
        return module.clean(samples)

    def _finish(self) -> None:
        while self._waiting and self._waiting[0].samples <= len(self._out):
            frame, skip, count = self._waiting.popleft()
            # What an earlier packet brought stays as it came: the log does not take it again.
            head = frame.payload[: skip * SAMPLE_BYTES[frame.codec]]
            payload = head + encode(frame.codec, self._out[:count])
            self._out = self._out[count:]
            self.done.append(frame._replace(payload=payload, cleaned=self._mark))
