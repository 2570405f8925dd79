"""All calls of a shard: what was said, what waits for an answer, what to decide next.

A mutable index behind a pure-looking interface: it reads no clock and writes nothing. Inputs are
only pending until their turn and all of its directives were read back from the log; a decision in
flight holds back the next one of its call, so that every decision stands on the log alone.
"""

from dataclasses import dataclass, field, replace

from ringlog.kafka.reader import Received
from schemas.acceptance import NO_EPOCH, Acceptance, Standing
from schemas.events import CallEvent, Directive, Transcript, Turn
from schemas.ids import event_id
from streams.robots.answerer import OPENING_MS, verdict_of_words
from streams.robots.dialogue import Decision, decide, input_of, without_script
from streams.robots.inputs import Input, Scene
from streams.robots.library import Library
from streams.robots.loading import Script
from streams.robots.overlap import silence_due, stop_for_speech, stop_id_of, stop_prompt
from streams.robots.state import CallFacts, Dialogue, evolve, evolve_facts, evolve_speech
from streams.robots.understanding import Understander

TOPICS = ("calls.events", "asr.transcripts", "dialogue.turns", "dialogue.directives")

CUT_MS = 29_000
"""A final this long was cut by the recogniser, which ends a turn after 30 s without a pause."""

PATIENCE_MS = 10_000
"""How long an input waits for its call's first records or its playbook before it is skipped."""

LONGEST_CALL_MS = 3_600_000
"""Longest call: the log is folded from this far back, and older calls are forgotten."""


@dataclass(slots=True)
class Pending:
    """An input that needs a turn. `logged_ms` is its Kafka timestamp; a timer has none."""

    given: Input
    topic: str
    partition: int
    offset: int
    logged_ms: int
    seen_ms: int


@dataclass(slots=True)
class Call:
    """One call of the shard."""

    facts: CallFacts
    partition: int
    state: Dialogue = field(default_factory=Dialogue)
    before: Dialogue = field(default_factory=Dialogue)
    """The state in which the last turn's input was decided."""
    unfinished: tuple[Turn, Input] | None = None
    """A turn whose directives are not all read back yet, and its input."""
    pending: dict[str, Pending] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    """Ids of inputs that have their turn."""
    given: dict[str, Input] = field(default_factory=dict)
    partial: Input | None = None
    in_flight: set[str] = field(default_factory=set)
    """Ids of records that were sent and not read back yet."""
    due: Input | None = None
    epoch: int = NO_EPOCH
    """The highest of its turns."""
    seen_ms: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """Records to write now, turn first; `source` is what they answer, where it is a record."""

    call_id: str
    turn: Turn | None
    directives: tuple[Directive, ...]
    source: Pending | None = None


class Undecidable(Exception):
    """An input on which `decide` failed: a bug of ours, which must not stop the service."""

    def __init__(self, call_id: str, input_id: str, source: Pending | None) -> None:
        super().__init__(f"call {call_id}, input {input_id}")
        self.call_id, self.input_id, self.source = call_id, input_id, source


class Shard:
    """The calls of some partitions, folded from `TOPICS`."""

    def __init__(self, library: Library, producer: str) -> None:
        self.calls: dict[str, Call] = {}
        self.acceptance = Acceptance()
        self._library = library
        self._producer = producer
        self._touched: set[str] = set()
        self._due: dict[str, int] = {}
        self._hears_ms = 0

    # -- folding

    def fold(self, r: Received, now_ms: int) -> tuple[str | None, Standing | None]:
        """Folds one record; returns the call it touches, and for a directive its standing."""
        event, standing = r.event, None
        if isinstance(event, Directive):
            standing = self.acceptance.evolve(r.partition, event)
            if standing == "barrier" or event.call_id is None:
                return None, standing
        if event.call_id is None:
            return None, None
        call = self._call(event.call_id, r.partition, now_ms)
        match event:
            case CallEvent():
                self._call_event(call, event, r, now_ms)
            case Transcript() if event.leg == "customer":
                self._transcript(call, event, r, now_ms)
            case Turn():
                self._turn(call, event)
            case Directive():
                call.in_flight.discard(event.directive_id)
                if standing == "accepted":
                    call.state = evolve(call.state, event)
        self._settle(event.call_id, call)
        return event.call_id, standing

    def _call(self, call_id: str, partition: int, now_ms: int) -> Call:
        call = self.calls.get(call_id)
        if call is None:
            call = self.calls[call_id] = Call(CallFacts(call_id), partition)
        call.seen_ms = now_ms
        return call

    def _call_event(self, call: Call, event: CallEvent, r: Received, now_ms: int) -> None:
        first_answer = event.kind == "answered" and not call.facts.answered
        withdrawn = event.kind == "withdrawn" and call.facts.withdrawn is None
        call.facts = evolve_facts(call.facts, event)
        if first_answer:
            self._ask(call, Input("answered", event.event_id, event.occurred_at), r, now_ms)
        elif withdrawn and call.facts.answered:
            self._ask(call, Input("withdrawn", event.event_id, event.occurred_at), r, now_ms)
        elif event.kind == "dtmf" and event.digits:
            given = Input("dtmf", event.event_id, event.occurred_at, digits=event.digits)
            self._ask(call, given, r, now_ms)
        elif event.kind == "amd" and event.answered_by:
            given = Input("amd", event.event_id, event.occurred_at, event.answered_by)
            self._ask(call, given, r, now_ms)

    def _transcript(self, call: Call, event: Transcript, r: Received, now_ms: int) -> None:
        call.facts = evolve_speech(call.facts, event)
        if self._no_person_speaks(call, event):
            told = event_id(event.utterance_id, "answerer")
            self._ask(call, Input("answerer", told, event.occurred_at, event.text), r, now_ms)
        given = Input("final", event.event_id, event.occurred_at, event.text, event.utterance_id,
                      cut=event.end_ms - event.start_ms >= CUT_MS)  # fmt: skip
        if event.kind == "final":
            self._ask(call, given, r, now_ms)
            call.partial = None
        else:
            call.partial = given

    def _no_person_speaks(self, call: Call, event: Transcript) -> bool:
        """Whether the words so far are a machine's, and that has not been said yet."""
        facts, state = call.facts, call.state
        if facts.answered_at is None or state.no_person or state.identified or state.finished:
            return False
        if event.occurred_at - facts.answered_at[0] > OPENING_MS:
            return False
        found = self._script(call)
        if found is None or found[0].playbook.answerer is None:
            return False
        return verdict_of_words(facts.opening) is not None

    def _ask(self, call: Call, given: Input, r: Received, now_ms: int) -> None:
        if given.event_id in call.answered or given.event_id in call.pending:
            call.given.setdefault(given.event_id, given)
            return
        call.given[given.event_id] = given
        call.pending[given.event_id] = Pending(
            given, r.topic, r.partition, r.offset, r.timestamp_ms, now_ms
        )

    def _turn(self, call: Call, turn: Turn) -> None:
        call.in_flight.discard(turn.event_id)
        if turn.input_event_id in call.answered:
            return  # of two records with one id the first counts
        call.answered.add(turn.input_event_id)
        call.pending.pop(turn.input_event_id, None)
        epoch = NO_EPOCH if turn.epoch is None else turn.epoch
        if epoch < call.epoch and turn.input_kind == "silence":
            # A fenced speaker's timer, read after its successor's turn: the dialogue has moved on.
            return
        call.epoch = max(call.epoch, epoch)
        call.before, call.state = call.state, evolve(call.state, turn)
        given = call.given.get(turn.input_event_id) or input_of(turn)
        call.unfinished = (turn, given)

    def _settle(self, call_id: str, call: Call) -> None:
        """What follows from the call's new state."""
        if call.unfinished is not None:
            turn = call.unfinished[0]
            if all(self.acceptance.has(call_id, d) for d in turn.directive_ids):
                call.unfinished = None
        self._touched.add(call_id)
        call.due = None
        self._due.pop(call_id, None)
        found = self._script(call)
        if found is not None:
            due = silence_due(call.state, call.facts, found[0].playbook)
            if due is not None and due.event_id not in call.answered:
                call.due = due
                self._due[call_id] = due.occurred_at

    # -- deciding

    def silenced(self) -> None:
        """Another worker speaks: what was sent is forgotten, what is pending stays."""
        for call in self.calls.values():
            call.in_flight.clear()
        self._touched.update(self.calls)

    def hears_from(self, at_ms: int) -> None:
        """Nobody counts as silent before: recent speech is still on its way to us."""
        self._hears_ms = at_ms

    def failed(self, work: Work) -> None:
        """A send failed: its input is decided again."""
        call = self.calls.get(work.call_id)
        if call is not None:
            call.in_flight.clear()
            self._touched.add(work.call_id)

    def refuse(self, call_id: str, input_id: str) -> None:
        """An input that cannot be decided is skipped for good."""
        call = self.calls.get(call_id)
        if call is not None:
            call.pending.pop(input_id, None)
            call.answered.add(input_id)
            self._settle(call_id, call)

    def with_work(self, now_ms: int) -> list[str]:
        """Ids of calls that may have something to decide, oldest input first."""
        waiting = []
        hears = now_ms >= self._hears_ms
        due = [call_id for call_id, at in self._due.items() if hears and at <= now_ms]
        for call_id in {*self._touched, *due}:
            call = self.calls.get(call_id)
            if call is None or call.in_flight:
                continue
            ages = [p.given.occurred_at for p in call.pending.values()]
            waiting.append((min(ages, default=now_ms), call_id))
        return [call_id for _, call_id in sorted(waiting)]

    def next_work(self, call_id: str, now_ms: int, epoch: int) -> Work | None:
        """What to write for a call now, marked as in flight; None when there is nothing.

        Raises Undecidable.
        """
        call = self.calls.get(call_id)
        if call is None or call.in_flight:
            return None
        if self.acceptance.epochs.get(call.partition, NO_EPOCH) > epoch:
            return None  # another speaks here already; what we wrote would not count
        work = (
            self._rest_of_turn(call, now_ms, epoch)
            or self._stop(call, now_ms, epoch)
            or self._answer(call, now_ms, epoch)
            or self._silence(call, now_ms, epoch)
        )
        if work is None:
            if not call.pending:
                self._touched.discard(call_id)
            return None
        call.in_flight.update(d.directive_id for d in work.directives)
        if work.turn is not None:
            call.in_flight.add(work.turn.event_id)
        return work

    def _rest_of_turn(self, call: Call, now_ms: int, epoch: int) -> Work | None:
        """Directives of a turn whose speaker died before it wrote them: decided again, with the
        choice that the turn has recorded. The turn stays unfinished until all were read back."""
        if call.unfinished is None:
            return None
        (turn, given), call_id = call.unfinished, call.facts.call_id
        scene = self._scene(call, epoch)
        if scene is None:
            return None
        # Topics have no common order, so `before` may lack older directives: those are in `state`.
        said = tuple(s for s in call.state.said if s.directive_id not in turn.directive_ids)
        stopped = min(call.state.stopped, len(said))
        before = replace(call.before, said=said, stopped=stopped, seq=call.state.seq)
        again = decide(before, call.facts, given, scene, now_ms, variant=turn.variant)
        decided = {d.directive_id: d for d in again.directives}
        for prompt in said:
            if (stop_id := stop_id_of(prompt)) not in decided and stop_id in turn.directive_ids:
                # Its prompt is over meanwhile; but what a turn names is written.
                decided[stop_id] = stop_prompt(
                    prompt, before, call.facts, given, self._producer, epoch, now_ms
                )
        missing = [
            decided[i]
            for i in turn.directive_ids
            if i in decided and not self.acceptance.has(call_id, i)
        ]
        rest = tuple(d.model_copy(update={"seq": before.seq + n}) for n, d in enumerate(missing))
        if not rest:
            call.unfinished = None  # the call has ended meanwhile: there is nothing left to do
            return None
        return Work(call_id, None, rest)

    def _stop(self, call: Call, now_ms: int, epoch: int) -> Work | None:
        if (partial := call.partial) is None:
            return None
        call.partial = None
        stop = stop_for_speech(call.state, call.facts, partial, self._producer, epoch, now_ms)
        if stop is None or self.acceptance.has(call.facts.call_id, stop.directive_id):
            return None
        return Work(call.facts.call_id, None, (stop,))

    def _answer(self, call: Call, now_ms: int, epoch: int) -> Work | None:
        """The oldest pending input that can be decided."""
        if not call.pending:
            return None
        source = min(call.pending.values(), key=lambda p: (p.given.occurred_at, p.offset))
        waited = now_ms - source.seen_ms > PATIENCE_MS
        scene = self._scene(call, epoch)
        first = source.given.kind == "answered" or call.state.turns > 0
        begun = bool(call.state.node) or first or call.facts.ended
        if scene is None or not begun:
            if not waited:
                return None
            decision = without_script(
                call.state, call.facts, source.given, self._producer, epoch, now_ms
            )
        else:
            decision = _decide(call, source.given, scene, now_ms, source)
        return Work(call.facts.call_id, decision.turn, decision.directives, source)

    def _silence(self, call: Call, now_ms: int, epoch: int) -> Work | None:
        if call.pending or call.due is None or call.due.occurred_at > now_ms:
            return None
        if now_ms < self._hears_ms:
            return None
        scene = self._scene(call, epoch)
        if scene is None:
            return None
        decision = _decide(call, call.due, scene, now_ms, None)
        return Work(call.facts.call_id, decision.turn, decision.directives)

    def _script(self, call: Call) -> tuple[Script, Understander] | None:
        name = call.facts.playbook or self._library.default_playbook(call.facts.robot_id)
        return self._library.script(name, call.facts.playbook_version)

    def _scene(self, call: Call, epoch: int) -> Scene | None:
        found = self._script(call)
        if found is None:
            return None
        script, understander = found
        return Scene(
            script,
            understander,
            self._library.voice(call.facts.robot_id, script),
            self._library.counts.totals,
            self._producer,
            epoch,
        )

    def forget_old(self, now_ms: int) -> int:
        """Drops calls without a record for the length of the longest call; returns how many."""
        old = [c for c, call in self.calls.items() if now_ms - call.seen_ms > LONGEST_CALL_MS]
        for call_id in old:
            del self.calls[call_id]
            self.acceptance.forget(call_id)
            self._touched.discard(call_id)
            self._due.pop(call_id, None)
        return len(old)


def _decide(
    call: Call, given: Input, scene: Scene, now_ms: int, source: Pending | None
) -> Decision:
    try:
        return decide(call.state, call.facts, given, scene, now_ms)
    except Exception as error:
        raise Undecidable(call.facts.call_id, given.event_id, source) from error
