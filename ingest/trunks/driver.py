"""The edge's interface to a switch: a telephone system that places our calls over its trunks.

A switch tells what becomes of a call to a `Listener`. The simulated carrier tells it to the API
instead, as foreign systems do; both ways lead to `calls.events` with the same record ids.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

Medium = Literal["rtp", "socket"]
"""How a call's sound reaches the edge: packets to a port of ours, or a socket that finds the call
by its id."""

LineEventKind = Literal["ringing", "early_media", "answered", "dtmf", "ended"]


class MediaAddress(NamedTuple):
    """Where a side receives RTP, and the SSRC of what it sends."""

    host: str
    port: int
    ssrc: int | None


@dataclass(frozen=True, slots=True)
class Order:
    """A call that the switch is asked for. `ours` is None when the sound comes by a socket.

    `endpoint` is what the switch dials, from the trunk's plan; `try_no` tells the tries of one call
    apart on a switch that has several trunks.
    """

    call_id: str
    phone: str
    trunk: str
    codec: str
    ours: MediaAddress | None
    caller_id: str | None = None
    ring_timeout_ms: int = 60_000
    endpoint: str = ""
    try_no: int = 1


@dataclass(frozen=True, slots=True)
class LineEvent:
    """One step of a call, as the switch saw it.

    `source` names a key press within the call, so that one told twice is one. `cause_q850` is
    that of ITU-T Q.850, `cause_sip` the SIP status of the far end; both only for `ended`.
    `try_no` is that of the order; None: of the call's present try.
    """

    kind: LineEventKind
    at_ms: int
    digits: str = ""
    source: str = ""
    cause_q850: int | None = None
    cause_sip: int | None = None
    disposition: str = "completed"
    try_no: int | None = None


@dataclass(frozen=True, slots=True)
class IncomingCall:
    """Somebody calls us on a switch: `called` and `caller` as the switch gives the numbers."""

    call_id: str
    switch: str
    called: str
    caller: str
    medium: Medium
    codec: Literal["pcmu", "pcma", "l16", "l16/8000", "l16/16000"] = "pcmu"


class NotTaken(Exception):
    """A call that comes in is not answered. `cause_q850` as in ITU-T Q.850; the text says why, and
    names no caller."""

    def __init__(self, cause_q850: int, reason: str) -> None:
        super().__init__(reason)
        self.cause_q850 = cause_q850


class Refused(Exception):
    """The switch or its carrier would not take the call. `cause_q850` as in ITU-T Q.850,
    `cause_sip` if any. `unsure`: no answer came, so it may have taken it after all."""

    def __init__(
        self,
        cause_q850: int,
        cause_sip: int | None,
        disposition: str,
        detail: str,
        unsure: bool = False,
    ) -> None:
        super().__init__(f"{disposition}: {detail}")
        self.cause_q850 = cause_q850
        self.cause_sip = cause_sip
        self.disposition = disposition
        self.unsure = unsure


class Listener(Protocol):
    """Takes what switches tell."""

    def on_progress(self, call_id: str, progress: LineEvent) -> None:
        """A call has come a step further."""
        ...

    def on_media(self, call_id: str, theirs: MediaAddress) -> None:
        """The switch takes a call's sound elsewhere from now on."""
        ...

    async def came_in(self, call: IncomingCall) -> MediaAddress | None:
        """Opens the session of a call that comes in; gives where its sound goes, None by a socket.
        The switch answers then. Raises NotTaken."""
        ...

    def on_reachable(self, trunk: str, reachable: bool) -> None:
        """The switch has tried a trunk by itself (SIP OPTIONS), with another result than before."""
        ...

    def calls_on(self, switch: str) -> dict[str, str]:
        """The running calls on a switch, with their trunks: what it holds beyond them is nobody's,
        and is ended. Where it keeps calls, those that another edge has taken over, too."""
        ...


class Switch(Protocol):
    """A telephone system. A repeated call id is the same call, never a second one."""

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        ...

    @property
    def medium(self) -> Medium:
        """How it brings the sound."""
        ...

    @property
    def sends_keys(self) -> bool:
        """Whether keys go by `send_keys`; otherwise they go with the sound (RFC 4733)."""
        ...

    @property
    def keeps_calls(self) -> bool:
        """Whether it holds a call whose edge is lost, so that another edge can take it up."""
        ...

    @property
    def connected(self) -> bool:
        """Whether it can be asked now."""
        ...

    async def start(self, listener: Listener) -> None:
        """Begins to tell; connects, and connects again whenever the connection is lost."""
        ...

    async def dial(self, order: Order) -> MediaAddress | None:
        """Asks for a call; gives where its sound goes, None by a socket. Raises Refused."""
        ...

    async def adopt(
        self, call_id: str, ours: MediaAddress | None, try_no: int = 1, answered: bool = False,
        placed_by: str = "", anew: bool = False,
    ) -> bool:  # fmt: skip
        """Takes up a call that an earlier edge placed; False when the switch no longer has it. A
        switch that cannot know yet says True, and tells the end later. `placed_by`: the edge that
        placed it, if not we; `anew`: its sound goes to a lost edge, so it is brought here anew.
        Only a switch that `keeps_calls` is asked for such a call."""
        ...

    def let_go(self, call_id: str) -> None:
        """Another edge has the call: nothing more is done or told."""
        ...

    async def send_keys(self, call_id: str, digits: str) -> None:
        """Sends keys to the customer; no error if the call is over."""
        ...

    async def hang_up(self, call_id: str) -> None:
        """Ends a call; no error if it is already over."""
        ...

    async def transfer(self, call_id: str, target: str) -> bool:
        """Connects the customer elsewhere; False when the switch cannot."""
        ...

    async def close(self) -> None:
        """Ends the connection to the switch; its calls go on."""
        ...
