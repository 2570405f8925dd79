"""Session descriptions (RFC 4566) for one stream of G.711 with telephone-events (RFC 4733)."""

import re
from dataclasses import dataclass

CODEC_NAMES = {0: "pcmu", 8: "pcma"}
"""Codecs of the far end by static payload type (RFC 3551)."""

_RTP_NAMES = {"pcmu": "PCMU", "pcma": "PCMA"}
_NUMBER = {"pcmu": 0, "pcma": 8}


@dataclass(frozen=True, slots=True)
class Described:
    """Where the other side wants sound, in which codecs (its order), and keys."""

    host: str
    port: int
    codecs: tuple[str, ...]
    event_type: int | None
    """Payload type of telephone-events; None where it takes none."""


def read(body: bytes) -> Described | None:
    """What an offer or answer asks for; None when there is no audio in it."""
    text = body.decode("utf-8", "replace")
    host = re.search(r"^c=IN IP4 ([\d.]{7,15})\s*$", text, re.MULTILINE)
    media = re.search(r"^m=audio (\d{1,5}) RTP/\S+ ([\d ]+?)\s*$", text, re.MULTILINE)
    if host is None or media is None or not 0 < int(media[1]) < 65_536:
        return None
    event = re.search(r"^a=rtpmap:(\d{1,3}) telephone-event/8000", text, re.MULTILINE)
    kinds = [int(kind) for kind in media[2].split()]
    codecs = tuple(CODEC_NAMES[kind] for kind in kinds if kind in CODEC_NAMES)
    return Described(host[1], int(media[1]), codecs, int(event[1]) if event else None)


def write(host: str, port: int, codecs: tuple[str, ...], event_type: int | None) -> bytes:
    """An offer, or an answer with one codec."""
    kinds = [_NUMBER[codec] for codec in codecs]
    lines = [
        "v=0", f"o=- {port} 1 IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0",
        "m=audio {} RTP/AVP {}".format(
            port, " ".join(map(str, [*kinds, *([event_type] if event_type else [])]))
        ),
        *(f"a=rtpmap:{_NUMBER[codec]} {_RTP_NAMES[codec]}/8000" for codec in codecs),
    ]  # fmt: skip
    if event_type is not None:
        lines += [f"a=rtpmap:{event_type} telephone-event/8000", f"a=fmtp:{event_type} 0-16"]
    return "\r\n".join([*lines, "a=ptime:20", "a=sendrecv", ""]).encode()
