"""The dialogue: `decide` takes what a customer did to a turn and its directives.

Pure: time, epoch, profile and counts are arguments, and every id derives from the input's id, so
processing an input twice gives the same records. The fold is in `streams.robots.state`, the
decision itself in `streams.robots.talk`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from schemas.events import Directive, Turn
from schemas.ids import event_id
from streams.robots.inputs import Input, InputKind, Plan, Scene, envelope_of
from streams.robots.overlap import stop_prompt
from streams.robots.state import CallFacts, Dialogue, last_heard
from streams.robots.talk import Talk


@dataclass(frozen=True, slots=True)
class Decision:
    """One turn and its directives, to be written in this order."""

    turn: Turn
    directives: tuple[Directive, ...]


def decide(
    state: Dialogue,
    facts: CallFacts,
    given: Input,
    scene: Scene,
    now_ms: int,
    *,
    variant: str | None = None,
) -> Decision:
    """The robot's decision about an input.

    Never fails on a customer's words. `variant` repeats a choice recorded by an earlier turn of the
    same input.
    """
    talk = Talk(state, facts, given, scene, variant)
    talk.run()
    return _records(talk.plan, state, facts, given, scene.producer, scene.epoch, now_ms)


def without_script(
    state: Dialogue, facts: CallFacts, given: Input, producer: str, epoch: int, now_ms: int
) -> Decision:
    """The turn for a call that has no playbook or never began: it says nothing, and ends an
    answered call as failed, because nobody would ever speak."""
    plan = Plan(node=state.node)
    if given.kind == "answered" and not facts.ended:
        plan.outcome = "failed"
        plan.steps.append({"kind": "hangup", "reason": "failed"})
    return _records(plan, state, facts, given, producer, epoch, now_ms)


def input_of(turn: Turn) -> Input:
    """The input that a turn answered, if the turn names it."""
    kind: InputKind = turn.input_kind if turn.input_kind in get_args(InputKind) else "final"  # type: ignore[assignment]
    digits = turn.text if kind == "dtmf" else ""
    text = "" if kind == "dtmf" else turn.text
    return Input(kind, turn.input_event_id, turn.occurred_at, text, turn.utterance_id, digits)


def _records(
    plan: Plan,
    state: Dialogue,
    facts: CallFacts,
    given: Input,
    producer: str,
    epoch: int,
    now_ms: int,
) -> Decision:
    envelope = envelope_of(facts, given, producer, epoch, now_ms)
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
    plan: Plan,
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
            "meaning": plan.meaning,
            "asked": plan.asked,
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
