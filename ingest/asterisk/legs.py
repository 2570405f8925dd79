"""Media legs by RTP: Asterisk sends to the call's port, and names the port that it listens on."""

from ingest.asterisk.events import AriChannel, AriMalformed
from ingest.asterisk.media import format_name
from ingest.sound.types import format_of
from ingest.trunks.driver import MediaAddress


class RtpLegs:
    """One switch's. `host`: where Asterisk takes our RTP, if it names another address itself."""

    def __init__(self, host: str = "") -> None:
        self._host = host
        self._ours: dict[str, tuple[MediaAddress, str]] = {}

    def expect(self, call: str, ours: MediaAddress, codec: str) -> None:
        """A call's port; `codec` as in a media session. `call`: the name of its bridge."""
        self._ours[call] = ours, format_name(format_of(codec))

    def query(self, call: str, name: str) -> dict[str, str]:
        """Plain RTP over UDP, both ways; raises KeyError."""
        ours, form = self._ours[call]
        host = f"[{ours.host}]" if ":" in ours.host else ours.host
        return {"external_host": f"{host}:{ours.port}", "format": form}

    def made(self, call: str, name: str, channel: AriChannel) -> MediaAddress:
        """The port that Asterisk names; raises AriMalformed."""
        host = self._host or channel.variables.get("UNICASTRTP_LOCAL_ADDRESS", "")
        port = channel.variables.get("UNICASTRTP_LOCAL_PORT", "")
        if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise AriMalformed("the media leg has no UNICASTRTP_LOCAL_ADDRESS and _PORT")
        return MediaAddress(host, int(port), None)

    def over(self, call: str) -> None:
        """The port may serve another call."""
        self._ours.pop(call, None)
