"""Runs one call: feeds inputs in order to the pure machine (`machine`) and carries out its
commands.

The actor holds the call's session, port and timers. It decides nothing.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Protocol, assert_never

from ingest.addresses import resolve
from ingest.call.machine import decide, evolve
from ingest.call.types import (
    MAX_CALL_MS,
    Q850_NO_CIRCUIT,
    Q850_RECOVERY_ON_TIMER,
    Q850_TEMPORARY_FAILURE,
    RING_TIMEOUT_MS,
    Abandon,
    AnswerHeard,
    AwaitLine,
    Call,
    CarrierRefused,
    CheckNumber,
    CloseMedia,
    Command,
    Dial,
    Drain,
    Drained,
    FindLine,
    Flush,
    HangUp,
    HeldUp,
    HungUp,
    Identity,
    Input,
    KeyPressed,
    LetGo,
    LineAwaited,
    LineFound,
    NoLine,
    NoResponse,
    NumberChecked,
    Phase,
    Play,
    PlayoutEnded,
    PlayoutHeldUp,
    PlayoutStarted,
    RingTimedOut,
    SendKeys,
    SetTurnSilence,
    Transfer,
    Transferred,
    TriedWritten,
    WatchAnswer,
    Write,
)
from ingest.failover.journal import Entry, HeardLeg, Journal
from ingest.rtp.receiver import Known, Receiver
from ingest.rtp.socket import NoPort, PortPool, RtpTransport
from ingest.rtp.sources import Address
from ingest.rtp.wire import Wire, wire_of
from ingest.sound.chunker import Logged
from ingest.sound.clean_line import CleanLine
from ingest.sound.clock import monotonic_us
from ingest.sound.log import MediaLog, Stamp
from ingest.sound.pacer import Pacer
from ingest.sound.playout import (
    Ended,
    Keys,
    Mark,
    Marked,
    Paused,
    PlayoutEvent,
    QueueFull,
    Resumed,
    Say,
    Started,
)
from ingest.sound.prompt_lists import PromptMissing
from ingest.sound.prompts import PromptStore
from ingest.sound.session import Clock, LastHeard, Session
from ingest.sound.types import (
    PAYLOAD_FORMATS,
    TELEPHONE_EVENT,
    Digit,
    Format,
    Leg,
    leg_ssrc,
    stream_ids,
)
from ingest.trunks.driver import MediaAddress, Medium, Refused
from ingest.trunks.switchboard import Switchboard
from ingest.ws.line import WsLine
from ringlog import log
from ringlog.clock import now_ms
from ringlog.metrics import PLAYOUT_PAUSES
from ringlog.settings import Settings
from schemas.envelope import Event
from schemas.events import CallEvent, Directive

logger = log.logger("ringlog.ingest.call")

ABANDON_S = 3.0
"""How long the end of a try that nobody answered is waited for."""

NO_PORT = 0
"""The port of a call whose sound comes by WebSocket."""


class Surroundings(Protocol):
    """What a call needs from its edge."""

    config: Settings
    stream_secret: bytes
    prompts: PromptStore
    journal: Journal
    ports: PortPool
    media_log: MediaLog
    switchboard: Switchboard
    pacer: Pacer
    sessions: dict[str, Session]
    rtp_host: str

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Runs work whose failure concerns one call only."""
        ...

    async def find_line(self, call: Call) -> LineFound | NoLine:
        """The trunk of a call's next try; it counts from now on."""
        ...

    async def check_number(self, identity: Identity, phone: str) -> NumberChecked:
        """Whether a number may be dialled now; then it is this call's until its end."""
        ...

    def clean_line(self, call_id: str, trunk: str, sound: Format) -> CleanLine | None:
        """What cleans a call of that trunk; None where nothing does."""
        ...

    async def may_act(self, call: Call) -> bool:
        """Whether the call is still this edge's; waits where another may have taken it."""
        ...

    async def queue(self, topic: str, event: Event) -> "asyncio.Future[object]":
        """Hands a record to the producer; the future is its acknowledgement."""
        ...

    def on_written(self, future: "asyncio.Future[object]") -> None:
        """Takes the broker's answer to a record."""
        ...


class CallActor:
    """One call of this edge, from its assignment to its end."""

    def __init__(self, edge: Surroundings, call: Call, sound: Format) -> None:
        self.call = call
        self.sound = sound
        self.session: Session | None = None
        self.rtp: RtpTransport | None = None
        self.ws: WsLine | None = None
        self.entry: Entry | None = None
        self.over = asyncio.Event()
        self._edge = edge
        self._stamp = Stamp(call.identity, edge.config.turn_silence_ms)
        self._inputs: asyncio.Queue[Input] = asyncio.Queue()
        self._drains: dict[str, Directive] = {}
        self._timers: list[asyncio.TimerHandle] = []
        self.left = False  # another edge has the call

    @property
    def call_id(self) -> str:
        """The call's id."""
        return self.call.identity.call_id

    def put(self, given: Input) -> None:
        """Gives the call its next input."""
        self._inputs.put_nowait(given)

    async def run(self) -> None:
        """Works until the call has ended, by our record or another's."""
        try:
            while not self.left and (self.call.phase < Phase.ENDED or not self._inputs.empty()):
                await self._step(await self._inputs.get())
        finally:
            await self._close_media()
            for timer in self._timers:
                timer.cancel()
            self.over.set()

    async def _step(self, given: Input) -> None:
        commands = decide(self.call, given, now_ms())
        if any(map(_is_felt, commands)) and not await self._edge.may_act(self.call):
            return  # the record that says so is among the inputs
        self.call = evolve(self.call, given)
        for command in commands:
            await self._do(command)

    async def _do(self, command: Command) -> None:
        match command:
            case Write(event, acknowledged):
                await self._write(event, acknowledged)
            case CheckNumber(phone):
                await self._step(await self._edge.check_number(self.call.identity, phone))
            case FindLine():
                await self._step(await self._edge.find_line(self.call))
            case AwaitLine(wait_ms):
                self.after(wait_ms, LineAwaited())
            case Abandon():
                await self._abandon()
            case Dial(phone):
                await self._dial(phone)
            case Play(directive):
                await self._play(directive)
            case SendKeys(digits):
                self._queue(Keys(digits))
            case SetTurnSilence(ms):
                self._stamp.turn_silence_ms = ms
                if self.session is not None:
                    self.session.set_turn_silence(ms)
            case WatchAnswer():
                if self.session is not None:
                    self.session.watch_answer(
                        lambda heard: self.put(AnswerHeard(heard.name, heard.at_ms))
                    )
            case Flush():
                if self.session is not None:
                    self.session.flush()
            case Drain(directive):
                self._drains[directive.directive_id] = directive
                if not self._queue(Mark(directive.directive_id)):
                    await self._step(self._drained(directive))
            case Transfer(directive):
                self._edge.spawn(self._transfer(directive), "transfer")
            case HangUp():
                self._edge.spawn(
                    self._edge.switchboard.of(self.call_id).hang_up(self.call_id), "hang-up"
                )
            case CloseMedia():
                await self._close_media()
            case LetGo():
                self._let_go()
            case _:
                assert_never(command)

    async def _transfer(self, directive: Directive) -> None:
        """Meanwhile the call goes on: the customer may hang up while it rings elsewhere."""
        switch = self._edge.switchboard.of(self.call_id)
        ok = await switch.transfer(self.call_id, directive.target or "")
        self.put(Transferred(directive, ok))

    async def _write(self, event: CallEvent, acknowledged: bool) -> None:
        if acknowledged:
            await (await self._edge.queue("calls.events", event))
            if event.kind == "tried":
                await self._step(TriedWritten())
        else:
            sent = await self._edge.queue("calls.events", event)
            sent.add_done_callback(self._edge.on_written)

    def _queue(self, entry: Say | Mark | Keys) -> bool:
        if self.session is None or self.session.closed:
            return False
        try:
            self.session.play(entry)
        except QueueFull as error:
            logger.warning("playout refused", call_id=self.call_id, reason=str(error))
            return False
        return True

    async def _play(self, directive: Directive) -> None:
        missing = PlayoutEnded(directive.directive_id, directive.prompt_id, 0, 0, missing=True)
        try:
            parts = directive.prompt_parts or (directive.prompt_sha256 or "",)
            prompt = await self._edge.prompts.get_joined(parts, self.sound)
        except PromptMissing as error:
            logger.error("no prompt", call_id=self.call_id, reason=str(error))
            await self._step(missing)
            return
        say = Say(
            directive.directive_id, directive.prompt_id, prompt, directive.barge_in or "speech"
        )
        if not self._queue(say):
            await self._step(missing)

    # Media ---------------------------------------------------------------------------------------

    async def open_media(
        self,
        remote: Address | None,
        entry: Entry | None = None,
        event_type: int = TELEPHONE_EVENT,
        medium: Medium = "rtp",
        wire: Wire | None = None,
        elsewhere: bool = False,
    ) -> None:
        """Binds a port, unless the sound comes by a socket, and starts the session; with `entry`,
        as it was before a restart. `elsewhere`: that was another edge, with ports of its own.

        Raises NoPort, OSError.
        """
        at_us, at_ms = monotonic_us(), now_ms()
        elapsed_ms = 0 if entry is None else max(0, at_ms - entry.opened_ms)
        clock = Clock(at_us - elapsed_ms * 1000, self._edge.pacer.tick - elapsed_ms // 20)
        ids = stream_ids(self._edge.stream_secret, self.call_id, "robot")
        clean = self._edge.clean_line(self.call_id, self.call.trunk, self.sound)
        session = Session(self.call_id, self.sound, clock, ids, self, clean)
        session.since_us = at_us
        session.set_turn_silence(self._stamp.turn_silence_ms)
        if entry is not None and entry.wire is not None:
            wire = wire_of(*entry.wire)
        if self._edge.switchboard.of(self.call_id).sends_keys:
            session.press_by = self._press
        known: list[Known] = []
        ws_leg: Leg | None = None
        for heard in entry.legs[-1:] if entry is not None else ():
            last = _known(heard, at_ms)
            session.expect(LastHeard(last.leg, last.expected_ts, last.expected_seq, at_us))
            if heard.leg.ssrc == leg_ssrc(self.call_id, heard.leg.name):
                ws_leg = heard.leg  # it goes on by call time
            else:
                known.append(last if wire is None else _on_wire(last, wire))
        formats = PAYLOAD_FORMATS if wire is None else {wire.payload_type: wire.received}
        receiver = Receiver(clock.call_ms, remote, formats, event_type, known)
        rtp = RtpTransport(session, receiver, self.sound, self._on_source, wire)
        wanted = NO_PORT if medium == "socket" else None
        if entry is not None and not elsewhere:
            wanted = entry.port
        port = NO_PORT
        if wanted != NO_PORT:
            port = await self._edge.ports.bind(rtp, self._edge.config.bind_host, wanted)
            session.attach(rtp)
            self.rtp = rtp
        self.session = session
        self.ws = WsLine(session, ws_leg, self._on_websocket)
        coded = None if wire is None else (wire.codec, wire.payload_type)
        self.entry = entry or Entry(self.call_id, port, self.sound, at_ms, remote, wire=coded)
        self.entry.port = port
        self._edge.sessions[self.call_id] = session
        self.after(MAX_CALL_MS - elapsed_ms, HungUp("failed", Q850_RECOVERY_ON_TIMER))
        await self._edge.journal.write(self.entry)  # before the carrier is asked

    def our_address(self) -> MediaAddress:
        """Where the far end sends its sound, and the SSRC of ours."""
        assert self.entry is not None and self.session is not None, "open_media() first"
        return MediaAddress(self._edge.rtp_host, self.entry.port, self.session.out_ssrc)

    def _press(self, digit: str) -> None:
        switch = self._edge.switchboard.of(self.call_id)
        self._edge.spawn(switch.send_keys(self.call_id, digit), "keys")

    async def move_media(self, theirs: MediaAddress) -> None:
        """The switch takes our sound elsewhere from now on."""
        try:
            remote = await resolve(theirs)
        except Refused as refused:
            logger.error("no media", call_id=self.call_id, reason=str(refused))
            return
        if self.rtp is not None and self.entry is not None:
            self.rtp.receiver.gate.announce(remote, theirs.ssrc)
            self.entry.remote = self.rtp.receiver.remote
            self._edge.journal.write(self.entry)

    def after(self, delay_ms: int, given: Input) -> None:
        """Gives the call an input later, if it still lives."""
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(max(0, delay_ms) / 1000, self.put, given))

    async def _dial(self, phone: str) -> None:
        board, n = self._edge.switchboard, self.call.tries
        try:
            await self._close_media()  # of the try before
            medium = board.of(self.call_id).medium
            await self.open_media(None, medium=medium)
        except (NoPort, OSError) as error:
            logger.error("no media", call_id=self.call_id, reason=str(error))
            await self._step(HungUp("failed", Q850_NO_CIRCUIT))
            return
        ours = self.our_address() if medium == "rtp" else None
        order = board.order(self.call, phone, self.sound.codec, ours, RING_TIMEOUT_MS)
        try:
            theirs = await board.of(self.call_id).dial(order)
            remote = None if theirs is None else await resolve(theirs)
        except Refused as refused:
            cause = CarrierRefused(
                refused.cause_q850, refused.cause_sip, refused.disposition, refused.unsure
            )
            logger.info("carrier refused", call_id=self.call_id, trunk=order.trunk,
                        reason=str(refused))  # fmt: skip
            await self._step(cause)
            return
        except OSError as error:
            logger.error("the carrier's media address is unknown", call_id=self.call_id,
                         reason=str(error))  # fmt: skip
            await self._step(HungUp("failed", Q850_NO_CIRCUIT))
            return
        if theirs is not None and remote is not None and self.rtp is not None:
            assert self.entry is not None
            self.rtp.receiver.gate.announce(remote, theirs.ssrc)
            self.entry.remote = self.rtp.receiver.remote
            self._edge.journal.write(self.entry)
        if (silent_ms := board.no_response_ms) is not None:
            self.after(silent_ms, NoResponse(n))
        self.after(RING_TIMEOUT_MS, RingTimedOut(n))

    async def _abandon(self) -> None:
        """A switch that keeps silent must not keep the call, either."""
        try:
            async with asyncio.timeout(ABANDON_S):
                await self._edge.switchboard.of(self.call_id).hang_up(self.call_id)
        except TimeoutError:
            logger.warning("a try could not be ended", call_id=self.call_id, try_no=self.call.tries)

    def _on_websocket(self) -> None:
        """The call's sound comes by WebSocket: its port is free for another call."""
        self._close_rtp()
        if self.entry is not None and self.entry.port != NO_PORT:
            self.entry.port, self.entry.remote = NO_PORT, None
            self._edge.journal.write(self.entry)

    def _close_rtp(self) -> None:
        if self.rtp is None:
            return
        self.rtp.close()
        self.rtp = None
        if self.entry is not None:
            self._edge.ports.release(self.entry.port)

    async def _close_media(self) -> None:
        session, self.session = self.session, None
        if session is None:
            return
        self._edge.sessions.pop(self.call_id, None)
        events = session.close(monotonic_us())
        self._close_rtp()
        self._edge.journal.remove(self.call_id)
        # Report what was played before the end first, so bypass the queue.
        pending = [self._inputs.get_nowait() for _ in range(self._inputs.qsize())]
        told = (PlayoutStarted, PlayoutHeldUp, PlayoutEnded)
        for given in (*(g for g in pending if isinstance(g, told)), *_inputs_of(events)):
            await self._step(given)
        for given in pending:
            if not isinstance(given, told):
                self.put(given)

    def leave(self) -> None:
        """Lets go of the call: logs what was heard, and leaves its records and journal to a
        successor."""
        session, self.session = self.session, None
        if session is not None:
            self._edge.sessions.pop(self.call_id, None)
            session.leave(monotonic_us())
        if self.rtp is not None:
            self.rtp.close()

    def _let_go(self) -> None:
        """Another edge serves the call: the switch and the log hear no more of it from here."""
        self.left = True
        session, self.session = self.session, None
        if session is not None:
            self._edge.sessions.pop(self.call_id, None)
            session.leave(monotonic_us())
            self._close_rtp()
            self._edge.journal.remove(self.call_id)
        self._edge.switchboard.of(self.call_id).let_go(self.call_id)
        logger.warning("another edge has taken the call", call_id=self.call_id)

    # Owner of the session ------------------------------------------------------------------------

    def on_logged(self, session: Session, logged: list[Logged]) -> None:
        """Chunks go to the log."""
        self._edge.media_log.add(self._stamp, logged)

    def on_playout(self, session: Session, events: Iterable[PlayoutEvent]) -> None:
        """What began or ended goes to the call."""
        for event in events:
            if isinstance(event, Marked):
                directive = self._drains.pop(event.name, None)
                if directive is not None:
                    self.put(self._drained(directive))
        for given in _inputs_of(events):
            self.put(given)

    def _drained(self, directive: Directive) -> Drained:
        session = self.session
        if session is None:
            return Drained(directive)
        return Drained(
            directive, session.fault_at_end(monotonic_us(), handed_over=self.call.handed_over)
        )

    def on_digit(self, session: Session, digit: Digit) -> None:
        """A key press goes to the call."""
        self.put(KeyPressed(digit.digit, f"{digit.ssrc}.{digit.ts}"))

    def on_hang_up(self, session: Session, reason: str) -> None:
        """The far end of the media connection has ended the call, or is `lost`."""
        lost = reason == "lost"
        self.put(HungUp("failed", Q850_TEMPORARY_FAILURE) if lost else HungUp("abandoned"))

    def on_new_leg(self, session: Session, leg: Leg, first_seq: int) -> None:
        """Writes the far end's clocks to the journal, for a restart.

        A leg keeps its first start time: one that goes on after a restart is not new.
        """
        if self.entry is not None and all(heard.leg != leg for heard in self.entry.legs):
            self.entry.legs.append(HeardLeg(leg, first_seq, now_ms()))
            self._edge.journal.write(self.entry)

    def _on_source(self, source: Address) -> None:
        """Writes the source of the far end's packets to the journal, for a restart."""
        if self.entry is not None and self.entry.remote != source:
            self.entry.remote = source
            self._edge.journal.write(self.entry)


def _is_felt(command: Command) -> bool:
    """Whether a command does to the call what cannot be undone: it must be this edge's call."""
    if isinstance(command, Write):
        return command.event.kind in ("tried", "refused", "ended")
    return isinstance(command, Abandon | Dial | HangUp | Transfer)


def _inputs_of(events: Iterable[PlayoutEvent]) -> list[Input]:
    out: list[Input] = []
    for event in events:
        if isinstance(event, Started):
            say = event.say
            out.append(PlayoutStarted(say.directive_id, say.prompt_id, say.prompt.ms))
        elif isinstance(event, Paused):
            out.append(_held_up("playout_paused", event.say, event.heard_ms, event.n))
        elif isinstance(event, Resumed):
            out.append(_held_up("playout_resumed", event.say, event.from_ms, event.n))
        elif isinstance(event, Ended):
            say = event.say
            out.append(PlayoutEnded(say.directive_id, say.prompt_id, say.prompt.ms, event.heard_ms))
    return out


def _held_up(kind: HeldUp, say: Say, at_ms: int, n: int) -> PlayoutHeldUp:
    PLAYOUT_PAUSES.labels(kind.removeprefix("playout_")).inc()
    return PlayoutHeldUp(kind, say.directive_id, say.prompt_id, say.prompt.ms, at_ms, n)


def _on_wire(known: Known, wire: Wire) -> Known:
    """A leg's clocks as the packets count."""
    return Known(wire.leg_on_wire(known.leg), wire.to_wire(known.expected_ts), known.expected_seq)


def _known(heard: HeardLeg, at_ms: int) -> Known:
    """Where a leg's clocks should stand now, from where they began and the time since."""
    elapsed_ms = max(0, at_ms - heard.at_ms)
    samples = elapsed_ms * heard.leg.rate_hz // 1000
    return Known(heard.leg, heard.leg.start_ts + samples, heard.first_seq + elapsed_ms // 20)
