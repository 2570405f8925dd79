"""What is known of a call, folded from the log: its dialogue, and the facts around it.

`Dialogue` is folded from the speaker's own turns and directives alone, so that a successor has the
same state. The two topics have no common order; each fold touches fields of its own, so any
interleaving gives the same state. `CallFacts` is folded from `calls.events` and from the customer's
transcripts.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ringlog.dispositions import NOT_A_PERSON
from schemas.events import CallEvent, Directive, Transcript, Turn
from schemas.events.dialogue import REPROMPT
from streams.robots.keypad import TYPED
from streams.robots.playbook import BargeIn
from streams.robots.understanding import backchannel_only

MAX_HEARD = 32

IDENTITY, CONFIRMED = "identity", "confirmed"
"""The slot of the turn in which the customer confirmed who they are."""

HELD = "held"
"""The slot of a turn: `more` where the customer talks on and gets no answer yet, else empty."""

MAX_HELD = 2_000
"""Characters; the last of them, over a minute of speech and more."""

OPENING_CHARS = 400
"""So much of what is said first is kept, to tell who answered."""

NO_WORDS_MS = 200
"""The end of a prompt that need not be heard: it holds only breath and room noise."""


@dataclass(frozen=True, slots=True)
class Said:
    """A prompt that was given to the edge to play."""

    directive_id: str
    prompt_id: str
    barge_in: BargeIn
    occurred_at: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Where a conversation stands. `node` is "" before it began."""

    node: str = ""
    variant: str | None = None
    slots: Mapping[str, str] = field(default_factory=dict)
    outcome: str | None = None
    silences: int = 0
    unclear: int = 0
    identified: bool = False
    """The customer has confirmed to be the one who is called."""
    no_person: str | None = None
    """The disposition of an answer by no person: a machine, an assistant, an announcement."""
    no_person_at: tuple[int, str] | None = None
    """(when, event id) of the turn that said so."""
    understood: bool = False
    """Something that the other side said was understood: then it is a person."""
    held: str = ""
    """What was said in finals that were cut, and not answered yet."""
    typed: str = ""
    """Keys that were pressed and not used yet."""
    typed_at: tuple[int, str] | None = None
    """(when, event id) of the turn with the last of them."""
    asked: str | None = None
    """The meaning that the robot has asked back about and waits to hear 对 to."""
    asked_text: str = ""
    """The words that it asked back about; `asked_slots` are the values in them."""
    asked_slots: Mapping[str, str] = field(default_factory=dict)
    turns: int = 0
    seq: int = 0
    said: tuple[Said, ...] = ()
    stopped: int = 0
    """So many of `said` were cut by a `stop`."""
    stopped_at: tuple[int, str] | None = None
    finished: bool = False


def evolve(state: Dialogue, event: Turn | Directive) -> Dialogue:
    """Folds a turn (first of its id) or a directive (accepted in its partition)."""
    if isinstance(event, Turn):
        return _turn(state, event)
    return _directive(state, event)


def _turn(state: Dialogue, turn: Turn) -> Dialogue:
    silences, unclear = state.silences, state.unclear
    if HELD in turn.slots:
        # A full stop: what is said of today in one part does not limit a wish in the next.
        held = f"{state.held}{turn.text}。"[-MAX_HELD:] if turn.slots[HELD] else ""
        state = replace(state, held=held)
    if TYPED in turn.slots:
        state = replace(state, typed=turn.slots[TYPED], typed_at=(turn.occurred_at, turn.event_id))
    if turn.outcome == REPROMPT:
        if turn.input_kind == "silence" and TYPED not in turn.slots:
            silences += 1
        else:
            unclear, silences = unclear + 1, 0
    elif turn.slots.get(TYPED):
        silences = 0  # an entry has begun: whether it is valid, its end will tell
    elif turn.asked is not None:
        silences = 0  # who is asked back has not been understood yet: `unclear` stays
    elif turn.directive_ids:
        silences = unclear = 0
    elif turn.text:
        silences = 0
    outcome = state.outcome if turn.outcome in (None, REPROMPT) else turn.outcome
    if turn.input_kind in ("amd", "answerer") and turn.outcome in NOT_A_PERSON:
        at = turn.occurred_at, turn.event_id
        state = replace(state, no_person=turn.outcome, no_person_at=state.no_person_at or at)
    if turn.asked is not None:
        state = replace(state, asked=turn.asked, asked_text=turn.text, asked_slots=turn.slots)
    elif turn.input_kind != "silence" and turn.directive_ids:
        state = replace(state, asked=None, asked_text="", asked_slots={})
    return replace(
        state,
        identified=state.identified or turn.slots.get(IDENTITY) == CONFIRMED,
        node=turn.node,
        variant=turn.variant if turn.variant is not None else state.variant,
        slots={**state.slots, **turn.slots} if turn.slots else state.slots,
        outcome=outcome,
        silences=silences,
        unclear=unclear,
        turns=state.turns + 1,
        understood=state.understood or turn.intent not in ("", "unclear"),
    )


def _directive(state: Dialogue, d: Directive) -> Dialogue:
    state = replace(state, seq=max(state.seq, d.seq + 1))
    match d.kind:
        case "say":
            said = Said(d.directive_id, d.prompt_id or "", d.barge_in or "speech", d.occurred_at,
                        d.text or "")  # fmt: skip
            return replace(state, said=(*state.said, said))
        case "stop":
            at = d.occurred_at, d.event_id
            return replace(state, stopped=len(state.said), stopped_at=at)
        case "hangup" | "transfer":
            return replace(state, finished=True)
        case _:
            return state


@dataclass(frozen=True, slots=True)
class Playout:
    """How far a prompt was played. Times are ms since 1970; `ended` is (when, event id)."""

    started_at: int | None = None
    ended: tuple[int, str] | None = None
    heard_ms: int | None = None
    prompt_ms: int | None = None


@dataclass(frozen=True, slots=True)
class CallFacts:
    """A call's facts, from its own records; None where no record gives them."""

    call_id: str
    tenant_id: str = "default"
    task_id: str | None = None
    customer_id: str | None = None
    campaign_id: str | None = None
    pool: str | None = None
    robot_id: str | None = None
    playbook: str | None = None
    playbook_version: str | None = None
    variant: str | None = None
    """The campaign's choice of wordings for the call."""
    profile: Mapping[str, Any] = field(default_factory=dict)
    answered: bool = False
    answered_at: tuple[int, str] | None = None
    """(when, event id) of the answer."""
    heard: tuple[str, ...] = ()
    """What the edge heard of who answered, in order."""
    opening: str = ""
    """What the other side said first, with the present partial; `opened` is without it."""
    opened: str = ""
    ended: bool = False
    withdrawn: tuple[int, str] | None = None
    """(when, event id) of the task's cancellation."""
    playouts: Mapping[str, Playout] = field(default_factory=dict)
    speaking: tuple[str, int] | None = None
    """(utterance, when its first words came) while the customer speaks; None: a final came."""
    last_speech: tuple[int, str] | None = None
    """(occurred_at, event id) of the customer's last partial with words or last final."""


_ENVELOPE = ("task_id", "customer_id", "campaign_id", "pool", "robot_id", "playbook",
             "playbook_version", "variant")  # fmt: skip


def evolve_facts(facts: CallFacts, event: CallEvent) -> CallFacts:
    """Folds one record of the call."""
    new: dict[str, Any] = {
        name: value
        for name in _ENVELOPE
        if getattr(facts, name) is None and (value := getattr(event, name)) is not None
    }
    if new or event.kind == "dialing":
        new["tenant_id"] = event.tenant_id
    if event.profile is not None and (not facts.profile or event.kind == "profile_changed"):
        new["profile"] = _profile(event.profile, facts.profile)
    match event.kind:
        case "answered":
            new["answered"] = True
            if facts.answered_at is None:
                new["answered_at"] = event.occurred_at, event.event_id
        case "amd" if event.answered_by:
            new["heard"] = (*facts.heard, event.answered_by)[-MAX_HEARD:]
        case "ended":
            new["ended"] = True
        case "withdrawn" if facts.withdrawn is None:
            new["withdrawn"] = event.occurred_at, event.event_id
        case "playout_started" | "playout_ended" if event.directive_id:
            before = facts.playouts.get(event.directive_id, Playout())
            after = _playout(before, event)
            new["playouts"] = {**facts.playouts, event.directive_id: after}
    return replace(facts, **new) if new else facts


def _playout(playout: Playout, event: CallEvent) -> Playout:
    if event.kind == "playout_started":
        if playout.started_at is not None:
            return playout
        return replace(playout, started_at=event.occurred_at)
    if playout.ended is not None:
        return playout
    return replace(
        playout,
        ended=(event.occurred_at, event.event_id),
        heard_ms=event.heard_ms,
        prompt_ms=event.prompt_ms,
    )


def _profile(text: str, before: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return before
    return found if isinstance(found, dict) else before


def evolve_speech(facts: CallFacts, transcript: Transcript) -> CallFacts:
    """Folds what the customer said, as far as it tells when they last spoke and who answered."""
    if len(facts.opened) < OPENING_CHARS:
        opening = (facts.opened + transcript.text)[:OPENING_CHARS]
        opened = opening if transcript.kind == "final" else facts.opened
        facts = replace(facts, opening=opening, opened=opened)
    if transcript.kind == "partial" and backchannel_only(transcript.text):
        return facts
    if transcript.kind == "final":
        facts = replace(facts, speaking=None)
    elif facts.speaking is None or facts.speaking[0] != transcript.utterance_id:
        facts = replace(facts, speaking=(transcript.utterance_id, transcript.occurred_at))
    at = (transcript.occurred_at, transcript.event_id)
    if facts.last_speech is not None and facts.last_speech >= at:
        return facts
    return replace(facts, last_speech=at)


def playing(state: Dialogue, facts: CallFacts) -> Said | None:
    """The prompt that is being played or waits to be; None when the robot is silent."""
    first: Said | None = None
    for said in reversed(state.said[state.stopped :]):
        if facts.playouts.get(said.directive_id, _NOT_PLAYED).ended is not None:
            break  # prompts are played in order: what came before is over too
        first = said
    return first


_NOT_PLAYED = Playout()


def last_heard(state: Dialogue, facts: CallFacts) -> int | None:
    """How much of the last prompt was played, ms; None if unknown."""
    for said in reversed(state.said):
        playout = facts.playouts.get(said.directive_id)
        if playout is not None and playout.heard_ms is not None:
            return playout.heard_ms
    return None


def unheard(state: Dialogue, facts: CallFacts) -> bool:
    """Whether the customer may not know the last prompt: it was cut short, or no record shows that
    it was heard."""
    if not state.said:
        return False
    playout = facts.playouts.get(state.said[-1].directive_id, _NOT_PLAYED)
    if playout.ended is None:
        return True
    if not playout.heard_ms:
        return playout.heard_ms == 0
    return playout.prompt_ms is not None and playout.heard_ms < playout.prompt_ms - NO_WORDS_MS
