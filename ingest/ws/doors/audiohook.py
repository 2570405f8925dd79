"""Genesys' door: `/media/audiohook`, closed until its API key is set.

A handshake carries `x-api-key`, and an HTTP message signature with the client secret: HMAC-SHA256,
in the form of draft-ietf-httpbis-message-signatures-11. Libraries of the later RFC 9421 do not read
it: `@request-target` has become another thing. Signatures are 10 s old at most; each counts once.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs, urlsplit

from websockets.datastructures import Headers

from ingest.ws.dialects.audiohook import AudioHookDialect
from ingest.ws.dialects.base import SESSION_FIELDS, Dialect
from ingest.ws.doors.base import DoorClosed, Handshake, Page
from ringlog.settings import Settings

MAX_AGE_S: Final = 10
MAX_SKEW_S: Final = 3
MIN_NONCE: Final = 22
MAX_HEADER: Final = 2_048

REQUIRED: Final = (
    "@request-target", "@authority", "audiohook-organization-id", "audiohook-session-id",
    "audiohook-correlation-id", "x-api-key",
)  # fmt: skip
"""What a signature has to cover."""

_INPUT: Final = re.compile(
    r'([a-z*][a-z0-9_.*-]{0,31})=(\(((?:"[\x21\x23-\x5b\x5d-\x7e]{1,64}"[ ]?){1,16})\)'
    r'((?:;[a-z]{1,16}=(?:"[\x20\x21\x23-\x5b\x5d-\x7e]{0,256}"|[0-9]{1,15})){1,8}))'
)
_PARAMETER: Final = re.compile(r';([a-z]+)=(?:"([^"]*)"|([0-9]+))')


class SignatureRefused(Exception):
    """The text is the reason."""


def checked_nonce(
    headers: Headers,
    targets: Iterable[str],
    authorities: Iterable[str],
    secret: bytes,
    now_s: float,
) -> str:
    """The nonce of a request that is rightly signed; raises SignatureRefused.

    `targets`, `authorities`: what the client may have asked for, before and behind a proxy.
    """
    given, signed = _single(headers, "Signature-Input"), _single(headers, "Signature")
    found = _INPUT.fullmatch(given)
    if found is None:
        raise SignatureRefused("Signature-Input is malformed")
    label, covered, names, tail = found.groups()
    components = re.findall(r'"([^"]+)"', names)
    if len(set(components)) != len(components) or not set(REQUIRED) <= set(components):
        raise SignatureRefused("the signature does not cover what it has to")
    parameters = {m[1]: m[2] if m[3] is None else m[3] for m in _PARAMETER.finditer(tail)}
    _check_parameters(parameters, _single(headers, "X-API-KEY"), now_s)
    prefix = f"{label}=:"
    if not signed.startswith(prefix) or not signed.endswith(":"):
        raise SignatureRefused("Signature is malformed")
    try:
        right = base64.b64decode(signed[len(prefix) : -1], validate=True)
    except (binascii.Error, ValueError):
        raise SignatureRefused("Signature is malformed") from None
    plain = {name: _single(headers, name) for name in components if not name.startswith("@")}
    matched = False
    for target in targets:
        for authority in authorities:
            derived = {"@request-target": target, "@authority": authority}
            try:
                lines = [f'"{name}": {(plain | derived)[name]}' for name in components]
            except KeyError:
                raise SignatureRefused("the signature covers an unknown component") from None
            base = "\n".join([*lines, f'"@signature-params": {covered}'])
            ours = hmac.new(secret, base.encode(), hashlib.sha256).digest()
            matched |= hmac.compare_digest(ours, right)
    if not matched:
        raise SignatureRefused("the signature is wrong")
    return parameters["nonce"]


def _check_parameters(parameters: dict[str, str], key: str, now_s: float) -> None:
    if parameters.get("alg", "hmac-sha256") != "hmac-sha256":
        raise SignatureRefused("the algorithm is not hmac-sha256")
    if parameters.get("keyid") != key:
        raise SignatureRefused("keyid is not x-api-key")
    if len(parameters.get("nonce", "")) < MIN_NONCE:
        raise SignatureRefused("the nonce is too short")
    created, expires = parameters.get("created", ""), parameters.get("expires", "")
    if not created.isdigit() or (expires and not expires.isdigit()):
        raise SignatureRefused("created or expires is no number")
    if int(created) > now_s + MAX_SKEW_S:
        raise SignatureRefused("created is in the future")
    if int(created) < now_s - MAX_AGE_S or (expires and int(expires) < now_s):
        raise SignatureRefused("the signature is too old")


def _single(headers: Headers, name: str) -> str:
    values = headers.get_all(name)
    if len(values) != 1 or len(values[0]) > MAX_HEADER or not values[0].isascii():
        raise SignatureRefused(f"{name} is missing or malformed")
    return values[0].strip()


class AudioHookDoor:
    """Sessions of Genesys' AudioHook and Audio Connector."""

    def __init__(self, config: Settings, media_url: str, customer_of: Callable[[str], str]) -> None:
        """`media_url`: below which Genesys reaches us; `customer_of`: the customer's id for a
        number."""
        key, secret = config.audiohook_api_key, config.audiohook_secret
        self._key = key.get_secret_value() if key is not None else ""
        self._secret: bytes | None = None
        if secret is not None and secret.get_secret_value():
            self._secret = base64.b64decode(secret.get_secret_value())
        self._media_url = media_url.rstrip("/")
        self._customer_of = customer_of
        self._nonces: dict[str, float] = {}  # those of the last seconds, with their times

    def check(self, handshake: Handshake, now_s: float) -> Page | None:
        """Lets a handshake pass that has the key, and the signature when a secret is set; raises
        DoorClosed."""
        path = handshake.target.partition("?")[0]
        if path != "/media/audiohook":
            raise DoorClosed(HTTPStatus.NOT_FOUND, "no such page")
        self._fields(handshake)
        if not self._key:
            raise DoorClosed(HTTPStatus.FORBIDDEN, "RINGLOG_AUDIOHOOK_API_KEY is not set")
        try:
            key = _single(handshake.headers, "X-API-KEY")
            if not hmac.compare_digest(key.encode(), self._key.encode()):
                raise SignatureRefused("the API key is wrong")
            for name in ("Audiohook-Session-Id", "Audiohook-Organization-Id"):
                _single(handshake.headers, name)
            if self._secret is not None:
                self._check_signature(handshake, self._secret, now_s)
        except SignatureRefused as refused:
            raise DoorClosed(HTTPStatus.UNAUTHORIZED, str(refused)) from None
        return None

    def _check_signature(self, handshake: Handshake, secret: bytes, now_s: float) -> None:
        public = urlsplit(self._media_url)
        target = handshake.target
        targets = {target, public.path + target.removeprefix("/media")}
        port = f":{public.port}" if public.port else ""
        authorities = {public.netloc, public.netloc.removesuffix(port)}
        authorities |= set(handshake.headers.get_all("Host"))
        nonce = checked_nonce(handshake.headers, targets, authorities, secret, now_s)
        for old in [n for n, at in self._nonces.items() if at < now_s - MAX_AGE_S - MAX_SKEW_S]:
            del self._nonces[old]
        if nonce in self._nonces:
            raise SignatureRefused("the nonce was used before")
        self._nonces[nonce] = now_s

    def greet(self, handshake: Handshake) -> Dialect:
        """A session's dialect; the URL's query may give session fields."""
        headers = handshake.headers
        return AudioHookDialect(
            headers["Audiohook-Session-Id"], headers["Audiohook-Organization-Id"],
            self._fields(handshake), self._customer_of,
        )  # fmt: skip

    def _fields(self, handshake: Handshake) -> dict[str, str]:
        """Session fields of the URL's query; raises DoorClosed."""
        try:
            query = parse_qs(handshake.target.partition("?")[2], max_num_fields=64)
        except ValueError:
            raise DoorClosed(HTTPStatus.BAD_REQUEST, "too many parameters") from None
        return {name: query[name][0] for name in SESSION_FIELDS if name in query}

    async def end(self, dialect: Dialect) -> None:
        """Nothing: `disconnect` has told the client."""
