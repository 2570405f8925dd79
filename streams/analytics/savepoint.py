"""A last savepoint when the job is stopped, so that a planned restart repeats no work.

Flink's REST interface: `POST /jobs/<id>/stop`, then `GET /jobs/<id>/savepoints/<request>`.
"""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp

_ASK_EVERY_S = 0.1


class NoSavepoint(RuntimeError):
    """Flink made no savepoint; the text says why. The last checkpoint, a little older, will do."""


async def stop_with_savepoint(rest_url: str, job_id: str, folder: Path, within_s: float) -> None:
    """Stops the job after a savepoint in `folder/<job id>`. Raises NoSavepoint.

    Windows that are open stay open: nothing is drained.
    """
    try:
        async with asyncio.timeout(within_s), aiohttp.ClientSession(rest_url) as http:
            target = (folder / job_id).as_uri()
            request = {"targetDirectory": target, "drain": False}
            async with http.post(f"/jobs/{job_id}/stop", json=request) as answer:
                told = await _body(answer)
            await _wait(http, f"/jobs/{job_id}/savepoints/{told['request-id']}")
    except (aiohttp.ClientError, TimeoutError, KeyError) as error:
        raise NoSavepoint(f"{type(error).__name__}: {error}") from error


async def _wait(http: aiohttp.ClientSession, path: str) -> None:
    while True:
        async with http.get(path) as answer:
            told = await _body(answer)
        if told["status"]["id"] == "COMPLETED":
            break
        await asyncio.sleep(_ASK_EVERY_S)
    if "failure-cause" in told["operation"]:
        cause = str(told["operation"]["failure-cause"].get("class"))
        raise NoSavepoint(f"Flink: {cause}")


async def _body(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    answer.raise_for_status()
    body: dict[str, Any] = await answer.json()
    return body
