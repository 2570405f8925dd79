"""What a WHIP session answers to PATCH (RFC 9725 section 4.3): trickle ICE, without a socket.

A session has one ICE generation. Its entity tag names it; a fragment of other credentials asks for
an ICE restart, which we do not offer.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final

from ingest.webrtc.candidate import MAX_CANDIDATES, Candidate, parse_candidate
from ingest.webrtc.offer import Offer, sdp_lines
from ingest.webrtc.refusal import WhipRefused

OFFER_TYPE: Final = "application/sdp"
FRAGMENT_TYPE: Final = "application/trickle-ice-sdpfrag"

MAX_FRAGMENT_BYTES: Final = 16_384
MAX_PATCHES: Final = 64
"""Requests with candidates that one session takes."""


@dataclass(frozen=True, slots=True)
class Generation:
    """The ICE generation of a session: the browser's credentials, and what it has told so far."""

    etag: str
    ufrag: str
    pwd: str
    mid: str
    known: frozenset[tuple[str, int]] = frozenset()
    patches: int = 0


def begun(offer: Offer, etag: str) -> Generation:
    """The generation that an offer begins. `etag` without quotes."""
    known = frozenset((c.host, c.port) for c in offer.candidates)
    return Generation(etag, offer.ufrag, offer.pwd, offer.mid, known)


def patch(
    state: Generation, if_match: str | None, content_type: str, body: bytes
) -> tuple[Generation, tuple[Candidate, ...]]:
    """The generation after a PATCH, and the candidates to add: those not known yet.

    Raises WhipRefused: 428 without If-Match, 412 for another tag, 415, 413, 400, 422 for an ICE
    restart, 429 for too many.
    """
    if content_type != FRAGMENT_TYPE:
        raise WhipRefused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send {FRAGMENT_TYPE}")
    if if_match is None:
        raise WhipRefused(HTTPStatus.PRECONDITION_REQUIRED, "send If-Match with the session's tag")
    if state.patches >= MAX_PATCHES:
        raise WhipRefused(HTTPStatus.TOO_MANY_REQUESTS, "too many candidates")
    found, credentials = _fragment(body)
    if credentials - {state.ufrag, state.pwd}:
        raise WhipRefused(HTTPStatus.UNPROCESSABLE_ENTITY, "ICE restart is not offered here")
    if if_match.strip() == "*" or not _matches(if_match, state.etag):
        raise WhipRefused(HTTPStatus.PRECONDITION_FAILED, "the session has another entity tag")
    fresh: dict[tuple[str, int], Candidate] = {}
    for candidate in found:
        key = candidate.host, candidate.port
        if key not in state.known and len(state.known) + len(fresh) < MAX_CANDIDATES:
            fresh.setdefault(key, candidate)
    after = replace(state, known=state.known | fresh.keys(), patches=state.patches + 1)
    return after, tuple(fresh.values())


def _matches(if_match: str, etag: str) -> bool:
    """Whether a list of entity tags has ours (RFC 9110 section 13.1.1: strong comparison)."""
    return f'"{etag}"' in (tag.strip() for tag in if_match.split(",")[:16])


def _fragment(body: bytes) -> tuple[Iterable[Candidate], set[str]]:
    """Candidates of a fragment (RFC 8840 section 9) and the ICE credentials that it names."""
    found: list[Candidate] = []
    credentials: set[str] = set()
    for kind, text in sdp_lines(body, MAX_FRAGMENT_BYTES):
        if kind not in "am":
            raise WhipRefused(HTTPStatus.BAD_REQUEST, "a fragment has lines a= and m= alone")
        name, _, value = text.partition(":")
        if kind == "a" and name in ("ice-ufrag", "ice-pwd"):
            credentials.add(value)
        elif kind == "a" and name == "candidate":
            candidate = parse_candidate(value)
            if candidate is not None:
                found.append(candidate)
    return found, credentials
