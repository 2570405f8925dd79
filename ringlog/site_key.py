"""The key under which phone numbers are hashed for the do-not-call list.

Every service of a site must hash with the same key, so it is set (`RINGLOG_SITE_KEY`), or made once
and kept with the stack's other files.
"""

import hashlib
import hmac
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

from ringlog.settings import Settings

FILE = "site-key"


class SiteKeyError(Exception):
    """The key can neither be read nor made; the text says why."""


def site_key(settings: Settings) -> bytes:
    """The key: as set, else from `<home>/site-key`, which the first to ask makes (mode 0600).

    Raises SiteKeyError.
    """
    if settings.site_key is not None and settings.site_key.get_secret_value():
        return settings.site_key.get_secret_value().encode()
    path = settings.home / FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _make(path)
        text = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise SiteKeyError(f"no site key in {path}: {error}; set RINGLOG_SITE_KEY") from None
    if len(text) < 32:
        raise SiteKeyError(f"{path} holds no key of 32 characters or more")
    return text.encode()


def derived_key(site: bytes, purpose: str) -> bytes:
    """A key for one purpose, so that no two uses share one (HMAC-SHA-256, RFC 2104)."""
    return hmac.new(site, purpose.encode(), hashlib.sha256).digest()


def edge_control_key(settings: Settings) -> str:
    """The bearer key with which the API asks the edge; raises SiteKeyError."""
    return derived_key(site_key(settings), "edge-control").hex()


def _make(path: Path) -> None:
    """Makes the file with its content at once, so that two services never make two keys."""
    if path.exists():
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(secrets.token_hex(32) + "\n")
        out.flush()
        os.fsync(out.fileno())
    try:
        with suppress(FileExistsError):  # another service was first; use its key
            os.link(draft, path)
    finally:
        draft.unlink()
