"""FreeSWITCH's event socket, its text alone: no socket, no clock.

A message is lines `Name: value`, an empty line, and a body of `Content-Length` octets. An event's
body is such a message again, with values in URL encoding. (FreeSWITCH's page on mod_event_socket.)
The switch is trusted little: everything has a limit, and what is malformed ends the connection.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import unquote

MAX_HEAD_BYTES: Final = 65_536
MAX_BODY_BYTES: Final = 4_194_304
"""`show channels` of some thousand channels is the longest."""

MAX_HEADERS: Final = 1_000

_LENGTH: Final = re.compile(r"[0-9]{1,8}")


class EslError(Exception):
    """The text is no event socket's; the message says why."""


class EslMessage(NamedTuple):
    """Headers by their name as sent (the last of a name counts), and the body."""

    headers: dict[str, str]
    body: str = ""

    @property
    def kind(self) -> str:
        """Its `Content-Type`."""
        return self.headers.get("Content-Type", "")


class EslEvent(NamedTuple):
    """An event: decoded headers, and its own body."""

    headers: dict[str, str]
    body: str = ""

    @property
    def name(self) -> str:
        """`CHANNEL_ANSWER` and the like; of a custom event its subclass."""
        name = self.headers.get("Event-Name", "")
        return self.headers.get("Event-Subclass", "") if name == "CUSTOM" else name

    def get(self, name: str) -> str:
        """A header, empty when there is none."""
        return self.headers.get(name, "")


class EslParser:
    """Cuts a stream of octets into messages."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._headers: dict[str, str] | None = None  # of a message whose body is awaited
        self._missing = 0

    def feed(self, data: bytes) -> list[EslMessage]:
        """Messages that are whole now; raises EslError."""
        self._data += data
        found: list[EslMessage] = []
        while (message := self._next()) is not None:
            found.append(message)
        return found

    def _next(self) -> EslMessage | None:
        if self._headers is None:
            end = self._data.find(b"\n\n", 0, MAX_HEAD_BYTES + 2)
            if end < 0:
                if len(self._data) > MAX_HEAD_BYTES:
                    raise EslError("a message's head is too long")
                return None
            head = bytes(self._data[:end])
            del self._data[: end + 2]
            self._headers = headers_of(head.decode(errors="replace"))
            self._missing = length_of(self._headers)
        if len(self._data) < self._missing:
            return None
        body = bytes(self._data[: self._missing])
        del self._data[: self._missing]
        headers, self._headers, self._missing = self._headers, None, 0
        return EslMessage(headers, body.decode(errors="replace"))


def headers_of(head: str) -> dict[str, str]:
    """Headers of a message's head; raises EslError."""
    lines = [line for line in head.split("\n") if line]
    if len(lines) > MAX_HEADERS:
        raise EslError("a message has too many headers")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name:
            raise EslError("a header has no colon")
        headers[name] = value.strip()
    return headers


def length_of(headers: dict[str, str]) -> int:
    """Octets of the body that follows; raises EslError."""
    length = headers.get("Content-Length", "0")
    if not _LENGTH.fullmatch(length) or int(length) > MAX_BODY_BYTES:
        raise EslError("a message's length is no number, or too long")
    return int(length)


def event_of(message: EslMessage) -> EslEvent | None:
    """The event of a `text/event-plain`; None for another message. Raises EslError."""
    if message.kind != "text/event-plain":
        return None
    head, _, body = message.body.partition("\n\n")
    headers = {name: unquote(value) for name, value in headers_of(head).items()}
    length_of(headers)
    return EslEvent(headers, body)


def command(words: str, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """A command for the wire; raises ValueError for text that would be two commands."""
    lines = [words, *(f"{name}: {value}" for name, value in headers)]
    if not words or any("\n" in line or "\r" in line or "\0" in line for line in lines):
        raise ValueError("a command is one line")
    return ("\n".join(lines) + "\n\n").encode()
