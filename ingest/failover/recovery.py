"""The calls that ran when this edge died, as the log tells. Pure: a fold, read once."""

from typing import NamedTuple

from ingest.call.machine import evolve, identity_from, unfinished
from ingest.call.types import Call, NumberChecked, Phase, Recorded
from schemas.events import CallEvent, Directive


class Survivor(NamedTuple):
    """A call that has not ended, and the directives that it has not carried out."""

    call: Call
    directives: list[Directive]


class Recovery:
    """Folds `calls.events` and `dialogue.directives` up to the edge's start."""

    def __init__(self) -> None:
        self._events: dict[str, list[CallEvent]] = {}
        self._directives: dict[str, list[Directive]] = {}

    def take_event(self, call_id: str, event: CallEvent) -> None:
        """The next record of a call; its end forgets it."""
        if event.kind == "ended":
            self._events.pop(call_id, None)
            self._directives.pop(call_id, None)
        else:
            self._events.setdefault(call_id, []).append(event)

    def take_directive(self, call_id: str, directive: Directive) -> None:
        """The next directive that counts."""
        self._directives.setdefault(call_id, []).append(directive)

    def survivors(self, edge_id: str, trunk: str, asr_profile: str) -> list[Survivor]:
        """The running calls of an edge. `trunk` and `asr_profile` are for records that name
        none."""
        survivors: list[Survivor] = []
        for call_id, events in self._events.items():
            identity = identity_from(events[0], asr_profile)
            if identity is None or identity.edge_id != edge_id:
                continue
            call = Call(identity, events[0].trunk or trunk)
            for event in events:
                call = evolve(call, Recorded(event))
            if call.phase == Phase.DIALING:
                # Nobody knows whether the carrier was asked, so it is not asked again. Its events,
                # if they come, find the call here; if not, it ends as unanswered.
                call = evolve(call, NumberChecked(False, None))
            left = unfinished(call, self._directives.get(call_id, []))
            survivors.append(Survivor(call, left))
        return survivors
