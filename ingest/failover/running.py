"""The calls in progress on all edges, as the log tells. Pure: a fold.

An edge that begins to serve goes on with its own calls, and a dead edge's are ended or taken over.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ingest.call.machine import evolve, unfinished
from ingest.call.records import identity_from
from ingest.call.types import MAX_CALL_MS, Call, NumberChecked, Phase, Recorded
from schemas.events import CallEvent, Directive

EARLY_MS: Final = 60_000
"""How long a directive waits for the first record of its call, once the log's end was reached."""


class Survivor(NamedTuple):
    """A call that has not ended, and the directives that it has not carried out."""

    call: Call
    directives: list[Directive]


@dataclass(slots=True)
class _Running:
    """`call` is None where the first record is not an edge's."""

    call: Call | None
    began_ms: int
    directives: list[Directive] = field(default_factory=list)


class RunningCalls:
    """Folds `calls.events` and `dialogue.directives`."""

    def __init__(self, asr_profile: str) -> None:
        """`asr_profile` is for records that name none."""
        self._asr_profile = asr_profile
        self._calls: dict[str, _Running] = {}
        self._early: dict[str, list[Directive]] = {}  # read before their call's first record
        self._early_ms = 2 * MAX_CALL_MS

    def take_event(self, call_id: str, event: CallEvent) -> None:
        """The next record of a call; its end forgets it."""
        if event.kind == "ended":
            self._calls.pop(call_id, None)
            self._early.pop(call_id, None)
            return
        if event.kind == "withdrawn":
            return  # it begins no call; whoever takes over one that rings lets the robot end it
        running = self._calls.get(call_id)
        if running is None:
            identity = identity_from(event, self._asr_profile)
            call = None if identity is None else Call(identity, event.trunk or "")
            early = self._early.pop(call_id, [])
            running = self._calls[call_id] = _Running(call, event.occurred_at, early)
        if running.call is not None:
            running.call = evolve(running.call, Recorded(event))
            if event.directive_id is not None:
                running.directives = unfinished(running.call, running.directives)

    def take_directive(self, call_id: str, directive: Directive) -> None:
        """The next directive that counts."""
        running = self._calls.get(call_id)
        if running is not None:
            running.directives.append(directive)
        else:
            self._early.setdefault(call_id, []).append(directive)

    def edge_of(self, call_id: str) -> str | None:
        """The edge of a running call; None for a call that is not known."""
        running = self._calls.get(call_id)
        return None if running is None or running.call is None else running.call.identity.edge_id

    def all(self) -> list[Call]:
        """The running calls of all edges."""
        return [one.call for one in self._calls.values() if one.call is not None]

    def of(self, edge_id: str) -> list[Call]:
        """The running calls of an edge."""
        return [call for call in self.all() if call.identity.edge_id == edge_id]

    def began_ms(self, call_id: str) -> int | None:
        """When a running call's first record was written."""
        running = self._calls.get(call_id)
        return None if running is None else running.began_ms

    def survivors(self, edge_id: str) -> list[Survivor]:
        """An edge's calls as its successor takes them up, once all of the log was read."""
        self._early.clear()
        self._early_ms = EARLY_MS
        return [self._taken_up(call.identity.call_id) for call in self.of(edge_id)]

    def take_up(self, call_id: str, edge_id: str) -> Survivor | None:
        """One call as its successor takes it up; None if it is not that edge's (any more)."""
        return self._taken_up(call_id) if self.edge_of(call_id) == edge_id else None

    def _taken_up(self, call_id: str) -> Survivor:
        """Its directives are forgotten: from now on they go to the call itself."""
        running = self._calls[call_id]
        call = running.call
        assert call is not None, "it has an edge"
        directives, running.directives = unfinished(call, running.directives), []
        if call.phase == Phase.DIALING:
            # Nobody knows whether the carrier was asked, so it is not asked again. Its
            # events, if they come, find the call here; if not, it ends as unanswered.
            call = evolve(call, NumberChecked(False, None))
        return Survivor(call, directives)

    def forget(self, now_ms: int) -> list[str]:
        """Forgets calls that nobody can be in any more, since their end never reached the log, and
        directives of calls that are over; gives their ids."""
        before = now_ms - 2 * MAX_CALL_MS
        old = [call_id for call_id, running in self._calls.items() if running.began_ms < before]
        before = now_ms - self._early_ms
        old += [call_id for call_id, early in self._early.items() if early[0].occurred_at < before]
        for call_id in old:
            self._calls.pop(call_id, None)
            self._early.pop(call_id, None)
        return old

    def __len__(self) -> int:
        return len(self._calls)
