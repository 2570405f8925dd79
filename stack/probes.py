"""Readiness: asked of the service itself, never guessed from an open port."""

import logging

import aiohttp
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from stack.services import Probe

_ANSWER_S = 3.0

logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a no is an answer, not an error


async def is_ready(probe: Probe) -> bool:
    """One question; every failure is a no."""
    if probe.kind == "kafka":
        return await _broker_answers(probe.target)
    timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(probe.target) as answer:
            return 200 <= answer.status < 300
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


async def _broker_answers(bootstrap: str) -> bool:
    """Whether the metadata names a broker: it has then registered and is not fenced."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap, request_timeout_ms=int(_ANSWER_S * 1000))
    try:
        await client.bootstrap()
        return bool(client.cluster.brokers())
    except (KafkaError, OSError, TimeoutError):
        return False
    finally:
        await client.close()
