"""The dialogue: `decide` takes what a customer did to a turn and its directives.

Pure: time, epoch, profile and counts are arguments, and every id derives from the input's id, so
that working an input twice gives the same records. The fold is in `streams.robots.state`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ringlog.audio.prompts import prompt_sha256
from schemas.events import Directive, Turn
from schemas.ids import event_id, timer_id
from streams.robots.emotions import NEUTRAL
from streams.robots.loading import Script
from streams.robots.playbook import Fallback, Node, Playbook, Transition
from streams.robots.state import (
    REPROMPT,
    CallFacts,
    Dialogue,
    Said,
    cut_short,
    last_heard,
    playing,
)
from streams.robots.understanding import Understander, Understanding, backchannel_only
from streams.robots.wording import Counts, Posterior, choose

InputKind = Literal["answered", "final", "dtmf", "silence"]

LONGEST_PROMPT_MS = 60_000
"""A prompt of which no end was reported so long is over: the edge that played it has died."""


@dataclass(frozen=True, slots=True)
class Input:
    """Something that wants a turn. `event_id` is the record's, or the timer's derived id."""

    kind: InputKind
    event_id: str
    occurred_at: int
    text: str = ""
    utterance_id: str | None = None
    digits: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a decision is made with, beside the state: all of it from the log."""

    script: Script
    understander: Understander
    voice: str
    counts: Counts
    producer: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Decision:
    """One turn and its directives, to be written in this order."""

    turn: Turn
    directives: tuple[Directive, ...]


@dataclass(slots=True)
class _Plan:
    """What a decision comes to, before it is put into records."""

    node: str
    intent: str = ""
    confidence: float = 0.0
    emotion: str = NEUTRAL
    slots: Mapping[str, str] = field(default_factory=dict)
    outcome: str | None = None
    reason: str = ""
    variant: str | None = None
    posterior: dict[str, Posterior] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)


def decide(
    state: Dialogue,
    facts: CallFacts,
    given: Input,
    scene: Scene,
    now_ms: int,
    *,
    variant: str | None = None,
) -> Decision:
    """What the robot makes of an input. Never fails on what a customer says.

    `variant` repeats a choice that an earlier turn of the same input has recorded.
    """
    talk = _Talk(state, facts, given, scene, variant)
    talk.run()
    return _records(talk.plan, state, facts, given, scene.producer, scene.epoch, now_ms)


def without_script(
    state: Dialogue, facts: CallFacts, given: Input, producer: str, epoch: int, now_ms: int
) -> Decision:
    """The turn of an input of a call that has no playbook or never began: nothing to say, and a
    call that was answered is ended as failed, because nobody would ever speak."""
    plan = _Plan(node=state.node)
    if given.kind == "answered" and not facts.ended:
        plan.outcome = "failed"
        plan.steps.append({"kind": "hangup", "reason": "failed"})
    return _records(plan, state, facts, given, producer, epoch, now_ms)


def input_of(turn: Turn) -> Input:
    """The input that a turn answered, as far as the turn tells."""
    kind: InputKind = turn.input_kind if turn.input_kind in get_args(InputKind) else "final"  # type: ignore[assignment]
    digits = turn.text if kind == "dtmf" else ""
    text = turn.text if kind == "final" else ""
    return Input(kind, turn.input_event_id, turn.occurred_at, text, turn.utterance_id, digits)


def silence_due(state: Dialogue, facts: CallFacts, book: Playbook) -> Input | None:
    """The silence timer that runs now, with the time at which it is due; None when none runs.

    It begins when the robot falls silent or when the customer last spoke, whatever was later; its
    id derives from that event, so that whoever takes over fires the same one.
    """
    if not state.node or state.finished or facts.ended:
        return None
    said = playing(state, facts)
    if said is not None:
        last = state.said[-1]
        due = last.occurred_at + LONGEST_PROMPT_MS
        return Input("silence", timer_id(last.directive_id, "silence", due), due)
    ends = [p.ended for s in state.said if (p := facts.playouts.get(s.directive_id)) is not None]
    begun = max(
        (e for e in (*ends, state.stopped_at, facts.last_speech) if e is not None), default=None
    )
    if begun is None:
        return None
    due = begun[0] + book.silence_ms
    return Input("silence", timer_id(begun[1], "silence", due), due)


def stop_for_speech(
    state: Dialogue, facts: CallFacts, partial: Input, producer: str, epoch: int, now_ms: int
) -> Directive | None:
    """The directive that silences a prompt when the customer speaks words over it; None when
    nothing plays, when it may not be cut, or when there are no words yet. Last words are not cut:
    nobody would answer."""
    if state.finished:
        return None
    said = playing(state, facts)
    if said is None or said.barge_in == "never" or backchannel_only(partial.text):
        return None
    playout = facts.playouts.get(said.directive_id)
    if playout is None or playout.started_at is None or facts.ended:
        return None
    if partial.occurred_at < playout.started_at:
        return None  # said before the prompt began, read after
    return stop_prompt(said, state, facts, partial, producer, epoch, now_ms)


def stop_id_of(said: Said) -> str:
    """One stop per prompt, whichever partial or final comes first: the id is the prompt's."""
    return event_id(said.directive_id, "stop")


def stop_prompt(
    said: Said,
    state: Dialogue,
    facts: CallFacts,
    cause: Input,
    producer: str,
    epoch: int,
    now_ms: int,
) -> Directive:
    """The directive that ends a prompt."""
    stop_id = stop_id_of(said)
    return Directive(
        **_envelope(facts, cause, producer, epoch, now_ms),
        event_id=stop_id,
        kind="stop",
        directive_id=stop_id,
        seq=state.seq,
        node=state.node,
        prompt_id=said.prompt_id,
        reason="barge_in",
    )


class _Talk:
    """One decision in the making."""

    def __init__(
        self, state: Dialogue, facts: CallFacts, given: Input, scene: Scene, keep: str | None
    ) -> None:
        self.state, self.facts, self.given, self.scene, self.keep = state, facts, given, scene, keep
        self.book = scene.script.playbook
        self.plan = _Plan(node=state.node, reason=given.kind)

    def run(self) -> None:
        """Fills the plan."""
        closed = self.facts.ended or self.state.finished
        match self.given.kind:
            case "answered":
                if not closed and not self.state.node:
                    self.enter(self.book.start)
            case "final":
                self.final(closed)
            case "dtmf":
                if not closed and self.state.node:
                    self.take(self.transition(None))
            case "silence":
                if not closed and self.state.node:
                    self.silence()

    def final(self, closed: bool) -> None:
        """The customer has said something, or nothing."""
        plan, text = self.plan, self.given.text
        heard = self.scene.understander.understand(text, self.given.occurred_at)
        plan.intent, plan.confidence = heard.intent, heard.confidence
        plan.emotion, plan.slots = heard.emotion, heard.slots
        if closed or not self.state.node or not heard.intent:
            return
        plan.reason = heard.intent
        said = playing(self.state, self.facts)
        ignored = heard.intent in self.book.ignore
        if said is not None and (ignored or backchannel_only(text)):
            return
        transition = self.transition(heard)
        if transition is None and (ignored or (said is not None and said.barge_in == "never")):
            return
        if said is not None and said.barge_in != "never":
            plan.steps.append({"kind": "stop", "said": said})
        if transition is not None:
            self.take(transition)
        else:
            self.fall_back(self.book.fallback.unclear, self.state.unclear)

    def silence(self) -> None:
        """Nobody has spoken for a while."""
        transition = self.transition(None)
        fallback, so_far = self.book.fallback.silence, self.state.silences
        if transition is not None:
            self.take(transition)
        elif so_far < fallback.max and self.has_prompt() and cut_short(self.state, self.facts):
            # Nobody can answer what was not heard: it is said again, instead of "are you there".
            self.plan.outcome = REPROMPT
            self.again()
        else:
            self.fall_back(fallback, so_far)

    def transition(self, heard: Understanding | None) -> Transition | None:
        """The first transition whose conditions all hold: the node's own, then `always`."""
        node = self.book.nodes.get(self.state.node)
        own = node.transitions if node is not None else []
        return next((t for t in (*own, *self.book.always) if self.holds(t, heard)), None)

    def holds(self, t: Transition, heard: Understanding | None) -> bool:
        """Whether all conditions of a transition hold."""
        kind = self.given.kind
        if (t.silence and kind != "silence") or (t.dtmf is not None and kind != "dtmf"):
            return False
        if kind == "silence" and not t.silence:
            return False
        if kind == "dtmf" and t.dtmf != self.given.digits:
            return False
        if (t.intent or t.emotion or t.otherwise) and heard is None:
            return False
        if heard is not None and (
            (t.intent and heard.intent not in t.intent)
            or (t.emotion and heard.emotion not in t.emotion)
        ):
            return False
        if t.slot is not None and t.slot not in {**self.state.slots, **self.plan.slots}:
            return False
        return not t.outcome or self.state.outcome in t.outcome

    def take(self, t: Transition | None) -> None:
        """Follows a transition."""
        if t is None:
            return
        if t.say is not None:
            self.say(t.say, self.state.node)
        if t.to is not None:
            self.enter(t.to)
        elif t.again:
            self.again()

    def fall_back(self, fallback: Fallback, so_far: int) -> None:
        """Says that nothing was understood, or gives up."""
        if so_far < fallback.max:
            self.plan.outcome = REPROMPT
            self.say(fallback.prompt, self.state.node)
        else:
            self.enter(fallback.then)

    def has_prompt(self) -> bool:
        """Whether the node says something of its own."""
        return self.book.nodes[self.state.node].prompt is not None

    def again(self) -> None:
        """Repeats the node's own prompt, in the wording that was said before."""
        node = self.book.nodes[self.state.node]
        if node.prompt is not None:
            self.say(node.prompt, self.state.node, self.state.variant)

    def enter(self, name: str) -> None:
        """Goes to a node, says and does what it says, and goes on where it has a `next`."""
        at: str | None = name
        while at is not None:
            node, self.plan.node = self.book.nodes[at], at
            self.perform(at, node)
            at = node.next

    def perform(self, name: str, node: Node) -> None:
        """One node's prompt and actions."""
        plan = self.plan
        if node.prompt is not None:
            self.say(node.prompt, name)
        if node.outcome is not None:
            plan.outcome = node.outcome
        if (message := node.message) is not None:
            plan.steps.append({"kind": "message", "text": message.text,
                               "target": message.channel, "reason": message.template})  # fmt: skip
        if node.transfer is not None:
            plan.steps.append({"kind": "transfer", "target": node.transfer, "reason": plan.reason})
        if node.hangup is not None:
            plan.steps.append({"kind": "hangup", "reason": node.hangup})

    def say(self, prompt_id: str, node: str, keep: str | None = None) -> None:
        """Adds a prompt in the wording for this customer."""
        prompt, plan = self.book.prompts[prompt_id], self.plan
        choice = choose(
            prompt,
            self.facts.profile,
            seed=self.given.event_id,
            campaign=self.facts.campaign_id or "",
            node=node,
            counts=self.scene.counts,
            keep=self.keep or keep,
        )
        if choice.posterior is not None:
            plan.posterior[prompt_id] = choice.posterior
        of_node = self.book.nodes[node].prompt if node in self.book.nodes else None
        if plan.variant is None or prompt_id == of_node:
            plan.variant = choice.variant
        plan.steps.append({
            "kind": "say", "prompt_id": prompt_id, "text": choice.text, "variant": choice.variant,
            "prompt_sha256": prompt_sha256(self.scene.voice, choice.text),
            "barge_in": prompt.barge_in, "reason": plan.reason,
            "turn_silence_ms": prompt.turn_silence_ms or self.book.turn_silence_ms,
        })  # fmt: skip


def _records(
    plan: _Plan,
    state: Dialogue,
    facts: CallFacts,
    given: Input,
    producer: str,
    epoch: int,
    now_ms: int,
) -> Decision:
    envelope = _envelope(facts, given, producer, epoch, now_ms)
    directives: list[Directive] = []
    counts: dict[str, int] = {}
    for step in plan.steps:
        kind, seq = step["kind"], state.seq + len(directives)
        if kind == "stop":
            said = step["said"]
            directives.append(stop_prompt(said, state, facts, given, producer, epoch, now_ms))
            continue
        n = counts.get(kind, 0)
        counts[kind] = n + 1
        this = event_id(given.event_id, kind, n)
        fields = {"node": plan.node, **step, "event_id": this, "directive_id": this, "seq": seq}
        directives.append(Directive.model_validate(envelope | fields))
    return Decision(_turn(plan, directives, state, facts, given, envelope), tuple(directives))


def _turn(
    plan: _Plan,
    directives: Sequence[Directive],
    state: Dialogue,
    facts: CallFacts,
    given: Input,
    envelope: dict[str, Any],
) -> Turn:
    posterior = json.dumps(plan.posterior, sort_keys=True) if plan.posterior else None
    return Turn.model_validate(
        envelope
        | {
            "event_id": event_id(given.event_id, "turn"),
            "input_kind": given.kind,
            "input_event_id": given.event_id,
            "utterance_id": given.utterance_id,
            "text": given.text or given.digits,
            "intent": plan.intent,
            "confidence": plan.confidence,
            "emotion": plan.emotion,
            "slots": dict(plan.slots),
            "node": plan.node,
            "variant": plan.variant,
            "posterior": posterior,
            "heard_ms": last_heard(state, facts),
            "outcome": plan.outcome,
            "directive_ids": [d.directive_id for d in directives],
        }
    )


def _envelope(
    facts: CallFacts, cause: Input, producer: str, epoch: int, now_ms: int
) -> dict[str, Any]:
    return {
        "occurred_at": now_ms, "producer": producer, "causation_id": cause.event_id,
        "tenant_id": facts.tenant_id, "call_id": facts.call_id, "task_id": facts.task_id,
        "customer_id": facts.customer_id, "campaign_id": facts.campaign_id, "pool": facts.pool,
        "robot_id": facts.robot_id, "epoch": epoch,
    }  # fmt: skip
