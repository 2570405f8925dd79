"""Who speaks when: the silence timer, and what stops a prompt. Pure."""

from ringlog.dispositions import MACHINE
from schemas.events import Directive
from schemas.ids import event_id, timer_id
from streams.robots.answerer import HOLD_MS, TALK_MS, begins_as_recording
from streams.robots.inputs import Input, envelope_of
from streams.robots.phonetic import found_in, normalise, syllables
from streams.robots.playbook import Playbook
from streams.robots.state import CallFacts, Dialogue, Said, playing
from streams.robots.understanding import backchannel_only

LONGEST_PROMPT_MS = 60_000
"""A prompt without a reported end is over after this time: the edge that played it has died."""

LONGEST_UTTERANCE_MS = 30_000
"""How long after their first words a customer without a final counts as speaking."""

BEEP_MS = 40_000
"""How long a mailbox's beep is waited for."""

HELD_MS = 1_500
"""Who talks on has said something more by then, after a turn that was cut."""

SCREENED_MS = 20_000
"""How long the person behind an assistant is waited for, before the first prompt is said."""

LATE_MS = 500
"""What the edge heard of an answer comes within its time and this for the way."""

SHORTEST_ECHO, ECHO_MS, ECHO_ALIKE = 5, 2_000, 0.85
"""Our own words count as echo from this many characters on, until this long after the prompt (an
echo's delay and the end of a turn), and at this likeness of sound."""


def silence_due(state: Dialogue, facts: CallFacts, book: Playbook) -> Input | None:
    """The silence timer that runs now, with the time at which it is due; None when none runs.

    It begins when the robot falls silent or when the customer last spoke, whatever was later, and
    does not run while they speak. Its id derives from that event, so that a successor fires the
    same one.
    """
    if state.finished or facts.ended:
        return None
    if book.answerer is not None and (not state.node or state.no_person == MACHINE):
        return _answer_due(state, facts)
    node = book.nodes.get(state.node)
    if node is None:
        return None
    if node.keys is not None and state.typed and state.typed_at is not None:
        at, cause = state.typed_at
        return Input("silence", timer_id(cause, "keys", at + node.keys.between_ms),
                     at + node.keys.between_ms)  # fmt: skip
    said = playing(state, facts)
    if said is not None:
        last = state.said[-1]
        started = facts.playouts.get(last.directive_id)
        begun_at = None if started is None else started.started_at
        due = max(last.occurred_at, begun_at or 0) + LONGEST_PROMPT_MS
        return Input("silence", timer_id(last.directive_id, "silence", due), due)
    ends = [p.ended for s in state.said if (p := facts.playouts.get(s.directive_id)) is not None]
    begun = max(
        (e for e in (*ends, state.stopped_at, facts.last_speech) if e is not None), default=None
    )
    if begun is None:
        return None
    due = begun[0] + book.silence_ms
    if state.held and facts.speaking is None:  # they stopped where their turn was cut
        due = max(begun[0], (facts.last_speech or begun)[0]) + HELD_MS
    if facts.speaking is not None:
        due = max(due, facts.speaking[1] + LONGEST_UTTERANCE_MS)
    return Input("silence", timer_id(begun[1], "silence", due), due)


def _answer_due(state: Dialogue, facts: CallFacts) -> Input | None:
    """When the first prompt is said though nobody was told to be a person, or a beep waited for no
    longer."""
    if state.no_person_at is not None:
        at, cause = state.no_person_at
        due = at + (BEEP_MS if state.no_person == MACHINE else SCREENED_MS)
    elif facts.answered_at is not None and state.turns:
        at, cause = facts.answered_at
        talks = "talks" in facts.heard or begins_as_recording(facts.opening)
        due = at + LATE_MS + (TALK_MS if talks else HOLD_MS)
    else:
        return None
    return Input("silence", timer_id(cause, "answerer", due), due)


def echoes(state: Dialogue, facts: CallFacts, heard: Input) -> bool:
    """Whether the words are an echo of our prompt: a long piece of one that plays or has just
    ended."""
    plain = normalise(heard.text)
    if len(plain) < SHORTEST_ECHO or not state.said:
        return False
    last = state.said[-1]
    playout = facts.playouts.get(last.directive_id)
    if playout is None or playout.started_at is None or heard.occurred_at < playout.started_at:
        return False
    if playout.ended is not None and heard.occurred_at > playout.ended[0] + ECHO_MS:
        return False
    alike, _ = found_in(syllables(plain), syllables(normalise(last.text)))
    return alike >= ECHO_ALIKE


def stop_for_speech(
    state: Dialogue, facts: CallFacts, partial: Input, producer: str, epoch: int, now_ms: int
) -> Directive | None:
    """The directive that silences a prompt when the customer speaks words over it; None when
    nothing plays, when it may not be cut, or when there are no words yet. The last prompt of a call
    is not cut: nobody would answer."""
    if state.finished:
        return None
    said = playing(state, facts)
    if said is None or said.barge_in == "never" or backchannel_only(partial.text):
        return None
    if echoes(state, facts, partial):
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
        **envelope_of(facts, cause, producer, epoch, now_ms),
        event_id=stop_id,
        kind="stop",
        directive_id=stop_id,
        seq=state.seq,
        node=state.node,
        prompt_id=said.prompt_id,
        reason="barge_in",
    )
