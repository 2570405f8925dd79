"""Secrets of one call each, derived from the site key (`ringlog.site_key`)."""

import hashlib
import hmac


def media_token(secret: bytes, call_id: str) -> str:
    """The secret with which a call's media WebSocket is opened: the same after a restart."""
    return hmac.new(secret, call_id.encode(), hashlib.sha256).hexdigest()[:32]
