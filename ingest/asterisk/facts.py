"""What the controller of one call (`ingest.asterisk.control`) is made of: facts, inputs,
commands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ingest.asterisk.causes import EndCauses
from ingest.asterisk.names import Role


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel of a call, from the moment that it is asked for."""

    name: str
    role: Role
    n: int
    endpoint: str = ""  # of a transfer's leg
    found: bool = False  # it was there before this controller: nobody has to make it
    made: bool = False  # Asterisk has said so
    entered: bool = False  # it is in our application
    joined: bool = False  # it is in the bridge
    dialled: bool = False
    up: bool = False
    refused: bool = False  # it is to end, whatever else holds
    gone: bool = False


@dataclass(frozen=True, slots=True)
class LineCall:
    """All that is known of a call on the switch.

    `bridge`: asked for, there, or gone. `ready`: customer and sound have met in it. `closing`: it
    is to end, by us or by its line. `anew`: the media legs that are there lead to a lost edge.
    """

    call_id: str
    try_no: int = 1
    inbound: bool = False
    bridge: Literal["none", "asked", "there", "gone"] = "none"
    channels: Mapping[str, Channel] = field(default_factory=dict)
    ready: bool = False
    failures: int = 0  # media legs in a row that never came into the bridge
    rang: bool = False
    early: bool = False
    causes: EndCauses = EndCauses()
    was_answered: bool = False  # as an earlier edge saw it
    connected: bool = False  # the transfer's leg has answered
    closing: bool = False
    over: bool = False  # the line has ended, or never was
    anew: bool = False

    def of(self, role: Role) -> list[Channel]:
        """Its channels of a role, the earliest first."""
        return [channel for channel in self.channels.values() if channel.role == role]

    @property
    def line(self) -> Channel | None:
        """The customer's leg."""
        return next(iter(self.of("line")), None)

    @property
    def media(self) -> Channel | None:
        """The media leg in use, or on its way. One that was found and is nobody's is neither."""
        legs = reversed(self.of("media"))
        return next((c for c in legs if not (c.gone or (c.found and c.refused))), None)

    @property
    def agent(self) -> Channel | None:
        """The latest leg of a transfer."""
        return next(reversed(self.of("agent")), None)

    @property
    def answered(self) -> bool:
        """The customer is there, or was."""
        return self.was_answered or (self.line is not None and self.line.up)

    @property
    def forgotten(self) -> bool:
        """Nothing of it is left on the switch."""
        return (
            self.over and self.bridge in ("none", "gone")
            and all(channel.gone for channel in self.channels.values())
        )  # fmt: skip


# Inputs ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """A call is to be placed, on a channel of this name."""

    line: str


@dataclass(frozen=True, slots=True)
class CameIn:
    """Somebody calls us, on a channel of this name, which is in our application."""

    line: str


@dataclass(frozen=True, slots=True)
class BridgeMade:
    """The bridge is there."""


@dataclass(frozen=True, slots=True)
class BridgeGone:
    """The bridge is no more, or could not be made."""


@dataclass(frozen=True, slots=True)
class Made:
    """Asterisk has made a channel that we asked for."""

    name: str


@dataclass(frozen=True, slots=True)
class NotMade:
    """Asterisk refuses to make a channel, or to put it in the bridge, or it came too late."""

    name: str
    causes: EndCauses = EndCauses()


@dataclass(frozen=True, slots=True)
class Entered:
    """A channel is in our application."""

    name: str


@dataclass(frozen=True, slots=True)
class Joined:
    """A channel is in the bridge."""

    name: str


@dataclass(frozen=True, slots=True)
class Stepped:
    """A channel that was dialled has come a step further."""

    name: str
    step: Literal["ringing", "early_media", "up"]


@dataclass(frozen=True, slots=True)
class HangupAsked:
    """The far end wants a channel to end. `soft`: it was us or Asterisk, not the far end."""

    name: str
    causes: EndCauses
    soft: bool


@dataclass(frozen=True, slots=True)
class Gone:
    """A channel has ended. `cause_q850` is None where Asterisk told none."""

    name: str
    cause_q850: int | None = None


@dataclass(frozen=True, slots=True)
class HangUpWanted:
    """We end the call."""


@dataclass(frozen=True, slots=True)
class TransferWanted:
    """The customer is to be connected with an endpoint."""

    endpoint: str


@dataclass(frozen=True, slots=True)
class Found:
    """All that the switch has of this call: taken up after a restart, or after the events' socket
    was lost. `up`: channels that are answered; `joined`: those in the bridge."""

    channels: frozenset[str]
    up: frozenset[str]
    joined: frozenset[str]
    bridge: bool


LineInput = (
    Asked | CameIn | BridgeMade | BridgeGone | Made | NotMade | Entered | Joined | Stepped
    | HangupAsked | Gone | HangUpWanted | TransferWanted | Found
)  # fmt: skip


# Commands ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MakeBridge:
    """Make the call's bridge: gives `BridgeMade` or `BridgeGone`."""


@dataclass(frozen=True, slots=True)
class MakeLine:
    """Create the customer's leg, not dialled yet: gives `Made` or `NotMade`."""

    name: str


@dataclass(frozen=True, slots=True)
class MakeMedia:
    """Create a leg to our sound: gives `Made` or `NotMade`."""

    name: str


@dataclass(frozen=True, slots=True)
class MakeAgent:
    """Create the leg of a transfer, not dialled yet: gives `Made` or `NotMade`."""

    name: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class Join:
    """Put a channel into the bridge: gives `Joined` or `NotMade`."""

    name: str


@dataclass(frozen=True, slots=True)
class DialOut:
    """Dial a channel that was created: gives `NotMade` where it cannot be."""

    name: str


@dataclass(frozen=True, slots=True)
class PickUp:
    """Answer the call that came in: gives `NotMade` where it cannot be."""

    name: str


@dataclass(frozen=True, slots=True)
class TellStep:
    """The call has come a step further."""

    kind: Literal["ringing", "early_media", "answered"]


@dataclass(frozen=True, slots=True)
class TellConnected:
    """The outcome of a transfer, by its leg."""

    name: str
    ok: bool


@dataclass(frozen=True, slots=True)
class TellOver:
    """The call is over: its last news."""

    causes: EndCauses
    answered: bool


@dataclass(frozen=True, slots=True)
class EndChannel:
    """End a channel: gives `Gone` once it is no more."""

    name: str


@dataclass(frozen=True, slots=True)
class EndBridge:
    """Remove the bridge: gives `BridgeGone`."""


LineCommand = (
    MakeBridge | MakeLine | MakeMedia | MakeAgent | Join | DialOut | PickUp | TellStep
    | TellConnected | TellOver | EndChannel | EndBridge
)  # fmt: skip
