"""What happens to a call, and its sound."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.envelope import Event

CallKind = Literal[
    "dialing", "ringing", "early_media", "answered", "amd", "bridged", "transferred", "dtmf",
    "playout_started", "playout_ended", "profile_changed", "ended",
]  # fmt: skip


class CallEvent(Event):
    """`calls.events`: one step in a call's life.

    The first record of a call copies robot, playbook, recogniser and profile, so that whoever
    serves the call needs no other topic. `ended` is terminal: the first one counts.
    """

    kind: CallKind
    source: str | None = None
    trunk: str | None = None
    attempt: int | None = None
    edge_id: str | None = None
    direction: Literal["outbound", "foreign"] | None = None
    phone: str | None = None
    cause_q850: int | None = None
    cause_sip: int | None = None
    disposition: str | None = None
    asr_profile: str | None = None
    playbook: str | None = None
    playbook_version: str | None = None
    profile: str | None = Field(None, description="The profile snapshot, JSON text")
    profile_version: int | None = None
    prompt_id: str | None = None
    directive_id: str | None = None
    heard_ms: int | None = Field(None, description="How much of the prompt was played, ms")
    prompt_ms: int | None = Field(None, description="How long the prompt is, ms")
    digits: str | None = None
    transfer_to: str | None = None
    optout_offset: int | None = Field(
        None, description="End of `compliance.optouts` that the edge had read when it dialled"
    )


class MediaChunk(Event):
    """`media.audio`: contiguous sound of one leg, at most 100 ms, or the leg's end.

    A leg is (call_id, leg, ssrc). Its time is samples since its first, `rtp_ts - leg_start_ts`;
    call time is `leg_start_ms` plus that. What was not received is not invented: a chunk begins at
    its true `rtp_ts`, and a hole between two chunks is a gap.
    """

    kind: Literal["chunk", "end"]
    leg: Literal["customer", "robot", "agent"]
    asr_profile: str
    turn_silence_ms: int
    ssrc: Annotated[int, Field(ge=0, lt=2**32)]
    first_seq: int = Field(description="Extended sequence number of the first packet")
    rtp_ts: int = Field(description="Extended RTP timestamp of the first sample")
    leg_start_ts: int = Field(description="Extended RTP timestamp of the leg's first sample")
    leg_start_ms: int = Field(description="Call time at which the leg's first sample lies, ms")
    codec: Literal["pcmu", "pcma", "l16"]
    rate_hz: int
    lost_packets: int = 0
    processing: str = Field("none", description="What was done to the sound before it was logged")
    payload: Annotated[bytes, Field(max_length=65_536)]
