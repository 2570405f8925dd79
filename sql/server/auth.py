"""Who may connect: one user, one password."""

from __future__ import annotations

import hmac

from sql.server.config import ServerConfig
from sql.server.errors import AUTHENTICATION_FAILED, ProtocolError


def check_password(config: ServerConfig, user: str, password: str) -> None:
    """Raise ProtocolError (AUTHENTICATION_FAILED) unless both are the configured ones."""
    good_user = hmac.compare_digest(_raw(user), _raw(config.user))
    good_password = hmac.compare_digest(_raw(password), _raw(config.password))
    if not (good_user and good_password):
        raise ProtocolError(
            AUTHENTICATION_FAILED,
            f"{user[:64]}: Authentication failed: password is incorrect, or there is no user with "
            "such name. (AUTHENTICATION_FAILED)",
        )


def _raw(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")
