"""Keys for one purpose each, derived from the site key (`ringlog.site_key`)."""

import hashlib
import hmac


def derived_key(site: bytes, purpose: str) -> bytes:
    """A key for one purpose, so that no two uses share one (HMAC-SHA-256)."""
    return hmac.new(site, purpose.encode(), hashlib.sha256).digest()


def media_token(secret: bytes, call_id: str) -> str:
    """The secret with which a call's media WebSocket is opened: the same after a restart."""
    return hmac.new(secret, call_id.encode(), hashlib.sha256).hexdigest()[:32]
