"""One call as the edge sees it: what it knows (`evolve`) and what it does next (`decide`).

Pure: inputs are events and results, outputs are commands that the host carries out in order. No
clock, no chance, no network. The same input has no effect the second time, and every record's id is
derived, so repeated work gives the same records.

    permitted -> dialing -> placed -> ringing -> answered -> ended
                            |    ^
                            +----+ another try, after the carrier's fault
        |           |          |         |          |          ^
        +-----------+----------+---------+----------+----------+
"""

from dataclasses import replace

from ingest.call.objections import heard, objection, silent_ms
from ingest.call.records import new_edge, record
from ingest.call.types import (
    LINE_WAIT_MS,
    OUTCOMES,
    Q850_NO_ANSWER,
    Q850_NO_CIRCUIT,
    Q850_NORMAL,
    Q850_RECOVERY_ON_TIMER,
    Q850_TEMPORARY_FAILURE,
    WATCH_ANSWER,
    Abandon,
    AnswerHeard,
    Assigned,
    AwaitLine,
    Call,
    CarrierRefused,
    CheckNumber,
    CloseMedia,
    Command,
    Dial,
    Directed,
    Drain,
    Drained,
    FindLine,
    Flush,
    HangUp,
    HungUp,
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
    Progressed,
    Recorded,
    RingTimedOut,
    SendKeys,
    SetTurnSilence,
    Transfer,
    Transferred,
    TriedWritten,
    WatchAnswer,
    Write,
)
from ingest.trunks.causes import NO_RESPONSE, is_carrier_fault
from ingest.trunks.driver import LineEvent
from ringlog.dispositions import (
    CANCELLED,
    NO_LINE,
    disposition_of,
)
from ringlog.law.facts import Refusal
from schemas.events import CallEvent, Directive
from schemas.ids import call_once_id, root_id


def evolve(call: Call, given: Input) -> Call:
    """The call after one input."""
    match given:
        case Assigned():
            pass
        case NumberChecked(allowed=True, offset=offset) if call.phase == Phase.PERMITTED:
            return replace(call, phase=Phase.DIALING, optout_offset=offset)
        case NumberChecked(allowed=True) if call.phase == Phase.DIALING:
            return replace(call, phase=Phase.PLACED)
        case NumberChecked(allowed=True) if call.between and not call.looks:
            return replace(call, between=False)
        case LineFound(n, trunk, caller_id) if call.looks and not call.closing:
            return replace(call, tries=n, trunk=trunk, caller_id=caller_id, placed_by="")
        case NoLine() if call.looks:
            if not _waits(call, given):
                return replace(call, closing=True)
            return replace(call, waited_ms=call.waited_ms + (given.wait_ms or 0))
        case CarrierRefused() | NoResponse() | Progressed() if (
            not call.closing and (why := _fault(call, given)) is not None
        ):
            return replace(call, between=True, refusal=why, refused_try=call.tries)
        case NoResponse() | NoLine():
            pass
        case Recorded(event):
            return _evolve_recorded(call, event)
        case PlayoutEnded(directive_id=done):
            return replace(call, done=call.done | {done})
        case Drained(directive) if directive.kind == "hangup":
            return replace(call, closing=True)
        case Progressed(progress) if progress.kind == "ended" and _is_of_now(call, progress):
            return replace(call, closing=True)
        case Transferred(directive, ok):
            return replace(call, done=call.done | {directive.directive_id}, closing=not ok)
        case RingTimedOut(n) if (
            call.phase >= Phase.ANSWERED or call.between or (n is not None and n != call.tries)
        ):
            pass
        case NumberChecked() | CarrierRefused() | HungUp() | RingTimedOut():
            return replace(call, closing=True)
    return call


def _evolve_recorded(call: Call, event: CallEvent) -> Call:
    match event.kind:
        case "dialing" if call.phase < Phase.DIALING:
            return replace(call, phase=Phase.DIALING, optout_offset=event.optout_offset)
        case "tried" if event.try_no is not None and event.try_no > call.tries:
            return replace(
                call, tries=event.try_no, trunk=event.trunk or call.trunk,
                caller_id=event.caller_id, between=False, placed_by="",
            )  # fmt: skip
        case "refused" if _told_refused(call, event) and not _by_carriers_fault(call, event):
            return call  # its end follows
        case "refused" if event.try_no is not None and event.try_no == call.tries:
            cause, reason = event.cause_q850 or Q850_TEMPORARY_FAILURE, event.disposition
            refusal = CarrierRefused(cause, event.cause_sip, reason or "failed")
            return replace(call, between=True, refusal=refusal, refused_try=call.tries)
        case "ringing" | "early_media" if call.phase < Phase.RINGING:
            return replace(call, phase=Phase.RINGING)
        case "answered" if call.phase < Phase.ANSWERED:
            return replace(call, phase=Phase.ANSWERED, answered_at_ms=event.occurred_at)
        case "withdrawn" if call.phase < Phase.ANSWERED:
            return replace(call, closing=True)
        case "ended":
            return replace(call, phase=Phase.ENDED)
        case "moved" if (to := new_edge(call, event)) is not None:
            who = replace(call.identity, edge_id=to)
            return replace(call, identity=who, moves=call.moves + 1, placed_by=call.owner_on_switch)
        case "playout_started" | "amd" if call.spoke_at_ms is None:
            return heard(call, event)
        case "playout_ended" | "transferred":
            done = call.done if event.directive_id is None else call.done | {event.directive_id}
            over = call.handed_over or event.kind == "transferred"
            return replace(call, done=done, handed_over=over)
    return call


def decide(call: Call, given: Input, now_ms: int) -> list[Command]:
    """What the host does because of one input; `call` is the state before it."""
    if call.phase == Phase.ENDED:
        # What was playing when the call ended is still told.
        return _tell_ended(call, given, now_ms) if isinstance(given, PlayoutEnded) else []
    if isinstance(given, Recorded):
        if new_edge(call, given.event) not in (None, call.identity.edge_id):
            return [LetGo()]
        return _recorded(call, given.event, now_ms)
    if isinstance(given, PlayoutEnded):
        return _tell_ended(call, given, now_ms)
    if isinstance(given, PlayoutStarted):
        return _tell_started(call, given, now_ms)
    if isinstance(given, PlayoutHeldUp):
        return _tell_held_up(call, given, now_ms)
    if call.closing:
        return []
    match given:
        case Assigned():
            return _assigned(call, now_ms)
        case NumberChecked():
            return _permitted(call, given, now_ms)
        case LineFound() if call.looks:
            return _line_found(call, given, now_ms)
        case NoLine() if call.looks:
            return _no_line(call, given, now_ms)
        case LineAwaited() if call.looks:
            return [FindLine()]
        case TriedWritten() if not call.looks and (call.phase == Phase.DIALING or call.between):
            return [CheckNumber(call.identity.phone or "")]
        case CarrierRefused() | NoResponse() | Progressed() if (
            why := _fault(call, given)
        ) is not None:
            return _try_another(call, why, now_ms)
        case CarrierRefused(cause, sip, reason):
            return _end(call, now_ms, reason, cause, sip)
        case Progressed(progress) if _is_of_now(call, progress):
            return _progressed(call, progress, now_ms)
        case Directed(directive):
            return _directed(call, directive)
        case Drained(directive, fault):
            if directive.kind == "transfer":
                return [Transfer(directive)]
            outcome = directive.reason if directive.reason in OUTCOMES else None
            if fault is not None and outcome in (None, "completed"):
                return _end(call, now_ms, fault, Q850_TEMPORARY_FAILURE)
            return _end(call, now_ms, outcome or "completed", Q850_NORMAL)
        case Transferred(directive, ok):
            return _transferred(call, directive, ok, now_ms)
        case KeyPressed(digit, source):
            event_id = root_id(call.identity.call_id, "dtmf", source)
            return [Write(record(call, "dtmf", event_id, now_ms, digits=digit))]
        case AnswerHeard(name, at_ms):
            event_id = root_id(call.identity.call_id, "amd", name, at_ms)
            return [Write(record(call, "amd", event_id, now_ms, answered_by=name))]
        case HungUp(disposition, cause):
            return _end(call, now_ms, disposition, cause)
        case RingTimedOut(n) if (
            call.phase < Phase.ANSWERED and not call.between and n in (None, call.tries)
        ):
            return _end(call, now_ms, "no_answer", Q850_NO_ANSWER)
    return []


def _recorded(call: Call, event: CallEvent, now_ms: int) -> list[Command]:
    """What others have written of the call."""
    if event.kind == "ended":
        return [CloseMedia()]
    if event.kind == "withdrawn" and call.phase < Phase.ANSWERED and not call.closing:
        return _end(call, now_ms, CANCELLED, Q850_NORMAL)
    if call.closing or not _told_refused(call, event):
        return []
    if _by_carriers_fault(call, event):
        return [FindLine()]
    cause = Q850_NORMAL if event.cause_q850 is None else event.cause_q850
    became = disposition_of(call.phase >= Phase.ANSWERED, event.cause_q850, event.cause_sip)
    return _end(call, now_ms, became, cause, event.cause_sip)


def _told_refused(call: Call, event: CallEvent) -> bool:
    """Whether a carrier has told the API that it gave the present try up."""
    by_carrier = event.kind == "refused" and event.producer != "edge"
    return by_carrier and not call.between and event.try_no == call.tries


def _by_carriers_fault(call: Call, event: CallEvent) -> bool:
    """Whether another carrier may do what this one could not: nothing has rung yet."""
    return call.phase < Phase.RINGING and is_carrier_fault(event.cause_q850, event.cause_sip)


def _assigned(call: Call, now_ms: int) -> list[Command]:
    if call.phase != Phase.PERMITTED:
        return []
    if _permit_over(call, now_ms):
        return _end(call, now_ms, "failed", Q850_RECOVERY_ON_TIMER)
    return [CheckNumber(call.identity.phone or "")]


def _permit_over(call: Call, now_ms: int) -> bool:
    expires = call.identity.permit_expires_at
    return expires is None or now_ms >= expires


def _permitted(call: Call, number: NumberChecked, now_ms: int) -> list[Command]:
    """Checked before `dialing` is written, and again at the instant of each try."""
    if call.looks or (call.phase > Phase.DIALING and not call.between):
        return []
    if (against := objection(number)) is not None:
        return _end(call, now_ms, *against, law=number.unlawful)
    if not call.between and _permit_over(call, now_ms):
        return _end(call, now_ms, "failed", Q850_RECOVERY_ON_TIMER)
    if call.phase == Phase.PERMITTED:
        return [FindLine()]
    return [Dial(call.identity.phone or "")]


# Tries -------------------------------------------------------------------------------------------


def _line_found(call: Call, line: LineFound, now_ms: int) -> list[Command]:
    """`tried` is on the log before the switch is asked, so that after a death nobody is dialled
    twice."""
    who, after = call.identity, evolve(call, line)
    commands: list[Command] = []
    if call.tries == 0 and call.phase == Phase.DIALING:
        dialing = record(
            after,
            "dialing",
            root_id(who.call_id, "dialing", who.attempt),
            now_ms,
            first=True,
            optout_offset=call.optout_offset,
        )
        commands.append(Write(dialing, acknowledged=True))
    tried = record(
        after,
        "tried",
        root_id(who.call_id, "tried", line.try_no),
        now_ms,
        try_no=line.try_no,
        caller_id=line.caller_id,
    )
    return [*commands, Write(tried, acknowledged=True)]


def _no_line(call: Call, none: NoLine, now_ms: int) -> list[Command]:
    if _waits(call, none):
        return [AwaitLine(none.wait_ms or 0)]
    if call.refusal is not None:
        why = call.refusal
        return _end(call, now_ms, why.reason, why.cause_q850, why.cause_sip)
    return _end(call, now_ms, "failed" if none.spent else NO_LINE, Q850_NO_CIRCUIT)


def _waits(call: Call, none: NoLine) -> bool:
    return none.wait_ms is not None and call.waited_ms + none.wait_ms <= LINE_WAIT_MS


def _fault(call: Call, given: Input) -> CarrierRefused | None:
    """What failed, where an input says that the present try failed by the carrier's fault before
    anything rang; busy and no answer are no such faults."""
    if call.phase != Phase.PLACED or call.between or call.identity.direction != "outbound":
        return None
    match given:
        case CarrierRefused(cause, sip) if is_carrier_fault(cause, sip):
            return given
        case NoResponse(n) if n == call.tries:
            return CarrierRefused(NO_RESPONSE, None, "failed", unsure=True)
        case Progressed(progress) if progress.kind == "ended" and _is_of_now(call, progress):
            q850, sip = progress.cause_q850, progress.cause_sip
            if is_carrier_fault(q850, sip):
                return CarrierRefused(q850 or Q850_TEMPORARY_FAILURE, sip, "failed")
    return None


def _try_another(call: Call, why: CarrierRefused, now_ms: int) -> list[Command]:
    refused = record(
        call,
        "refused",
        root_id(call.identity.call_id, "refused", call.tries),
        now_ms,
        try_no=call.tries,
        caller_id=call.caller_id,
        cause_q850=why.cause_q850,
        cause_sip=why.cause_sip,
        disposition=why.reason,
    )
    # The old try is surely over before its end is on the log and another begins.
    return [*([Abandon()] if why.unsure else []), Write(refused), FindLine()]


def _is_of_now(call: Call, progress: LineEvent) -> bool:
    """Whether a switch tells of the present try, not of one that was given up."""
    return not call.between and progress.try_no in (None, call.tries)


def _progressed(call: Call, progress: LineEvent, now_ms: int) -> list[Command]:
    """What the switch told becomes a record; ids are those of a carrier that tells the API."""
    call_id, kind = call.identity.call_id, progress.kind
    match kind:
        case "ended":
            cause = Q850_NORMAL if progress.cause_q850 is None else progress.cause_q850
            handed_over = call.handed_over and progress.disposition == "completed"
            became = "transferred" if handed_over else progress.disposition
            commands = _end(call, now_ms, became, cause, progress.cause_sip)
            return [c for c in commands if not isinstance(c, HangUp)]
        case "dtmf":
            event_id = root_id(call_id, "dtmf", progress.source)
            return [Write(record(call, kind, event_id, progress.at_ms, digits=progress.digits))]
        case "ringing" | "early_media" if call.phase >= Phase.ANSWERED:
            return []
        case _:
            return [Write(record(call, kind, call_once_id(call_id, kind), progress.at_ms))]


def _directed(call: Call, directive: Directive) -> list[Command]:
    if directive.directive_id in call.done:
        return []
    out: list[Command] = []
    if directive.turn_silence_ms is not None:
        out.append(SetTurnSilence(directive.turn_silence_ms))
    match directive.kind:
        case "say" if directive.prompt_sha256 is not None:
            out.append(Play(directive))
        case "listen" if directive.reason == WATCH_ANSWER:
            out.append(WatchAnswer())
        case "stop":
            out.append(Flush())
        case "dtmf" if directive.digits:
            out.append(SendKeys(directive.digits))
        case "hangup" | "transfer":
            out.append(Drain(directive))
    return out


def _tell_started(call: Call, given: PlayoutStarted, now_ms: int) -> list[Command]:
    event = record(
        call,
        "playout_started",
        root_id(call.identity.call_id, "playout_started", given.directive_id),
        now_ms,
        directive_id=given.directive_id,
        prompt_id=given.prompt_id,
        prompt_ms=given.prompt_ms,
    )
    return [Write(event)]


def _tell_held_up(call: Call, given: PlayoutHeldUp, now_ms: int) -> list[Command]:
    event = record(
        call,
        given.kind,
        root_id(call.identity.call_id, given.kind, given.directive_id, given.n),
        now_ms,
        directive_id=given.directive_id,
        prompt_id=given.prompt_id,
        prompt_ms=given.prompt_ms,
        heard_ms=given.at_ms,
    )
    return [Write(event)]


def _tell_ended(call: Call, given: PlayoutEnded, now_ms: int) -> list[Command]:
    if given.directive_id in call.done:
        return []
    event = record(
        call,
        "playout_ended",
        root_id(call.identity.call_id, "playout_ended", given.directive_id),
        now_ms,
        directive_id=given.directive_id,
        prompt_id=given.prompt_id,
        prompt_ms=given.prompt_ms,
        heard_ms=given.heard_ms,
        disposition="prompt_missing" if given.missing else None,
    )
    return [Write(event)]


def _transferred(call: Call, directive: Directive, ok: bool, now_ms: int) -> list[Command]:
    if not ok:
        return _end(call, now_ms, "failed", Q850_TEMPORARY_FAILURE)
    event = record(
        call,
        "transferred",
        root_id(call.identity.call_id, "transferred", directive.directive_id),
        now_ms,
        causation_id=directive.event_id,
        directive_id=directive.directive_id,
        transfer_to=directive.target,
    )
    return [Write(event)]


def _end(
    call: Call,
    now_ms: int,
    disposition: str,
    cause_q850: int,
    cause_sip: int | None = None,
    law: Refusal | None = None,
) -> list[Command]:
    """Media first, so that what was heard is reported before the end; the carrier last, so that our
    reason for the end is recorded first."""
    ended = record(
        call,
        "ended",
        call_once_id(call.identity.call_id, "ended"),
        now_ms,
        first=call.phase <= Phase.DIALING and call.tries == 0,
        disposition=disposition,
        cause_q850=cause_q850,
        cause_sip=cause_sip,
        silent_ms=silent_ms(call, now_ms),
        rule=None if law is None else law.rule,
        reason=None if law is None else law.reason,
        lawful_at=None if law is None else law.until,
    )
    placed = call.phase >= Phase.PLACED and call.identity.direction != "foreign"
    return [CloseMedia(), Write(ended), *([HangUp()] if placed else [])]


def unfinished(call: Call, directives: list[Directive]) -> list[Directive]:
    """Directives that were not carried out before a restart.

    Prompts without a `playout_ended` are played (again); `stop`, keys and settings before the last
    finished prompt are history.
    """
    left: list[Directive] = []
    for directive in directives:
        if directive.directive_id in call.done:
            left = [d for d in left if d.kind in ("say", "hangup", "transfer")]
        elif directive.kind == "stop":
            left = [d for d in left if d.kind in ("hangup", "transfer")]
        elif directive.kind != "message":
            left.append(directive)
    return left
