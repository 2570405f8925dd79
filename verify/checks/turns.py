"""An input of a call leaves exactly one turn, and the turn's directives were written."""

from typing import NamedTuple

from schemas.acceptance import NO_EPOCH, Acceptance
from schemas.events import Directive
from verify.check import RECOVERY_MS, ROBOT_GRACE_MS, Check, Context, Result
from verify.record import LogRecord


class _Input(NamedTuple):
    """An input that needs a turn."""

    call_id: str
    what: str
    timestamp_ms: int
    where: str


class _Turn(NamedTuple):
    """The turn that counts for an input."""

    event_id: str
    call_id: str
    input_kind: str
    directives: tuple[str, ...]
    void: bool
    occurred_at: int
    timestamp_ms: int
    judged: bool
    where: str


_RECORDED = {
    "final": "asr.transcripts", "answered": "calls.events", "amd": "calls.events",
    "dtmf": "calls.events",
}  # fmt: skip
"""Place of a turn's input; a silence is the robot's own timer, `answerer` its reading of words."""


class Turns(Check):
    """Folds customers' finals, answers and key presses, the turns, and accepted directives."""

    name = "turns"
    title = "every input of a customer leaves one turn, and its directives are written"
    unit = "inputs"
    topics = frozenset({"calls.events", "asr.transcripts", "dialogue.turns", "dialogue.directives"})

    def __init__(self) -> None:
        super().__init__()
        self._inputs: dict[str, _Input] = {}
        self._known: set[str] = set()
        self._turns: dict[str, _Turn] = {}
        self._acceptance = Acceptance()
        self._epochs: dict[str, int] = {}
        self._ended: dict[str, int] = {}
        self._answered: set[str] = set()

    def feed(self, record: LogRecord) -> None:
        event = record.event
        match record.topic:
            case "dialogue.directives":
                # By the rule, repeats and all: a stale record does not use up its id.
                rule = Directive.model_construct(**event)
                self._acceptance.evolve(record.partition, rule)
            case "dialogue.turns":
                self._turn(record)
            case _ if not record.first:
                pass
            case "asr.transcripts":
                if event["kind"] == "final" and event["leg"] == "customer":
                    self._ask(record, "final")
            case "calls.events":
                self._call_event(record)

    def _call_event(self, record: LogRecord) -> None:
        event = record.event
        call_id = event["call_id"]
        match event["kind"]:
            case "ended":
                self._ended.setdefault(call_id, event["occurred_at"])
            case "answered" if call_id not in self._answered:
                self._answered.add(call_id)
                self._ask(record, "answer")
            case "amd" if event.get("answered_by"):
                self._ask(record, "record of who answered")
            case "dtmf" if event["digits"]:
                self._ask(record, "key press")

    def _ask(self, record: LogRecord, what: str) -> None:
        this = record.event["event_id"]
        self._known.add(this)
        if record.judged:
            where = record.where
            self._inputs[this] = _Input(record.event["call_id"], what, record.timestamp_ms, where)

    def _turn(self, record: LogRecord) -> None:
        event = record.event
        call_id = event["call_id"]
        epoch = NO_EPOCH if event["epoch"] is None else event["epoch"]
        highest = self._epochs.get(call_id, NO_EPOCH)
        self._epochs[call_id] = max(highest, epoch)
        turn = _Turn(
            event["event_id"],
            call_id,
            event["input_kind"],
            tuple(event["directive_ids"]),
            # A silenced speaker's timer, written after its successor's turn, changes nothing.
            event["input_kind"] == "silence" and epoch < highest,
            event["occurred_at"],
            record.timestamp_ms,
            record.judged,
            record.where,
        )
        before = self._turns.setdefault(event["input_event_id"], turn)
        if before is turn:
            return
        self.result.repeats += 1
        if before.event_id != turn.event_id:
            self.result.violate(
                "two_turns",
                "an input has two turns of different ids",
                before.where,
                turn.where,
                call_id=turn.call_id,
                input_event_id=event["input_event_id"],
            )

    def finish(self, context: Context) -> Result:
        result = self.result
        result.looked_at = len(self._inputs)
        for this, given in self._inputs.items():
            if this in self._turns:
                continue
            if not context.waited(given.timestamp_ms, ROBOT_GRACE_MS):
                result.open += 1
                continue
            result.violate(
                "no_turn",
                f"a customer's {given.what} has no turn",
                given.where,
                call_id=given.call_id,
                event_id=this,
            )
        for input_id, turn in self._turns.items():
            if turn.judged:
                self._judge(input_id, turn, context)
        result.notes.append(f"{len(self._turns)} turns")
        return result

    def _judge(self, input_id: str, turn: _Turn, context: Context) -> None:
        source = _RECORDED.get(turn.input_kind)
        if source is not None and input_id not in self._known and context.whole(source):
            self.result.violate(
                "no_input",
                f"a turn answers a {turn.input_kind} that is not on the log",
                turn.where,
                call_id=turn.call_id,
                input_event_id=input_id,
            )
        missing = {d for d in turn.directives if not self._acceptance.has(turn.call_id, d)}
        if not missing or turn.void:
            return
        ended_ms = self._ended.get(turn.call_id)
        if ended_ms is not None and ended_ms - turn.occurred_at <= RECOVERY_MS:
            return  # its speaker died, and nobody speaks in a call that is over
        if not context.waited(turn.timestamp_ms, ROBOT_GRACE_MS):
            self.result.open += 1
            return
        self.result.violate(
            "no_directive",
            f"a turn names {len(missing)} directives that were not accepted",
            turn.where,
            call_id=turn.call_id,
            directive_id=min(missing),
        )
