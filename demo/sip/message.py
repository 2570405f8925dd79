"""SIP messages (RFC 3261 section 7) as the far end of one telephone system needs them."""

import re
from dataclasses import dataclass

MAX_BYTES = 16_384
_MAX_HEADERS = 128
_COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "c": "content-type",
            "l": "content-length", "e": "content-encoding", "k": "supported"}  # fmt: skip
_REQUEST = re.compile(r"([A-Z]{1,20}) (\S+) SIP/2\.0")
_RESPONSE = re.compile(r"SIP/2\.0 ([1-6]\d\d)(?: (.*))?")
_USER = re.compile(r"sips?:(?:([^@;>\s]*)@)?([^;>\s]+)")


class SipRefused(ValueError):
    """Bytes that are no SIP message."""


@dataclass(frozen=True, slots=True)
class SipMessage:
    """A request (`method`, `uri`) or a response (`status`); header names are in lower case."""

    start: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""

    @property
    def method(self) -> str | None:
        """`INVITE`, …; None for a response."""
        found = _REQUEST.fullmatch(self.start)
        return found[1] if found else None

    @property
    def uri(self) -> str:
        """The request's URI; empty for a response."""
        found = _REQUEST.fullmatch(self.start)
        return found[2] if found else ""

    @property
    def status(self) -> int | None:
        """100 to 699; None for a request."""
        found = _RESPONSE.fullmatch(self.start)
        return int(found[1]) if found else None

    def get(self, name: str) -> str:
        """The first header of that name; empty when there is none."""
        return next((value for key, value in self.headers if key == name), "")

    def every(self, name: str) -> list[str]:
        """All headers of that name, in order."""
        return [value for key, value in self.headers if key == name]

    @property
    def cseq(self) -> tuple[int, str]:
        """Number and method of the transaction (section 20.16); (0, '') when it is malformed."""
        number, _, method = self.get("cseq").partition(" ")
        return (int(number), method.strip()) if number.isdigit() else (0, "")

    def encode(self) -> bytes:
        """The message's bytes, with its Content-Length."""
        lines = [self.start, *(f"{_title(name)}: {value}" for name, value in self.headers)]
        lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


def parse(data: bytes) -> SipMessage:
    """A message from a datagram; raises SipRefused."""
    if len(data) > MAX_BYTES:
        raise SipRefused("too long")
    head, _, body = data.partition(b"\r\n\r\n")
    lines = re.sub(r"\r\n[ \t]+", " ", head.decode("utf-8", "replace")).split("\r\n")
    if not (_REQUEST.fullmatch(lines[0]) or _RESPONSE.fullmatch(lines[0])):
        raise SipRefused(f"no SIP message: {lines[0][:40]!r}")
    if len(lines) > _MAX_HEADERS:
        raise SipRefused("too many headers")
    headers = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise SipRefused(f"no header: {line[:40]!r}")
        key = name.strip().lower()
        headers.append((_COMPACT.get(key, key), value.strip()))
    message = SipMessage(lines[0], tuple(headers), body)
    if missing := [n for n in ("via", "from", "to", "call-id", "cseq") if not message.get(n)]:
        raise SipRefused(f"without {', '.join(missing)}")
    return message


def user_of(uri: str) -> str:
    """The user of a SIP URI, such as the number of `<sip:+8613800000001@host>`."""
    found = _USER.search(uri)
    return (found[1] or "").replace("%2B", "+") if found else ""


def address_of(header: str) -> str:
    """The URI in a header with or without angle brackets."""
    found = re.search(r"<([^>]*)>", header)
    return found[1] if found else header.partition(";")[0].strip()


def _title(name: str) -> str:
    return {"call-id": "Call-ID", "cseq": "CSeq"}.get(name, name.title())
