"""Questions to the REST API of the running stack."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import urllib3

from cli.errors import CheckFailed, NotRunning
from ringlog.api_key import api_key
from ringlog.settings import settings

LIST_S = 3_600
"""Longest wait for an answer about a whole list, s: a million rows take minutes."""


def ask(method: str, path: str, body: object = None, timeout_s: float = 30, **headers: str) -> Any:
    """The answer's JSON; raises NotRunning, and CheckFailed with the API's own words. `headers`
    are named with `_` for `-`."""
    data = None if body is None else json.dumps(body).encode()
    return _asked(method, path, data, "application/json", timeout_s, headers)


def ask_with_file(path: str, file: Path) -> Any:
    """`ask` by POST, with a file as the body."""
    with file.open("rb") as body:
        return _asked("POST", path, body, "application/octet-stream", LIST_S)


def _asked(
    method: str,
    path: str,
    body: Any,
    content_type: str,
    timeout_s: float,
    more: Mapping[str, str] | None = None,
) -> Any:
    config = settings()
    headers = {name.replace("_", "-"): value for name, value in (more or {}).items()}
    headers["Authorization"] = f"Bearer {api_key(config)[0]}"
    if body is not None:
        headers["Content-Type"] = content_type
    try:
        answer = urllib3.PoolManager().request(
            method,
            config.api_url + path,
            body=body,
            headers=headers,
            timeout=timeout_s,
            retries=False,
        )
    except urllib3.exceptions.HTTPError:
        raise NotRunning(
            f"the API does not answer at {config.api_url}; start the stack with `ringlog up -d`"
        ) from None
    said: Any = json.loads(answer.data) if answer.data else None
    if answer.status >= 400:
        raise CheckFailed(f"{said['title']}: {said.get('detail', '')}".rstrip(": "))
    return said
