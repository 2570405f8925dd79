"""What was heard, what was understood, and what the robot does."""

from typing import Literal

from pydantic import Field

from schemas.envelope import Event, Part


class Token(Part):
    """One recognised token and the call time at which it begins, ms."""

    text: str
    start_ms: int


class Transcript(Event):
    """`asr.transcripts`: what one leg said in one turn. Times are call time, ms."""

    kind: Literal["partial", "final"]
    leg: Literal["customer", "robot", "agent"]
    utterance_id: str
    text: str
    start_ms: int
    end_ms: int = Field(description="Where speech ended; of a partial: how far it was decoded")
    mark: int = Field(description="Leg time up to which this leg is closed, samples")
    ssrc: int
    tokens: list[Token] = Field(default_factory=list)
    confidence: float | None = None
    gaps_ms: list[int] = Field(
        default_factory=list, description="Length of each hole of over 40 ms in the turn's sound"
    )
    model: str
    decode_ms: float


class Turn(Event):
    """`dialogue.turns`: one input of a call and what the robot made of it.

    Every final leaves a turn, also "nothing to say", with the ids of the directives it led to.
    """

    kind: Literal["turn"] = "turn"
    input_kind: str = Field(description="final, dtmf, silence, answered, playout_ended, …")
    input_event_id: str
    utterance_id: str | None = None
    text: str = ""
    intent: str = ""
    confidence: float = 0.0
    emotion: str = "neutral"
    slots: dict[str, str] = Field(default_factory=dict)
    node: str
    variant: str | None = None
    posterior: str | None = Field(None, description="Beta parameters per variant, JSON text")
    heard_ms: int | None = None
    outcome: str | None = None
    directive_ids: list[str] = Field(default_factory=list)


class Directive(Event):
    """`dialogue.directives`: what the robot does next.

    It counts if its epoch is at least the highest seen before it in its own partition, and its id
    is new. `takeover` is the barrier that a new speaker writes into every partition.
    """

    kind: Literal["say", "stop", "listen", "dtmf", "transfer", "hangup", "message", "takeover"]
    directive_id: str
    seq: int
    node: str | None = None
    prompt_id: str | None = None
    prompt_sha256: str | None = None
    text: str | None = None
    variant: str | None = None
    barge_in: Literal["never", "speech", "words"] | None = None
    reason: str | None = None
    digits: str | None = None
    target: str | None = None
    turn_silence_ms: int | None = None
    worker: str | None = None
