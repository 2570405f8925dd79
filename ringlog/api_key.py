"""The API key of a site: as set, or made on the first start."""

import os
import secrets

from ringlog.settings import Settings

FILE = "api-key"


def api_key(config: Settings) -> tuple[str, bool]:
    """(the key, whether it was configured); the first start makes one in `<home>/api-key`."""
    if config.api_key is not None:
        return config.api_key.get_secret_value(), True
    path = config.home / FILE
    try:
        return path.read_text(encoding="ascii").strip(), False
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    made = secrets.token_urlsafe(32)
    draft = path.with_name(f".{FILE}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(made + "\n")
    try:
        os.link(draft, path)  # whole or not at all: another service may make one, too
    except FileExistsError:
        made = path.read_text(encoding="ascii").strip()
    finally:
        draft.unlink()
    return made, False
