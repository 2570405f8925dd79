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
    leg: Literal["customer", "robot", "agent"] = Field(description="Who spoke")
    utterance_id: str = Field(description="The turn; its partials share it")
    text: str = Field(description="What was recognised; may be empty")
    start_ms: int = Field(description="Where speech began")
    end_ms: int = Field(description="Where speech ended; of a partial: how far it was decoded")
    mark: int = Field(description="Leg time up to which this leg is closed, samples")
    ssrc: int = Field(description="The leg's source")
    tokens: list[Token] = Field(
        default_factory=list, description="Recognised tokens with their call time"
    )
    confidence: float | None = Field(None, description="0 to 1, where the model tells")
    gaps_ms: list[int] = Field(
        default_factory=list, description="Length of each hole of over 40 ms in the turn's sound"
    )
    model: str = Field(description="Model that recognised it")
    decode_ms: float = Field(description="Time spent decoding the turn")


REPROMPT = "reprompt"
"""Outcome of a turn in which nothing was understood: the call's outcome stays what it was."""


class Turn(Event):
    """`dialogue.turns`: one input of a call and what the robot made of it.

    Every final leaves a turn, also "nothing to say", with the ids of the directives it led to.
    """

    kind: Literal["turn"] = "turn"
    input_kind: str = Field(description="final, dtmf, silence, answered, playout_ended, …")
    input_event_id: str = Field(description="The event it answers")
    utterance_id: str | None = Field(None, description="The customer's turn, if it is one")
    text: str = Field("", description="What was heard")
    intent: str = Field(
        "", description="What the customer wants, by the playbook's name; empty: nothing was said"
    )
    meaning: str | None = Field(
        None,
        description="What that means in every playbook (opt_out, promise_to_pay, …), where certain",
    )
    asked: str | None = Field(
        None, description="The meaning that the robot asks back about: a 对 confirms it"
    )
    confidence: float = Field(0.0, description="Of the intent, 0 to 1")
    emotion: str = Field("neutral", description="neutral, angry, happy, …")
    slots: dict[str, str] = Field(
        default_factory=dict,
        description="Values that are certain: date, half_day, time, amount, promise_to_pay, "
        "opt_out_words, identity",
    )
    node: str = Field(description="Where the dialogue stands afterwards")
    variant: str | None = Field(None, description="Wording chosen")
    posterior: str | None = Field(None, description="Beta parameters per variant, JSON text")
    heard_ms: int | None = Field(None, description="How much of the prompt had been heard")
    outcome: str | None = Field(None, description="What the call has come to so far")
    directive_ids: list[str] = Field(
        default_factory=list, description="What the robot does about it"
    )


class Directive(Event):
    """`dialogue.directives`: what the robot does next.

    It counts if its epoch is at least the highest seen before it in its own partition, and its id
    is new. `takeover` is the barrier that a new speaker writes into every partition.
    """

    kind: Literal["say", "stop", "listen", "dtmf", "transfer", "hangup", "message", "takeover"]
    directive_id: str = Field(description="What playout records refer to")
    seq: int = Field(description="Count within the call")
    node: str | None = Field(None, description="Where the dialogue stands")
    prompt_id: str | None = Field(None, description="Prompt to say")
    prompt_sha256: str | None = Field(None, description="Its sound, by content")
    text: str | None = Field(None, description="Its words")
    variant: str | None = Field(None, description="Wording chosen")
    barge_in: Literal["never", "speech", "words"] | None = Field(
        None, description="How a customer may cut in"
    )
    reason: str | None = Field(None, description="Why; of a hangup: the disposition")
    digits: str | None = Field(None, description="Keys to press")
    target: str | None = Field(None, description="Where to transfer to")
    turn_silence_ms: int | None = Field(
        None, description="Silence that ends the customer's next turn"
    )
    worker: str | None = Field(None, description="takeover: who speaks now")
    prompt_parts: list[str] = Field(
        default_factory=list,
        description="Sounds, by content, that are joined: a text with a customer's values",
    )
