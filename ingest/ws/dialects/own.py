"""Our own dialect, for clients that offer no sub-protocol or `ringlog`."""

from ingest.ws.dialects.base import (
    BinaryDialect,
    ControlMessage,
    WsRefused,
    compact,
    digits_of,
    object_of,
)


class OwnDialect(BinaryDialect):
    """JSON objects: `{"type": "dtmf", "digits": "42#"}`, `clear`, `hangup`, `mark` with a name."""

    def parse(self, text: str) -> ControlMessage:
        """The message; raises WsRefused."""
        data = object_of(text)
        kind = data.get("type")
        match kind:
            case "dtmf":
                return ControlMessage(
                    "dtmf", digits=digits_of(data.get("digits", data.get("digit")))
                )
            case "mark":
                name = data.get("name")
                if not isinstance(name, str):
                    raise WsRefused("mark needs a name")
                return ControlMessage("mark", name=name)
            case "clear" | "hangup":
                return ControlMessage(kind)
        raise WsRefused("unknown type of message")

    def word(self, message: ControlMessage) -> str | None:
        """A JSON object without white space."""
        if message.type == "reconnect":
            return None  # a client reconnects when the connection closes
        data = {"type": message.type, "digits": message.digits, "name": message.name}
        return compact({key: value for key, value in data.items() if value})
