"""Asterisk's door: `/media/asterisk?call=…&token=…`, for the media legs of calls that our driver
holds. Asterisk connects to the URL of its `websocket_client.conf`; the driver adds the parameters
for each leg."""

from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs

from ingest.ws.dialects.asterisk_media import AsteriskCallsDialect
from ingest.ws.dialects.base import Dialect
from ingest.ws.doors.base import DoorClosed, Handshake, Page

MAX_TEXT: Final = 256


class AsteriskDoor:
    """The server checks the token of the call that the dialect names."""

    def check(self, handshake: Handshake, now_s: float) -> Page | None:
        """Lets in who names a call and brings a token; raises DoorClosed."""
        path = handshake.target.partition("?")[0]
        if path.removesuffix("/") != "/media/asterisk":
            raise DoorClosed(HTTPStatus.NOT_FOUND, "no such page")
        if _asked(handshake) is None:
            raise DoorClosed(HTTPStatus.UNAUTHORIZED, "call and token are missing")
        return None

    def greet(self, handshake: Handshake) -> Dialect:
        """A leg's dialect."""
        asked = _asked(handshake)
        assert asked is not None, "the handshake was checked"
        return AsteriskCallsDialect(*asked)

    async def end(self, dialect: Dialect) -> None:
        """The driver ends the leg by ARI."""


def _asked(handshake: Handshake) -> tuple[str, str] | None:
    try:
        query = parse_qs(handshake.target.partition("?")[2], max_num_fields=16)
    except ValueError:
        return None
    call, token = query.get("call", [""])[-1], query.get("token", [""])[-1]
    if not call or not token or len(call) > MAX_TEXT or len(token) > MAX_TEXT:
        return None
    return call, token
