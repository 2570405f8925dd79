"""The site key: made once into `<home>/site-key`, and what is derived from it.

Opt-out hashes (`schemas.ids.phone_hash`) need the same key in every service of a site: it is text
in a file, and those bytes are the key.
"""

import hashlib
import hmac
import os
import secrets

from ringlog.settings import Settings


def site_key(config: Settings) -> bytes:
    """The site's secret: configured, or made on first use."""
    if config.site_key is not None:
        return config.site_key.get_secret_value().encode()
    path = config.home / "site-key"
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written beside and linked into place, so that nobody ever reads half a key.
    part = path.with_name(f"site-key.{os.getpid()}.part")
    if not path.exists():
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        try:
            os.link(part, path)
        except FileExistsError:
            pass  # another service was first
        part.unlink()
    return path.read_text(encoding="ascii").strip().encode()


def derived_key(site: bytes, purpose: str) -> bytes:
    """A key for one purpose, so that no two uses share one (HMAC-SHA-256)."""
    return hmac.new(site, purpose.encode(), hashlib.sha256).digest()


def media_token(secret: bytes, call_id: str) -> str:
    """The secret with which a call's media WebSocket is opened: the same after a restart."""
    return hmac.new(secret, call_id.encode(), hashlib.sha256).hexdigest()[:32]
