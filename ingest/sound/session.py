"""One call's sound: what came in, what goes out, and both legs' chunks.

Every transport (RTP over UDP, the media WebSocket) turns its wire into this one interface: frames
and digits in; frames, keys, marks and a flush out; a hang-up either way. The session has no socket
and no clock of its own.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import numpy as np

from ingest.sound.answer import AnswerWatch, Heard
from ingest.sound.chunker import Chunker, LegEnd, Logged
from ingest.sound.clean_line import CleanLine
from ingest.sound.echo import EchoGate
from ingest.sound.onset import Onset, level_db
from ingest.sound.playout import IDLE, Ended, Keys, KeyTick, Mark, Playout, PlayoutEvent, Say
from ingest.sound.presence import PAUSE_US, STEADY_US, Presence, fault_at_end, fault_of
from ingest.sound.rate import KeyRate
from ingest.sound.silence import RTP_SILENCE, SilenceMarks, SilenceRule
from ingest.sound.tones import WINDOW, is_tone
from ingest.sound.types import (
    SAMPLE_BYTES,
    Digit,
    Format,
    Frame,
    Leg,
    Silent,
    StreamIds,
)
from ringlog.audio.g711 import SILENCE_BYTE, Int16, decode
from ringlog.metrics import RTP_PACKETS_DROPPED

STALE_US: Final = 150_000
"""Sound that waits this long for its chunk to fill is logged as it is: the far end went silent."""

RETURN_US: Final = 1_000_000
"""How long the far end of a call that an earlier edge served is waited for before it is silent."""

KEEPALIVE_TICKS: Final = 50
"""A silent frame a second while we say nothing: some gateways end a call that sends nothing."""

OPENING_TICKS: Final = 5
"""Silent frames at the start: they tell the far end where we are."""

NO_TONE_FRAMES: Final = 2
"""Loud frames without a tone after which what began as a tone is a voice: some vowels look so."""

NOTHING_US: Final = 100_000
"""The far end sends nothing, and is not merely late."""

WIDE_HZ: Final = 16_000

DEFAULT_TURN_SILENCE_MS: Final = 500

ECHO_TICKS: Final = 15
"""Our level of the last 300 ms is held against the far end's, so that echo is no voice."""


@dataclass(slots=True)
class Clock:
    """Call time: 0 when media opened, at tick `tick0` of the shared grid and `opened_us`."""

    opened_us: int
    tick0: int

    def call_ms(self, now_us: int) -> int:
        """Call time of a moment of the loop's clock, ms."""
        return max(0, now_us - self.opened_us) // 1000


class LastHeard(NamedTuple):
    """A leg that an earlier edge heard: where it should be at a moment of the loop's clock."""

    leg: Leg
    ts: int
    seq: int
    at_us: int


class Transport(Protocol):
    """How a session reaches the far end."""

    @property
    def silence(self) -> SilenceRule:
        """What counts as silence here, and not as late sound."""
        ...

    @property
    def alive_us(self) -> int | None:
        """When the far end last sent anything, comfort noise too; None before that."""
        ...

    @property
    def holding(self) -> bool:
        """True while received sound is still held: then the far end is not silent."""
        ...

    @property
    def ready(self) -> bool:
        """Whether the far end can be reached now; playout waits until it can."""
        ...

    def send_frame(self, frame: bytes, seq: int, ts: int, talkspurt: bool) -> bool:
        """Sends 20 ms of sound; False when there is nowhere to send it yet."""
        ...

    def send_key(self, key: KeyTick, seq: int, ts: int) -> int:
        """Sends one tick of a key press that began at `ts`; returns how many packets that took."""
        ...

    def clear(self) -> None:
        """Makes the far end clear its buffer, if it has one."""
        ...

    def mark(self, name: str) -> None:
        """Sends the far end a mark after everything sent so far, if its protocol has marks."""
        ...

    def poll(self, now_us: int) -> Iterable[Frame | Digit]:
        """What has become due without anything arriving."""
        ...

    def flush(self) -> Iterable[Frame | Digit]:
        """All frames still held for ordering."""
        ...

    def close(self) -> None:
        """Ends the connection."""
        ...


class Owner(Protocol):
    """Receives a session's events."""

    def on_logged(self, session: "Session", logged: list[Logged]) -> None:
        """Chunks to log."""
        ...

    def on_playout(self, session: "Session", events: Iterable[PlayoutEvent]) -> None:
        """Prompts began, paused, resumed or ended, marks were reached."""
        ...

    def on_digit(self, session: "Session", digit: Digit) -> None:
        """A key was pressed."""
        ...

    def on_hang_up(self, session: "Session", reason: str) -> None:
        """The far end of the media connection ended the call."""
        ...

    def on_new_leg(self, session: "Session", leg: Leg, first_seq: int) -> None:
        """The far end's sound began, or began again."""
        ...


class Session:
    """The sound of one call, over any transport."""

    def __init__(
        self,
        call_id: str,
        sound: Format,
        clock: Clock,
        ids: StreamIds,
        owner: Owner,
        clean: CleanLine | None = None,
    ) -> None:
        """`clean`: what is done to the far end's sound before anything else; None: nothing."""
        self.call_id = call_id
        self.sound = sound
        self.clock = clock
        self.playout = Playout()
        self.since_us = clock.opened_us  # when this edge began to serve the call
        self.last_heard_us: int | None = None
        self._first_heard_us: int | None = None
        self._pauses = False
        self.frames_in = 0
        self.frames_out = 0
        self.spoken_since_us: int | None = None  # our first sound
        self.closed = False
        self.press_by: Callable[[str], None] | None = None  # the switch, where it sends our keys
        self._owner = owner
        self._transport: Transport | None = None
        self._ids = ids
        self._seq: int | None = None
        self._robot = Leg("robot", ids.ssrc, ids.first_ts, 0, sound.rate_hz)
        self._heard = Chunker()
        self._said = Chunker()
        self._marks = SilenceMarks(DEFAULT_TURN_SILENCE_MS)
        self._marked_ts = 0
        self._expected: LastHeard | None = None
        self._silence_rule = RTP_SILENCE
        self._said_us = 0
        self._onset = Onset()
        self._echo = EchoGate()
        self._clean = clean
        self._leg: Leg | None = None  # that the far end sends on
        self._n = 0  # tick of the call
        self._levels: deque[float] = deque(maxlen=ECHO_TICKS)
        self._key_ts = 0
        self._keys = KeyRate()
        self._untoned = NO_TONE_FRAMES  # loud frames since one that may be a tone
        self._before: Frame | None = None  # the far end's last frame, while we play
        self._watch: AnswerWatch | None = None
        self._on_answer: Callable[[Heard], None] | None = None
        self._silence = bytes([SILENCE_BYTE[sound.codec]]) * sound.frame_bytes

    @property
    def out_ssrc(self) -> int:
        """SSRC of what we send."""
        return self._ids.ssrc

    def quiet_us(self, now_us: int) -> int:
        """How long the far end has sent nothing at all to this edge."""
        transport = self._transport
        alive_us = None if transport is None else transport.alive_us
        return now_us - max(self.since_us, alive_us or 0, self.last_heard_us or 0)

    def fault(self, now_us: int, handed_over: bool) -> str | None:
        """The disposition with which the call ends for its media (`presence`); mostly None."""
        return fault_of(self._presence(now_us, handed_over))

    def fault_at_end(self, now_us: int, handed_over: bool) -> str | None:
        """The same for a call that the robot is about to end."""
        return fault_at_end(self._presence(now_us, handed_over))

    def _presence(self, now_us: int, handed_over: bool) -> Presence:
        transport, spoken_us = self._transport, self.spoken_since_us
        alive = transport is not None and transport.alive_us is not None
        heard = alive or self.last_heard_us is not None or self._expected is not None
        spoken_us = None if spoken_us is None else now_us - spoken_us
        first_us, last_us = self._first_heard_us, self.last_heard_us
        came_us = 0 if first_us is None or last_us is None else last_us - first_us
        steady = came_us >= STEADY_US and not self._pauses
        return Presence(heard, self.quiet_us(now_us), spoken_us, handed_over, steady)

    @property
    def transport(self) -> Transport | None:
        """The connection in use."""
        return self._transport

    def attach(self, transport: Transport) -> None:
        """From now on sound goes over this connection; an earlier one is closed."""
        earlier, self._transport = self._transport, transport
        self._silence_rule = transport.silence
        if earlier is not None and earlier is not transport:
            earlier.close()

    def detach(self, transport: Transport) -> None:
        """The connection is lost."""
        if self._transport is transport:
            self._transport = None

    def expect(self, last: LastHeard) -> None:
        """An earlier edge heard this leg: until it is heard again, it is silent."""
        self._expected = last

    def set_turn_silence(self, ms: int) -> None:
        """Silence that ends a turn of the far end, ms; marks stay close together meanwhile."""
        self._marks.turn_silence_ms = ms

    # In ------------------------------------------------------------------------------------------

    def heard(self, items: Iterable[Frame | Digit], now_us: int) -> None:
        """Takes what a transport has put in order."""
        if self.closed:
            return
        for item in items:
            if isinstance(item, Digit):
                if self._keys.take(now_us):
                    self._owner.on_digit(self, item)
                else:
                    RTP_PACKETS_DROPPED.labels("rate").inc()
                continue
            self.frames_in += 1
            if self.last_heard_us is None:
                self._first_heard_us = now_us
            elif now_us - self.last_heard_us > PAUSE_US:
                self._pauses = True
            self.last_heard_us = now_us
            if item.leg is not self._leg:
                self._leg = item.leg
                self._owner.on_new_leg(self, item.leg, item.seq)
            if self._clean is None:
                self._judge(item, now_us)
            else:
                self._clean.push(item)
        if self._clean is not None:
            self._take_cleaned(self._clean, now_us)

    def _take_cleaned(self, clean: CleanLine, now_us: int) -> None:
        for frame in clean.take():
            self._judge(frame, now_us)

    def _finish_cleaning(self, now_us: int) -> None:
        """Sound ends here: the rest must not wait for what follows."""
        if self._clean is not None and self._clean.holding:
            for frame in self._clean.finish():
                self._judge(frame, now_us)

    def _judge(self, frame: Frame, now_us: int) -> None:
        """The echo check, while our echo may be in it."""
        if self._echo.near(self._n):
            level = level_db(frame.codec, frame.payload)
            self._judged(self._echo.push(frame, level), now_us)
            return
        if self._echo.holding:
            self._judged(self._echo.flush(), now_us)
        self._log_heard(frame)

    def _judged(self, frames: Iterable[tuple[Frame, float]], now_us: int) -> None:
        """Takes frames after the echo check."""
        for frame, level in frames:
            if not frame.echo and not self.playout.idle:  # nothing to pause otherwise
                self._listen(frame, level, now_us)
            self._before = frame
            self._log_heard(frame)

    def _log_heard(self, frame: Frame) -> None:
        if self._watch is not None:
            self._watched(frame)
        logged = self._heard.push(frame)
        if logged:
            self._owner.on_logged(self, logged)

    def _listen(self, frame: Frame, level: float, now_us: int) -> None:
        playing = max(self._levels, default=0.0)
        begins = self._onset.push_level(level, playing)
        if self.playout.paused and self._onset.speaking:
            self.playout.voice(now_us)
        if begins:
            self._untoned = 0 if self._sounds_a_tone(frame) else NO_TONE_FRAMES
        elif self._untoned < NO_TONE_FRAMES and self._onset.speaking:
            self._untoned = 0 if self._sounds_a_tone(frame) else self._untoned + 1
            begins = self._untoned == NO_TONE_FRAMES  # it was a vowel: a voice after all
        if not begins or self._untoned < NO_TONE_FRAMES:
            return
        if (paused := self.playout.onset(now_us)) is not None:
            self._log_said()
            if self._transport is not None:
                self._transport.clear()
            self._owner.on_playout(self, (paused,))

    def _sounds_a_tone(self, frame: Frame) -> bool:
        if self._before is None or not self.playout.interruptible:
            return False
        two = np.concatenate((_narrow(self._before), _narrow(frame)))
        return len(two) == WINDOW and is_tone(two)

    # Who answered --------------------------------------------------------------------------------

    def watch_answer(self, told: Callable[[Heard], None]) -> None:
        """Tells from now on who answered, until that is clear."""
        self._watch, self._on_answer = AnswerWatch(), told

    def _watched(self, frame: Frame | None) -> None:
        """A frame of the far end; None for 20 ms in which nothing came."""
        watch, told = self._watch, self._on_answer
        if watch is None or told is None:
            return
        heard = watch.silence() if frame is None or frame.echo else watch.push(_narrow(frame))
        if watch.over:
            self._watch = None
        for one in heard:
            told(one)

    def hang_up(self, reason: str) -> None:
        """The far end ends the call."""
        if not self.closed:
            self._owner.on_hang_up(self, reason)

    # Out -----------------------------------------------------------------------------------------

    def play(self, entry: Say | Mark | Keys) -> None:
        """Queues an entry; raises QueueFull."""
        self.playout.add(entry)

    def flush(self) -> None:
        """Silence at once."""
        events = self.playout.flush()
        self._log_said()
        if self._transport is not None:
            self._transport.clear()
        self._owner.on_playout(self, events)

    def tick(self, tick: int, now_us: int) -> None:
        """Sends the next 20 ms and does what is due."""
        n = self._n = tick - self.clock.tick0
        transport = self._transport
        playout = self.playout
        # Nothing is played before the far end is reachable, so it hears the first syllable.
        due = IDLE
        if not playout.idle:
            due = playout.tick(now_us, transport is not None and transport.ready)
        ts = self._ids.first_ts + n * self.sound.frame_samples
        if due.events:
            self._tell(due.events)
        if due.frame is not None:
            self._levels.append(due.level)
            self._say(due.frame, due.level, ts, due.talkspurt, now_us)
        elif transport is not None:
            if self._levels:
                self._levels.popleft()
            if due.key is not None:
                self._press(due.key, ts, transport)
            elif (n < OPENING_TICKS or n % KEEPALIVE_TICKS == 0) and transport.ready:
                seq = self._next_seq(n)
                if transport.send_frame(self._silence, seq, ts, n == 0):
                    self._seq = seq + 1
        clean = self._clean
        if clean is not None:
            clean.ticked(n)
        if transport is not None:
            items = transport.poll(now_us)
            if items:
                self.heard(items, now_us)
        if clean is not None:
            self._take_cleaned(clean, now_us)
        heard_us = self.last_heard_us
        if self._watch is not None and now_us - (heard_us or 0) > NOTHING_US:
            self._watched(None)
        if heard_us is None:
            if self._expected is not None and now_us - self._expected.at_us > RETURN_US:
                self._mark_silent(self._expected, now_us)
        elif now_us - heard_us > STALE_US:
            self._finish_cleaning(now_us)
            if self._echo.holding:
                self._judged(self._echo.flush(), now_us)
            if self._heard.pending:
                self._owner.on_logged(self, self._heard.flush())
            if (leg := self._heard.leg) is not None:
                last = LastHeard(leg, self._heard.end_ts, self._heard.next_seq, heard_us)
                self._mark_silent(last, now_us)
        if self._said.pending and now_us - self._said_us > STALE_US:
            self._log_said()

    def _mark_silent(self, last: LastHeard, now_us: int) -> None:
        """Logs a silence mark when one is due. Meanwhile the leg's clock runs by ours."""
        if not self._marks.due(last.at_us, now_us, self._silence_rule):
            return
        if self._transport is not None and self._transport.holding:
            return
        quiet_us = now_us - last.at_us - self._silence_rule.late_us
        ts = last.ts + quiet_us * last.leg.rate_hz // 1_000_000
        if ts > self._marked_ts:  # else sound came late: it was marked already
            self._marked_ts = ts
            self._owner.on_logged(self, [Silent(last.leg, ts, last.seq)])

    def _tell(self, events: tuple[PlayoutEvent, ...]) -> None:
        for event in events:
            if isinstance(event, Ended) and self._transport is not None:
                self._transport.mark(event.say.directive_id)
        self._owner.on_playout(self, events)

    def _say(self, frame: bytes, level: float, ts: int, talkspurt: bool, now_us: int) -> None:
        n = (ts - self._ids.first_ts) // self.sound.frame_samples
        seq = self._next_seq(n)
        transport = self._transport
        if transport is None or not transport.send_frame(frame, seq, ts, talkspurt):
            return  # nobody hears it, so it does not count as played
        self._seq = seq + 1
        self.frames_out += 1
        if self.spoken_since_us is None:
            self.spoken_since_us = now_us
        self._echo.played(n, level)
        if self._clean is not None:
            self._clean.said(n, frame)
        self._said_us = now_us
        logged = self._said.push(Frame(self._robot, seq, ts, frame, self.sound.codec, 0))
        if logged:
            self._owner.on_logged(self, logged)

    def _press(self, key: KeyTick, ts: int, transport: Transport) -> None:
        if self.press_by is not None:
            if key.n == 0:
                self.press_by(key.digit)
            return
        if key.n == 0:
            self._key_ts = ts
        seq = self._next_seq((ts - self._ids.first_ts) // self.sound.frame_samples)
        self._seq = seq + transport.send_key(key, seq, self._key_ts)

    def _next_seq(self, n: int) -> int:
        """Extended sequence number of our next packet. The first after a restart of the edge is
        past all that can have been sent before: one a tick, and the ends of keys."""
        return self._ids.first_seq + n if self._seq is None else self._seq

    def _log_said(self) -> None:
        logged = self._said.flush()
        if logged:
            self._owner.on_logged(self, logged)

    # End -----------------------------------------------------------------------------------------

    def leave(self, now_us: int) -> None:
        """Lets go without an end: logs pending sound and leaves the rest to a successor."""
        if self.closed:
            return
        if self._transport is not None:
            self.heard(self._transport.flush(), now_us)
        self._finish_cleaning(now_us)
        self._judged(self._echo.flush(), now_us)
        self.closed = True
        logged = self._heard.flush() + self._said.flush()
        if logged:
            self._owner.on_logged(self, logged)

    def close(self, now_us: int) -> tuple[PlayoutEvent, ...]:
        """Ends both directions: logs what is pending and the legs' ends, closes the connection.

        Returns what was playing or queued; the owner gets no other report of it.
        """
        if self.closed:
            return ()
        if self._transport is not None:
            self.heard(self._transport.flush(), now_us)
        self._finish_cleaning(now_us)
        self._judged(self._echo.flush(), now_us)
        self.closed = True
        events = self.playout.flush()
        if self._heard.leg is None and (last := self._expected) is not None:
            self._owner.on_logged(self, [LegEnd(last.leg, last.ts, last.seq)])
        logged = self._heard.end() + self._said.end()
        if logged:
            self._owner.on_logged(self, logged)
        if self._transport is not None:
            self._transport.close()
            self._transport = None
        return events


def _narrow(frame: Frame) -> Int16:
    """A frame's samples at 8 kHz: every other one of wide sound is enough to tell what it is."""
    odd = len(frame.payload) % SAMPLE_BYTES[frame.codec]
    samples = decode(frame.codec, frame.payload[: len(frame.payload) - odd])
    return samples[::2] if frame.leg.rate_hz == WIDE_HZ else samples
