"""Signatures of webhooks, ours and theirs (Standard Webhooks specification, "Signature scheme").

The signed text is `id.timestamp.body`, the key the base64 after `whsec_`, and the signature
`v1,<base64>` of HMAC-SHA-256.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping

WINDOW_S = 300
"""How far a timestamp may be from our clock: an older request may be somebody's copy."""

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"

_PREFIX = "whsec_"
_SHORTEST_KEY = 24
_MAX_SIGNATURES = 16
_ID = re.compile(r"[A-Za-z0-9_:-]{1,200}")  # without the dot that separates
_SECONDS = re.compile(r"[0-9]{1,12}")


class NotSigned(ValueError):
    """A request that the secret's holder did not send, or not now; the text says why."""


def keys_of(secrets: str) -> list[bytes]:
    """The keys of secrets with spaces between: two while one replaces the other. Raises
    ValueError."""
    keys = []
    for secret in secrets.split():
        try:
            key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            raise ValueError("a webhook secret is `whsec_` and base64") from None
        if len(key) < _SHORTEST_KEY:
            raise ValueError(f"a webhook secret has {_SHORTEST_KEY} bytes or more")
        keys.append(key)
    return keys


def signature(key: bytes, webhook_id: str, timestamp_s: int, body: bytes) -> str:
    """`v1,<base64>` of a request."""
    text = f"{webhook_id}.{timestamp_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()


def headers_of(key: bytes, webhook_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """The three headers of a request that we send."""
    return {
        ID: webhook_id,
        TIMESTAMP: str(timestamp_s),
        SIGNATURE: signature(key, webhook_id, timestamp_s, body),
    }


def verified_id(keys: list[bytes], headers: Mapping[str, str], body: bytes, now_s: float) -> str:
    """The id of a request that one of the keys has signed, within the window; raises NotSigned.

    Every key is compared with every signature in constant time.
    """
    webhook_id, stamp = headers.get(ID, ""), headers.get(TIMESTAMP, "")
    if not _ID.fullmatch(webhook_id):
        raise NotSigned(f"{ID}: want 1 to 200 letters, digits, `_`, `-` or `:`")
    if not _SECONDS.fullmatch(stamp):
        raise NotSigned(f"{TIMESTAMP}: want seconds since 1970")
    if abs(now_s - int(stamp)) > WINDOW_S:
        raise NotSigned(f"{TIMESTAMP}: more than {WINDOW_S} s from our clock")
    given = headers.get(SIGNATURE, "").encode("utf-8", "surrogateescape").split()
    good = False
    for key in keys:
        right = signature(key, webhook_id, int(stamp), body).encode()
        for one in given[:_MAX_SIGNATURES]:
            good |= hmac.compare_digest(one, right)
    if not good:
        raise NotSigned(f"{SIGNATURE}: none is right")
    return webhook_id
