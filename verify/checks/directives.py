"""Directives by the epoch rule: what the edge played was accepted, no input was answered twice, and
no two prompts of a call sounded at once."""

from dataclasses import dataclass
from typing import NamedTuple

from schemas.acceptance import Acceptance, Standing
from schemas.events import Directive
from verify.check import ROBOT_GRACE_MS, Check, Context, Result
from verify.record import LogRecord

LONGEST_PAUSES_MS = 1_800
"""Longest pause of a prompt on a noisy line: three pauses of 600 ms at the edge."""

CLOCKS_MS = 1_000
"""Difference between the clocks of an edge and a robot worker."""


class _Given(NamedTuple):
    """A directive as it lies on the log."""

    call_id: str
    kind: str
    cause: str | None
    occurred_at: int
    timestamp_ms: int
    judged: bool
    where: str


class _Playout(NamedTuple):
    """A prompt's beginning."""

    call_id: str
    directive_id: str
    started_at: int
    prompt_ms: int
    judged: bool
    where: str


@dataclass(slots=True)
class _Answer:
    """The turn that counts for an input."""

    directives: frozenset[str]
    where: str


class Directives(Check):
    """Folds `dialogue.directives` by `schemas.acceptance`, the turns that name them, and playouts.

    The rule itself says that accepted epochs of a partition never go back; this check proves that
    everybody kept it.
    """

    name = "directives"
    title = "one speaker at a time, and only what counts is played"
    unit = "directives"
    topics = frozenset({"dialogue.directives", "dialogue.turns", "calls.events"})

    def __init__(self) -> None:
        super().__init__()
        self._acceptance = Acceptance()
        self._accepted: dict[str, _Given] = {}
        self._dropped: dict[str, Standing] = {}
        self._stops: dict[str, list[int]] = {}
        self._answers: dict[str, _Answer] = {}
        self._started: dict[tuple[str, str], _Playout] = {}
        self._sounding: dict[str, _Playout] = {}
        self._overlaps: list[tuple[_Playout, _Playout]] = []
        self._stale = 0

    def feed(self, record: LogRecord) -> None:
        match record.topic:
            case "dialogue.directives":
                self._directive(record)
            case "dialogue.turns":
                event = record.event
                answer = _Answer(frozenset(event["directive_ids"]), record.where)
                self._answers.setdefault(event["input_event_id"], answer)
            case _ if record.first:
                self._call_event(record)

    def _directive(self, record: LogRecord) -> None:
        event = record.event
        call_id, directive_id = event["call_id"], event["directive_id"]
        rule = Directive.model_construct(**event)
        standing = self._acceptance.evolve(record.partition, rule)
        if standing == "accepted":
            self._accepted[directive_id] = _Given(
                call_id, event["kind"], event["causation_id"], event["occurred_at"],
                record.timestamp_ms, record.judged, record.where,
            )  # fmt: skip
            if event["kind"] == "stop":
                self._stops.setdefault(call_id, []).append(event["occurred_at"])
        elif standing == "duplicate":
            self.result.repeats += 1
        elif standing == "stale":
            self._stale += 1
            self._dropped.setdefault(directive_id, standing)

    def _call_event(self, record: LogRecord) -> None:
        event = record.event
        kind, call_id, directive_id = event["kind"], event["call_id"], event["directive_id"]
        if kind == "playout_started" and directive_id:
            this = _Playout(
                call_id, directive_id, event["occurred_at"], event["prompt_ms"] or 0,
                record.judged, record.where,
            )  # fmt: skip
            before = self._started.setdefault((call_id, directive_id), this)
            if before is not this:
                self.result.violate(
                    "played_twice",
                    "a directive was played under two event ids",
                    before.where,
                    this.where,
                    call_id=call_id,
                    directive_id=directive_id,
                )
            sounding = self._sounding.get(call_id)
            if sounding is not None and sounding.directive_id != directive_id:
                self._overlaps.append((sounding, this))
            self._sounding[call_id] = this
        elif kind == "playout_ended":
            sounding = self._sounding.get(call_id)
            if sounding is not None and sounding.directive_id == directive_id:
                del self._sounding[call_id]

    def finish(self, context: Context) -> Result:
        result = self.result
        result.looked_at = len(self._accepted)
        if context.whole("dialogue.directives"):
            for playout in self._started.values():
                self._played(playout)
        for first, second in self._overlaps:
            self._overlap(first, second)
        if context.whole("dialogue.turns"):
            for directive_id, given in self._accepted.items():
                if given.kind != "stop" and given.judged:
                    self._answered(directive_id, given, context)
        if self._stale:
            result.notes.append(f"{self._stale} directives of an old epoch; nobody took them")
        result.notes.append(f"{len(self._started)} prompts were played")
        return result

    def _played(self, playout: _Playout) -> None:
        """The edge plays only what counts."""
        if not playout.judged:
            return
        given = self._accepted.get(playout.directive_id)
        ids = {"call_id": playout.call_id, "directive_id": playout.directive_id}
        if given is None:
            dropped = self._dropped.get(playout.directive_id)
            rule, text = ("played_unknown", "a prompt was played that no directive asked for")
            if dropped is not None:
                rule, text = ("played_stale", "a prompt was played of a directive of an old epoch")
            self.result.violate(rule, text, playout.where, **ids)
        elif given.kind != "say" or given.call_id != playout.call_id:
            self.result.violate(
                "played_wrong",
                f"what was played is a {given.kind} of call {given.call_id}",
                given.where,
                playout.where,
                **ids,
            )

    def _overlap(self, first: _Playout, second: _Playout) -> None:
        """A second prompt began and the first has no end before it on the log.

        An edge that died reported no end: its prompt counts as over once it must be, and its
        successor carries out a later `stop` without a record.
        """
        over_ms = first.started_at + first.prompt_ms + LONGEST_PAUSES_MS
        stopped = any(
            first.started_at - CLOCKS_MS <= at <= second.started_at + CLOCKS_MS
            for at in self._stops.get(first.call_id, ())
        )
        if stopped or second.started_at >= over_ms:
            return
        self.result.violate(
            "overlap",
            "a prompt began while another one of its call was being played",
            first.where,
            second.where,
            call_id=first.call_id,
        )

    def _answered(self, directive_id: str, given: _Given, context: Context) -> None:
        """Every directive of a robot belongs to the one turn of its input."""
        answer = self._answers.get(given.cause or "")
        if answer is None:
            if context.waited(given.timestamp_ms, ROBOT_GRACE_MS):
                self.result.violate(
                    "without_turn",
                    f"an accepted {given.kind} belongs to no turn",
                    given.where,
                    call_id=given.call_id,
                    directive_id=directive_id,
                )
            else:
                self.result.open += 1
        elif directive_id not in answer.directives:
            self.result.violate(
                "second_answer",
                f"an accepted {given.kind} is not among those of its input's turn: the input was "
                "answered twice",
                answer.where,
                given.where,
                call_id=given.call_id,
                directive_id=directive_id,
            )
