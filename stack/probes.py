"""Readiness: asked of the service itself, never guessed from an open port."""

import asyncio
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


_GREETINGS = {
    # StartupMessage of protocol 3.0; `R` asks for a password, `E` says that it is starting.
    "postgres": (b"\x00\x00\x00\x16\x00\x03\x00\x00user\x00ringlog\x00\x00", b"R"),
    # The protocol header; a method frame, Connection.Start, answers it.
    "amqp": (b"AMQP\x00\x00\x09\x01", b"\x01"),
}
"""By kind of server: what a client sends first, and how the answer begins once it serves."""


async def ask(probe: Probe) -> Answer:
    """One readiness check."""
    if probe.kind == "kafka":
        return await _ask_broker(probe.target)
    if probe.kind in _GREETINGS:
        return await _greet(probe.target, *_GREETINGS[probe.kind])
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


async def _greet(target: str, greeting: bytes, ready: bytes) -> Answer:
    host, _, port = target.rpartition(":")
    try:
        async with asyncio.timeout(_ANSWER_S):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                writer.write(greeting)
                first = await reader.read(1)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return "silent"
    return "ready" if first == ready else "waits"
