"""Readiness: asked of the service itself, never guessed from an open port."""

import logging
from typing import Literal

import aiohttp
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from stack.services import Probe

_ANSWER_S = 3.0

logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a no is an answer, not an error


Answer = Literal["ready", "waits", "silent"]
"""`waits`: the service itself says not ready; `silent`: no answer, or it is stuck."""

_STUCK = 500


async def ask(probe: Probe) -> Answer:
    """One readiness check."""
    if probe.kind == "kafka":
        return await _ask_broker(probe.target)
    timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(probe.target) as answer:
            if answer.status == _STUCK:
                return "silent"
            return "ready" if 200 <= answer.status < 300 else "waits"
    except (aiohttp.ClientError, TimeoutError, OSError):
        return "silent"


async def _ask_broker(bootstrap: str) -> Answer:
    """Ready when the metadata names a broker: it has then registered and is not fenced."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap, request_timeout_ms=int(_ANSWER_S * 1000))
    try:
        await client.bootstrap()
        return "ready" if client.cluster.brokers() else "waits"
    except (KafkaError, OSError, TimeoutError):
        return "silent"
    finally:
        await client.close()
