"""Questions to the REST API of the running stack."""

import json
from typing import Any

import urllib3

from cli.errors import CheckFailed, NotRunning
from ringlog.api_key import api_key
from ringlog.settings import settings


def ask(method: str, path: str, body: object = None) -> Any:
    """The answer's JSON; raises NotRunning, and CheckFailed with the API's own words."""
    config = settings()
    try:
        answer = urllib3.PoolManager().request(
            method,
            config.api_url + path,
            body=None if body is None else json.dumps(body).encode(),
            headers={
                "Content-Type": "application/json",
                "Authorization": f"Bearer {api_key(config)[0]}",
            },
            timeout=30,
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
