"""Ways in which a call's sound reaches us from Asterisk, and what each asks of it. Pure.

| kind | Asterisk | we |
|---|---|---|
| `rtp` | sends RTP to the call's port | send RTP to the port that it names |
| `audiosocket` | connects to our AudioSocket port | know the call by its UUID |
| `websocket` | connects to our media server (`websocket_client.conf`) | know it by its channel |
| `websocket-in` | waits at `/media/ID` | connect |
"""

from typing import Final, Literal

from ingest.sound.types import Format

MediaKind = Literal["rtp", "audiosocket", "websocket", "websocket-in"]

_FORMATS: Final = {
    ("pcmu", 8000): "ulaw",
    ("pcma", 8000): "alaw",
    ("l16", 8000): "slin",
    ("l16", 16000): "slin16",
}

MODULES: Final[dict[MediaKind, tuple[str, ...]]] = {
    "rtp": ("chan_rtp",),
    "audiosocket": ("res_audiosocket", "chan_audiosocket"),
    "websocket": ("res_websocket_client", "chan_websocket"),
    "websocket-in": ("chan_websocket",),
}
"""What Asterisk must have loaded."""

SINCE: Final[dict[MediaKind, str]] = {
    "rtp": "18",
    "audiosocket": "18",
    "websocket": "20.16, 21.11, 22.6 or 23.0",
    "websocket-in": "20.16, 21.11, 22.6 or 23.0",
}
"""The first versions that have it."""


def format_name(sound: Format) -> str:
    """Asterisk's name of a format."""
    return _FORMATS[sound]
