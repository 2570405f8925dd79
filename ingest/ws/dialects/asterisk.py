"""Asterisk's chan_websocket, sub-protocol `media`, where Asterisk is the client."""

from ingest.ws.dialects.base import BinaryDialect, ControlMessage, digits_of, object_of


class AsteriskDialect(BinaryDialect):
    """Plain text or JSON: `DTMF_END digit:5`, `MEDIA_START …`.

    Its other events concern its own queue and are ignored. L16 is in the host's order there.
    """

    little_endian = True

    def parse(self, text: str) -> ControlMessage | None:
        """The message of an event; raises WsRefused for an invalid key."""
        if text.lstrip().startswith("{"):
            data = object_of(text)
            event, digit = data.get("event"), data.get("digit")
            name = data.get("correlation_id")
        else:
            event, *fields = text.split() or [""]
            told = dict(f.partition(":")[::2] for f in fields)
            digit, name = told.get("digit"), told.get("correlation_id")
        if event == "DTMF_END":
            return ControlMessage("dtmf", digits=digits_of(digit))
        if event == "MEDIA_MARK_PROCESSED":
            return ControlMessage("mark", name=name if isinstance(name, str) else "")
        return None

    def word(self, message: ControlMessage) -> str | None:
        """Its commands; keys cannot be sent to it."""
        match message.type:
            case "clear":
                return "FLUSH_MEDIA"
            case "mark":
                return f"MARK_MEDIA {message.name}"
            case "hangup":
                return "HANGUP"
            case "dtmf" | "reconnect":
                return None
