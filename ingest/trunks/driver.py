"""The edge's interface to a line. Progress (ringing, answered, ended) comes by `calls.events`."""

from typing import NamedTuple, Protocol


class MediaAddress(NamedTuple):
    """Where a side receives RTP, and the SSRC of what it sends."""

    host: str
    port: int
    ssrc: int | None


class Refused(Exception):
    """The line would not take the call. `cause_q850` as in ITU-T Q.850, `cause_sip` if any."""

    def __init__(
        self, cause_q850: int, cause_sip: int | None, disposition: str, detail: str
    ) -> None:
        super().__init__(f"{disposition}: {detail}")
        self.cause_q850 = cause_q850
        self.cause_sip = cause_sip
        self.disposition = disposition


class Trunk(Protocol):
    """A line. A repeated call id is the same call, never a second one."""

    @property
    def name(self) -> str:
        """Name of the line, as records carry it."""
        ...

    async def dial(self, call_id: str, phone: str, ours: MediaAddress, codec: str) -> MediaAddress:
        """Asks for a call; raises Refused."""
        ...

    async def hang_up(self, call_id: str) -> None:
        """Ends a call; no error if it is already over."""
        ...

    async def transfer(self, call_id: str, target: str) -> bool:
        """Connects the customer elsewhere; False when the line cannot."""
        ...

    async def close(self) -> None:
        """Ends the connection to the line."""
        ...
