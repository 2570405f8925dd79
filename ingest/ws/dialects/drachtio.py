"""FreeSWITCH's mod_audio_fork (drachtio, jambonz), sub-protocol `audio.drachtio.org`."""

from ingest.ws.dialects.base import (
    BinaryDialect,
    ControlMessage,
    WsRefused,
    digits_of,
    object_of,
)


class DrachtioDialect(BinaryDialect):
    """Any JSON from it, `killAudio` and `disconnect` to it.

    Its first text is the metadata that the dial plan gives; L16 has its low octet first.
    """

    little_endian = True

    def parse(self, text: str) -> ControlMessage | None:
        """Keys as jambonz sends them; raises WsRefused for an invalid key."""
        try:
            data = object_of(text)
        except WsRefused:
            return None  # metadata is whatever the dial plan says
        if data.get("event") == "dtmf":
            return ControlMessage("dtmf", digits=digits_of(data.get("dtmf")))
        return None

    def word(self, message: ControlMessage) -> str | None:
        """Its commands; it knows neither marks nor keys."""
        match message.type:
            case "clear":
                return '{"type":"killAudio"}'
            case "hangup":
                return '{"type":"disconnect"}'
            case "mark" | "dtmf" | "reconnect":
                return None
