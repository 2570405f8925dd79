"""What the machine of one call (`ingest.call.machine`) is made of: state, inputs, commands."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Literal

from ingest.trunks.driver import LineEvent
from ringlog.dispositions import CANCELLED, NOT_A_PERSON
from ringlog.law.facts import Refusal
from schemas.events import CallEvent, Directive

Direction = Literal["outbound", "inbound", "foreign"]
HeldUp = Literal["playout_paused", "playout_resumed"]

RING_TIMEOUT_MS: Final = 60_000
"""Longest time from asking the carrier to the answer."""

LINE_WAIT_MS: Final = 10_000
"""Longest time that a call waits for a trunk with room."""

MAX_CALL_MS: Final = 3_600_000
"""Longest call. Services that rebuild from the log read this far back and rely on it."""

OUTCOMES: Final = NOT_A_PERSON | frozenset(
    {
        "completed", "opted_out", "transferred", "interested", "callback", "no_answer", "busy",
        "failed", "abandoned", CANCELLED,
    }
)  # fmt: skip
"""Reasons of a `hangup` directive that are the call's disposition, too."""

WATCH_ANSWER: Final = "answerer"
"""Reason of a `listen` directive that asks who answered."""

Q850_NORMAL: Final = 16
Q850_USER_BUSY: Final = 17
Q850_NO_ANSWER: Final = 19
Q850_REJECTED: Final = 21
Q850_NO_CIRCUIT: Final = 34
Q850_TEMPORARY_FAILURE: Final = 41
Q850_RECOVERY_ON_TIMER: Final = 102


class Phase(IntEnum):
    """How far a call has come. It never goes back."""

    PERMITTED = 0  # assigned to us, nothing written yet
    DIALING = 1  # `dialing` is being written
    PLACED = 2  # the carrier is being asked, or was
    RINGING = 3
    ANSWERED = 4
    ENDED = 5


@dataclass(frozen=True, slots=True)
class Identity:
    """What stays the same through a call; the first record of the call copies all of it."""

    call_id: str
    edge_id: str
    direction: Direction
    tenant_id: str = "default"
    task_id: str | None = None
    customer_id: str | None = None
    campaign_id: str | None = None
    pool: str | None = None
    robot_id: str | None = None
    attempt: int = 0
    phone: str | None = None
    playbook: str | None = None
    playbook_version: str | None = None
    asr_profile: str = ""  # the edge resolves it; empty only in tests
    profile: str | None = None
    profile_version: int | None = None
    permit_expires_at: int | None = None
    cause_id: str | None = None
    caller_id: str | None = None  # that the campaign wants shown
    variant: str | None = None
    terms: str | None = None
    number_dials: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """State of one call."""

    identity: Identity
    trunk: str
    phase: Phase = Phase.PERMITTED
    answered_at_ms: int | None = None
    done: frozenset[str] = field(default_factory=frozenset)  # directives carried out
    handed_over: bool = False  # transferred: its sound may go elsewhere
    closing: bool = False  # our `ended` is on its way
    tries: int = 0  # the last try, from 1
    caller_id: str | None = None
    optout_offset: int | None = None
    refusal: "CarrierRefused | None" = None  # why the last try that failed did
    refused_try: int = 0  # its number
    between: bool = False  # it failed, and no switch was asked since
    waited_ms: int = 0  # for a trunk with room
    moves: int = 0  # from edge to edge
    placed_by: str = ""  # the edge that placed it, where it has moved since
    greeted_at_ms: int | None = None  # when the callee was last heard before we spoke
    spoke_at_ms: int | None = None  # when the first prompt began

    @property
    def owner_on_switch(self) -> str:
        """The edge by whose name the switch knows the call's channels."""
        return self.placed_by or self.identity.edge_id

    @property
    def looks(self) -> bool:
        """Whether a trunk for the next try is looked for."""
        if self.phase == Phase.DIALING:
            return self.tries == 0
        return self.between and self.refused_try == self.tries


# Inputs ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Assigned:
    """Dispatch gave the call to this edge."""


@dataclass(frozen=True, slots=True)
class NumberChecked:
    """Whether the number may be dialled now.

    The do-not-call list was read to its end, `offset`; `opted_out` is None if it could not be read.
    `in_call`: the number is in another running call. `stopping`: this edge no longer dials. `full`:
    it has as many calls as it takes. `mute`: it cannot get a prompt that the call may play.
    `unlawful`: the law forbids the call by now.
    """

    opted_out: bool | None
    offset: int | None
    in_call: bool = False
    stopping: bool = False
    full: bool = False
    mute: bool = False
    unlawful: Refusal | None = None

    @property
    def allowed(self) -> bool:
        """Nothing speaks against dialling."""
        against = (
            self.in_call or self.stopping or self.full or self.mute or self.unlawful is not None
        )
        return self.opted_out is False and not against


@dataclass(frozen=True, slots=True)
class LineFound:
    """A trunk takes the call's next try."""

    try_no: int
    trunk: str
    caller_id: str | None = None


@dataclass(frozen=True, slots=True)
class NoLine:
    """No trunk takes the call; one may after `wait_ms`, where there is a time. `spent`: the
    contact's tries are used up."""

    wait_ms: int | None = None
    spent: bool = False


@dataclass(frozen=True, slots=True)
class LineAwaited:
    """The time to look for a trunk again has come."""


@dataclass(frozen=True, slots=True)
class TriedWritten:
    """The broker has acknowledged `tried`."""


@dataclass(frozen=True, slots=True)
class CarrierRefused:
    """The carrier would not take the call. `unsure`: nobody knows whether it took it after all."""

    cause_q850: int
    cause_sip: int | None
    reason: str
    unsure: bool = False


@dataclass(frozen=True, slots=True)
class NoResponse:
    """The carrier has not said a word of this try."""

    try_no: int


@dataclass(frozen=True, slots=True)
class Progressed:
    """The switch has told a step of the call."""

    progress: LineEvent


@dataclass(frozen=True, slots=True)
class Recorded:
    """A record of this call, as read from `calls.events`."""

    event: CallEvent


@dataclass(frozen=True, slots=True)
class Directed:
    """A directive that counts."""

    directive: Directive


@dataclass(frozen=True, slots=True)
class PlayoutStarted:
    """The first frame of a prompt went out."""

    directive_id: str
    prompt_id: str | None
    prompt_ms: int


@dataclass(frozen=True, slots=True)
class PlayoutHeldUp:
    """A prompt has paused for a voice for the `n`-th time, or has resumed.

    `at_ms`: how much of it was heard, or from where it goes on.
    """

    kind: HeldUp
    directive_id: str
    prompt_id: str | None
    prompt_ms: int
    at_ms: int
    n: int


@dataclass(frozen=True, slots=True)
class PlayoutEnded:
    """A prompt is over, after `heard_ms` of it."""

    directive_id: str
    prompt_id: str | None
    prompt_ms: int
    heard_ms: int
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Drained:
    """Everything queued before this directive was played or stopped. `fault`: the call's media was
    gone by then (`ingest.sound.presence`)."""

    directive: Directive
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Transferred:
    """The carrier's answer to a transfer."""

    directive: Directive
    ok: bool


@dataclass(frozen=True, slots=True)
class KeyPressed:
    """A key came over the media connection; `source` names the key press."""

    digit: str
    source: str


@dataclass(frozen=True, slots=True)
class AnswerHeard:
    """Evidence on who answered (`ingest.sound.answer`), `at_ms` after the watch began."""

    name: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class HungUp:
    """The call has to end for a reason of our own or of the media's far end."""

    disposition: str
    cause_q850: int = Q850_NORMAL


@dataclass(frozen=True, slots=True)
class RingTimedOut:
    """The carrier was asked `RING_TIMEOUT_MS` ago, in this try; None: in the present one."""

    try_no: int | None = None


Input = (
    Assigned | NumberChecked | LineFound | NoLine | LineAwaited | TriedWritten | CarrierRefused
    | NoResponse | Progressed | Recorded | Directed | PlayoutStarted | PlayoutHeldUp | PlayoutEnded
    | Drained | Transferred | KeyPressed | AnswerHeard | HungUp | RingTimedOut
)  # fmt: skip


# Commands ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Write:
    """Write a record to `calls.events`; with `acknowledged`, wait for the broker."""

    event: CallEvent
    acknowledged: bool = False


@dataclass(frozen=True, slots=True)
class CheckNumber:
    """Read the do-not-call list to its end, look the number up there and among the running calls:
    gives `NumberChecked`."""

    phone: str


@dataclass(frozen=True, slots=True)
class FindLine:
    """Choose the trunk of the next try: gives `LineFound` or `NoLine`."""


@dataclass(frozen=True, slots=True)
class AwaitLine:
    """Gives `LineAwaited` after a time."""

    wait_ms: int


@dataclass(frozen=True, slots=True)
class Abandon:
    """End a try that a switch may have placed, and wait until it was asked to."""


@dataclass(frozen=True, slots=True)
class Dial:
    """Open media and ask the carrier for the call."""

    phone: str


@dataclass(frozen=True, slots=True)
class Play:
    """Queue a `say` directive's prompt."""

    directive: Directive


@dataclass(frozen=True, slots=True)
class SendKeys:
    """Queue digits to send."""

    digits: str


@dataclass(frozen=True, slots=True)
class SetTurnSilence:
    """Chunks carry this value from now on."""

    ms: int


@dataclass(frozen=True, slots=True)
class WatchAnswer:
    """Tell from now on who answered: gives `AnswerHeard`."""


@dataclass(frozen=True, slots=True)
class Flush:
    """Silence at once; forget what waits to be played."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Gives `Drained` once the queue was played."""

    directive: Directive


@dataclass(frozen=True, slots=True)
class Transfer:
    """Ask the carrier to connect the customer elsewhere: gives `Transferred`."""

    directive: Directive


@dataclass(frozen=True, slots=True)
class HangUp:
    """Tell the carrier that the call is over."""


@dataclass(frozen=True, slots=True)
class CloseMedia:
    """End sound in both directions; what is pending is logged."""


@dataclass(frozen=True, slots=True)
class LetGo:
    """Another edge has the call: let go of it without an end."""


Command = (
    Write | CheckNumber | FindLine | AwaitLine | Abandon | Dial | Play | SendKeys | SetTurnSilence
    | WatchAnswer | Flush | Drain | Transfer | HangUp | CloseMedia
    | LetGo
)  # fmt: skip
