"""One call's side of the media WebSocket: the state that outlives a connection."""

from collections.abc import Callable

from ingest.sound.session import Session
from ingest.sound.types import Digit, Leg, leg_ssrc
from ingest.ws.dialects.base import ControlMessage, Dialect
from ingest.ws.protocol import WsReceiver


class WsLine:
    """The leg of a call that came by WebSocket, over all its connections.

    `on_open` is called when the first one opens, and after every restart of the edge.
    """

    def __init__(
        self,
        session: Session,
        leg: Leg | None = None,
        on_open: Callable[[], None] | None = None,
    ) -> None:
        self.session = session
        self.leg = leg
        self._on_open = on_open
        self._next = (0, 0)  # sequence and timestamp after the last frame
        self._last_key = -1

    def open(self, now_us: int, dialect: Dialect) -> WsReceiver:
        """The receive side of a new connection: a later one goes on where it should be."""
        session = self.session
        start_ms = session.clock.call_ms(now_us)
        if self._on_open is not None:
            self._on_open()
            self._on_open = None
        leg = self.leg
        if leg is None:
            ssrc = leg_ssrc(session.call_id, "customer")
            leg = self.leg = Leg("customer", ssrc, 0, start_ms, session.sound.rate_hz)
            return WsReceiver(session.sound, leg, now_us, dialect)
        seq, ts = self._next
        frames = (start_ms - leg.start_ms) // 20
        expected = leg.start_ts + frames * session.sound.frame_samples
        return WsReceiver(
            session.sound, leg, now_us, dialect,
            next_seq=max(seq, frames), next_ts=max(ts, expected),
        )  # fmt: skip

    def closed(self, receiver: WsReceiver) -> None:
        """A connection is over; the next one continues from its end."""
        self._next = (receiver.next_seq, receiver.next_ts)

    def keys(self, receiver: WsReceiver, control: ControlMessage, now_us: int) -> list[Digit]:
        """The key presses of a message; each has a name of its own in the call."""
        keys = receiver.digits(control, self.session.clock.call_ms(now_us), self._last_key)
        self._last_key = keys[-1].ts
        return keys
