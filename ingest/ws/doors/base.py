"""Doors: paths of the media server whose callers name their call in the first message.

A carrier's socket comes to one fixed URL, `/media/{door}`, and proves itself in the handshake. What
call it brings, and whether a session has to be opened for it, its first messages say.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple, Protocol

from websockets.datastructures import Headers

from ingest.ws.dialects.base import Dialect


class Handshake(NamedTuple):
    """A request to open a WebSocket, or plain GET: target with its query, and headers."""

    target: str
    headers: Headers


class Page(NamedTuple):
    """An answer to a GET that opens no WebSocket."""

    status: HTTPStatus
    content_type: str
    body: str


@dataclass(frozen=True, slots=True)
class DoorClosed(Exception):
    """The handshake is refused; `reason` may be told to anybody."""

    status: HTTPStatus
    reason: str


class Door(Protocol):
    """One fixed path."""

    def check(self, handshake: Handshake, now_s: float) -> Page | None:
        """Lets a handshake pass, or gives a page to a GET below this path. `now_s`: Unix time.

        Raises DoorClosed.
        """
        ...

    def greet(self, handshake: Handshake) -> Dialect:
        """The dialect of a connection whose handshake has passed."""
        ...

    async def end(self, dialect: Dialect) -> None:
        """Ends the call at the carrier, where closing the connection does not."""
        ...
