"""chan_websocket for a call that our driver holds: ARI tells keys and ends, the socket has sound.

Commands are plain text, or JSON where Asterisk's first message is.
"""

from collections.abc import Iterable

from ingest.ws.dialects.asterisk import AsteriskDialect
from ingest.ws.dialects.base import ControlMessage, Heard, Wanted, WsRefused, compact


class AsteriskMediaDialect(AsteriskDialect):
    """Sound, and the commands that concern Asterisk's queue."""

    max_text_bytes = 8_192
    """MEDIA_START as JSON has all variables of the channel."""

    def __init__(self) -> None:
        self.speaks_json = False

    def parse(self, text: str) -> ControlMessage | None:
        """Marks only; raises WsRefused for what is no message."""
        self.speaks_json = self.speaks_json or text.lstrip().startswith("{")
        found = super().parse(text)
        return found if found is not None and found.type == "mark" else None

    def word(self, message: ControlMessage) -> str | None:
        """A command, in the form that Asterisk speaks. Only ARI ends a leg."""
        if message.type == "hangup" or (said := super().word(message)) is None:
            return None
        if not self.speaks_json:
            return said
        command, _, name = said.partition(" ")
        return compact({"command": command} | ({"correlation_id": name} if name else {}))


class AsteriskCallsDialect(AsteriskMediaDialect):
    """The same where Asterisk connects to us: its first message, MEDIA_START, opens the call that
    the URL names."""

    def __init__(self, call_id: str, token: str) -> None:
        super().__init__()
        self._wanted: Wanted | None = Wanted(call_id, token)

    def take(self, message: str | bytes) -> Iterable[Heard]:
        """Raises WsRefused for sound before the call is known."""
        wanted, self._wanted = self._wanted, None
        if wanted is None:
            return super().take(message)
        if isinstance(message, bytes) or "MEDIA_START" not in message:
            raise WsRefused("the first message is not MEDIA_START")
        super().take(message)  # shows whether it speaks JSON
        return (wanted,)
