"""A browser's SDP offer (RFC 8866, RFC 9429): what we understand of it, and nothing else.

The body of a POST comes from outside. It is read under limits, each value is checked, and the
WebRTC library is given a description that `Offer.sdp` words anew from the checked values. What we
have no use for, such as header extensions, is left out, so it is left out of the answer, too.
"""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from ingest.rtp.opus import OPUS_CLOCK_HZ
from ingest.webrtc.candidate import MAX_CANDIDATES, MAX_LINE, Candidate, parse_candidate
from ingest.webrtc.refusal import WhipRefused

MAX_SDP_BYTES: Final = 32_768
MAX_LINES: Final = 500
"""Chromium's offer of one audio line is about 70 lines and 3 kB."""

_UFRAG: Final = re.compile(r"[A-Za-z0-9+/]{4,256}")
_PWD: Final = re.compile(r"[A-Za-z0-9+/]{22,256}")
_MID: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]{1,32}")
_FINGERPRINT: Final = re.compile(r"(sha-256|sha-384|sha-512) ((?:[0-9A-F]{2}:){31,63}[0-9A-F]{2})")
_OCTETS: Final = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
_MEDIA: Final = re.compile(r"audio [0-9]{1,5} UDP/TLS/RTP/SAVPF? ([0-9]{1,3}(?: [0-9]{1,3}){0,63})")
_RTPMAP: Final = re.compile(r"([0-9]{1,3}) ([A-Za-z0-9._-]{1,32})/([0-9]{1,6})(?:/([0-9]))?")
_DIRECTIONS: Final = frozenset({"sendrecv", "sendonly", "recvonly", "inactive"})
_ONCE: Final = frozenset({"ice-ufrag", "ice-pwd", "setup", "mid"})


@dataclass(frozen=True, slots=True)
class Offer:
    """One audio line. `event_type`: payload type of keys at Opus' clock (RFC 4733), if offered.
    `talk_back`: the browser wants to hear the robot."""

    ufrag: str
    pwd: str
    fingerprint: str
    setup: str
    mid: str
    opus_type: int
    event_type: int | None
    talk_back: bool
    bundle: bool
    candidates: tuple[Candidate, ...]

    @property
    def sdp(self) -> str:
        """The offer in our words, without candidates."""
        types = [self.opus_type] + ([] if self.event_type is None else [self.event_type])
        lines = [
            "v=0",
            "o=- 0 0 IN IP4 0.0.0.0",
            "s=-",
            "t=0 0",
            *([f"a=group:BUNDLE {self.mid}"] if self.bundle else []),
            f"m=audio 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, types))}",
            "c=IN IP4 0.0.0.0",
            f"a=ice-ufrag:{self.ufrag}",
            f"a=ice-pwd:{self.pwd}",
            f"a=fingerprint:{self.fingerprint}",
            f"a=setup:{self.setup}",
            f"a=mid:{self.mid}",
            "a=sendrecv" if self.talk_back else "a=sendonly",
            "a=rtcp-mux",
            f"a=rtpmap:{self.opus_type} opus/{OPUS_CLOCK_HZ}/2",
        ]
        if self.event_type is not None:
            lines.append(f"a=rtpmap:{self.event_type} telephone-event/{OPUS_CLOCK_HZ}")
        return "\r\n".join(lines) + "\r\n"


def sdp_lines(body: bytes, limit_bytes: int = MAX_SDP_BYTES) -> list[tuple[str, str]]:
    """(type, value) of each line of an SDP body or fragment; raises WhipRefused."""
    if len(body) > limit_bytes:
        raise WhipRefused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is longer than {limit_bytes} bytes"
        )
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise WhipRefused(HTTPStatus.BAD_REQUEST, "the body is not UTF-8") from None
    if "\x00" in text:
        raise WhipRefused(HTTPStatus.BAD_REQUEST, "the body has a zero byte")
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line]
    if len(lines) > MAX_LINES:
        raise WhipRefused(HTTPStatus.BAD_REQUEST, f"more than {MAX_LINES} lines")
    for line in lines:
        if len(line) > MAX_LINE or len(line) < 2 or line[1] != "=" or not line[0].islower():
            raise WhipRefused(HTTPStatus.BAD_REQUEST, "a line is no `x=value` of SDP")
    return [(line[0], line[2:]) for line in lines]


def parse_offer(body: bytes) -> Offer:
    """The offer in a POST's body.

    Raises WhipRefused: 400 for what is not SDP, 413, 422 for what we cannot serve.
    """
    lines = sdp_lines(body)
    if not lines or lines[0] != ("v", "0"):
        raise WhipRefused(HTTPStatus.BAD_REQUEST, "the body does not begin with v=0")
    media = [value for kind, value in lines if kind == "m"]
    if len(media) != 1:
        raise WhipRefused(HTTPStatus.UNPROCESSABLE_ENTITY, "offer one audio line and nothing else")
    line = _MEDIA.fullmatch(media[0])
    if line is None:
        raise WhipRefused(
            HTTPStatus.UNPROCESSABLE_ENTITY, "the media line is not audio over UDP/TLS/RTP/SAVPF"
        )
    found, candidates, formats = _attributes(lines)
    if not found.keys() >= {"ice-ufrag", "ice-pwd", "fingerprint", "setup", "mid"}:
        missing = {"ice-ufrag", "ice-pwd", "fingerprint", "setup", "mid"} - found.keys()
        raise WhipRefused(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"the offer lacks {', '.join(sorted(missing))}"
        )
    offered = [int(text) for text in line[1].split()]
    opus = _type_of(offered, formats, "opus")
    if opus is None:
        raise WhipRefused(HTTPStatus.UNPROCESSABLE_ENTITY, "the offer has no Opus")
    direction = found.get("direction", "sendrecv")
    if direction not in ("sendrecv", "sendonly"):
        raise WhipRefused(HTTPStatus.UNPROCESSABLE_ENTITY, "the offer sends no sound")
    if "rtcp-mux" not in found:
        raise WhipRefused(HTTPStatus.UNPROCESSABLE_ENTITY, "the offer has no rtcp-mux")
    return Offer(
        found["ice-ufrag"], found["ice-pwd"], found["fingerprint"], found["setup"], found["mid"],
        opus, _type_of(offered, formats, "telephone-event"), direction == "sendrecv",
        found.get("group", "").split(" ")[0] == "BUNDLE", tuple(candidates),
    )  # fmt: skip


def _attributes(
    lines: list[tuple[str, str]],
) -> tuple[dict[str, str], list[Candidate], dict[int, tuple[str, int]]]:
    """Attributes that we understand, candidates, and (name, clock) by payload type."""
    found: dict[str, str] = {}
    candidates: list[Candidate] = []
    formats: dict[int, tuple[str, int]] = {}
    for kind, text in lines:
        if kind != "a":
            continue
        name, _, value = text.partition(":")
        if name in _DIRECTIONS:
            found["direction"] = name
        elif name == "rtcp-mux":
            found[name] = ""
        elif name == "group":
            found.setdefault(name, value)
        elif name == "candidate":
            candidate = parse_candidate(value)
            if candidate is not None and len(candidates) < MAX_CANDIDATES:
                candidates.append(candidate)
        elif name == "rtpmap":
            if (mapped := _RTPMAP.fullmatch(value)) is not None:
                formats[int(mapped[1])] = (mapped[2].lower(), int(mapped[3]))
        elif name == "fingerprint":
            if (printed := _fingerprint(value)) is not None:
                found.setdefault(name, printed)
        elif name in _ONCE:
            if found.setdefault(name, value) != value:
                raise WhipRefused(HTTPStatus.BAD_REQUEST, f"two values of {name}")
            _check(name, value)
    return found, candidates, formats


def _check(name: str, value: str) -> None:
    right = {
        "ice-ufrag": _UFRAG.fullmatch(value),
        "ice-pwd": _PWD.fullmatch(value),
        "mid": _MID.fullmatch(value),
        "setup": value in ("actpass", "active") or None,
    }
    if right[name] is None:
        raise WhipRefused(HTTPStatus.UNPROCESSABLE_ENTITY, f"{name} has a value we cannot use")


def _fingerprint(value: str) -> str | None:
    """A certificate's fingerprint (RFC 8122) of a hash that we know; None for others."""
    algorithm, _, octets = value.partition(" ")
    wanted = f"{algorithm.lower()} {octets.strip().upper()}"
    matched = _FINGERPRINT.fullmatch(wanted)
    if matched is None or len(matched[2]) != 3 * _OCTETS[matched[1]] - 1:
        return None
    return wanted


def _type_of(offered: list[int], formats: dict[int, tuple[str, int]], name: str) -> int | None:
    """The first offered dynamic payload type of that name at Opus' clock."""
    wanted = (name, OPUS_CLOCK_HZ)
    return next((t for t in offered if 96 <= t <= 127 and formats.get(t) == wanted), None)
