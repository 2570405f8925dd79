"""Doors of the media server, one module each: fixed paths whose callers name their call."""

from collections.abc import Callable

from ingest.ws.doors.asterisk import AsteriskDoor
from ingest.ws.doors.audiohook import AudioHookDoor
from ingest.ws.doors.base import Door
from ingest.ws.doors.twilio import TwilioDoor
from ringlog.settings import Settings


def doors_of(
    config: Settings,
    media_url: str,
    is_over: Callable[[str], bool],
    customer_of: Callable[[str], str],
) -> dict[str, Door]:
    """All doors, by the last part of their path.

    `media_url`: below which peers reach us; `is_over`: whether a call has ended; `customer_of`: an
    id for the customer of a number.
    """
    return {
        "twilio": TwilioDoor(config, media_url, is_over, customer_of),
        "asterisk": AsteriskDoor(),
        "audiohook": AudioHookDoor(config, media_url, customer_of),
    }
