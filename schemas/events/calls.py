"""What happens to a call, and its sound."""

from typing import Annotated, Final, Literal

from pydantic import Field

from schemas.envelope import Event, Millis

CallKind = Literal[
    "dialing", "ringing", "early_media", "answered", "amd", "bridged", "transferred", "dtmf",
    "playout_started", "playout_paused", "playout_resumed", "playout_ended", "profile_changed",
    "ended", "tried", "refused", "withdrawn", "moved",
]  # fmt: skip

Ticks = Annotated[int, Field(gt=-(2**53), lt=2**53)]
"""A clock's reading; sums and differences of two fit into 64 bits. Beyond is no clock."""

NO_PROCESSING: Final = "none"
ECHO: Final = "echo"
"""Of a chunk's `processing`."""


class CallEvent(Event):
    """`calls.events`: one step in a call's life.

    The first record of a call copies robot, playbook, recogniser and profile, so that whoever
    serves the call needs no other topic. `ended` is terminal: the first one counts.
    `playout_paused`: a voice holds a prompt up after `heard_ms` of it; `playout_resumed`: nothing
    or a backchannel was said, and it goes on from `heard_ms`, a little before. `amd` is evidence on
    who answered, one record for each thing that was heard; the verdict is a turn.
    `tried`: the edge is about to ask a switch for the call over `trunk`; written and acknowledged
    before it asks. `refused`: that try failed by the carrier's fault, before anything rang.
    `withdrawn`: the task was cancelled; a call that nobody has answered is hung up, in any other
    the robot says goodbye.
    `moved`: the edge of the call is lost, and `edge_id` goes on with it. The first record of each
    `move_no` counts, so that one edge at most does.
    """

    kind: CallKind
    source: str | None = Field(None, description="Who saw it: a carrier, a telephone system")
    trunk: str | None = Field(None, description="Line that the call goes over")
    attempt: int | None = Field(None, description="Which try of the task")
    edge_id: str | None = Field(None, description="Edge that owns the call's media")
    direction: Literal["outbound", "inbound", "foreign"] | None = Field(
        None,
        description="outbound: we dialled; inbound: a customer called a number of ours; foreign: "
        "brought by another telephone system",
    )
    phone: str | None = Field(None, description="Number dialled")
    cause_q850: int | None = Field(None, description="Why it ended (ITU-T Q.850)")
    cause_sip: int | None = Field(None, description="SIP response that ended it (RFC 3261)")
    disposition: str | None = Field(None, description="What the call came to")
    asr_profile: str | None = Field(None, description="Recogniser for this call")
    playbook: str | None = Field(None, description="Script")
    playbook_version: str | None = Field(None, description="Its version")
    profile: str | None = Field(None, description="The profile snapshot, JSON text")
    profile_version: int | None = Field(None, description="Version of that profile")
    prompt_id: str | None = Field(None, description="Prompt that is played")
    directive_id: str | None = Field(None, description="Directive that it carries out")
    heard_ms: int | None = Field(None, description="How much of the prompt was played, ms")
    prompt_ms: int | None = Field(None, description="How long the prompt is, ms")
    digits: str | None = Field(None, description="Keys pressed")
    transfer_to: str | None = Field(None, description="Where the call was handed to")
    optout_offset: int | None = Field(
        None, description="End of `compliance.optouts` that the edge had read when it dialled"
    )
    try_no: int | None = Field(None, description="Which try of the call, from 1")
    caller_id: str | None = Field(
        None, description="Number that the called person sees; of dialing: that they are to see"
    )
    answered_by: str | None = Field(
        None,
        description="Of amd, what was heard after the answer: human, talks, pause, machine, "
        "unsure, silence, quiet, beep, busy, ringback, sit_intercept, sit_vacant, sit_other",
    )
    move_no: int | None = Field(None, description="Which move of the call to another edge, from 1")
    variant: str | None = Field(None, description="Wordings that lead the call")
    rule: str | None = Field(
        None, description="Of ended: the rule of the law by which the edge did not dial"
    )
    reason: str | None = Field(None, description="Of ended: what that rule says, in words")
    lawful_at: Millis | None = Field(
        None, description="Of ended: when that rule would allow the call; null: time does not"
    )
    silent_ms: int | None = Field(
        None,
        description="Of ended, of a call that was answered: how long nobody spoke to the customer, "
        "after the answer or after their greeting, ms",
    )


class MediaChunk(Event):
    """`media.audio`: contiguous sound of one leg, at most 100 ms, a mark that it is still silent,
    or the leg's end.

    A leg is (call_id, leg, ssrc). Its time is samples since its first, `rtp_ts - leg_start_ts`;
    call time is `leg_start_ms` plus that. What was not received is not invented: a chunk begins at
    its true `rtp_ts`, and a hole between two chunks is a gap. `silent` says that nothing came
    before `rtp_ts`: its payload is empty, and a turn may end by it though no packet arrives
    (silence suppression, comfort noise). Sound that comes after its mark keeps its own `rtp_ts`.
    """

    kind: Literal["chunk", "silent", "end"]
    leg: Literal["customer", "robot", "agent"] = Field(description="Who speaks on it")
    asr_profile: str = Field(description="Recogniser for it")
    turn_silence_ms: int = Field(description="Silence that ends a turn here")
    ssrc: Annotated[int, Field(ge=0, lt=2**32)] = Field(
        description="RTP synchronisation source (RFC 3550)"
    )
    first_seq: int = Field(description="Extended sequence number of the first packet")
    rtp_ts: Ticks = Field(description="Extended RTP timestamp of the first sample")
    leg_start_ts: Ticks = Field(description="Extended RTP timestamp of the leg's first sample")
    leg_start_ms: Ticks = Field(description="Call time at which the leg's first sample lies, ms")
    codec: Literal["pcmu", "pcma", "l16"] = Field(description="Coding of the payload")
    rate_hz: int = Field(description="Samples a second")
    lost_packets: int = Field(0, description="Packets missing right before it")
    processing: str = Field(
        "none",
        description="none, or joined by +: noise (suppressed), aec (our echo cancelled), echo (our "
        "own voice that came back: a recogniser takes it for silence)",
    )
    payload: Annotated[bytes, Field(max_length=65_536)] = Field(description="The coded sound")

    @property
    def is_echo(self) -> bool:
        """Whether it is our own voice that came back."""
        return ECHO in self.processing.split("+")
