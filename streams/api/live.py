"""`/ws/events`: records of topics as they come, the same JSON as `ringlog tail`."""

import asyncio
import contextlib

from aiohttp import WSMsgType, web

from ringlog.kafka.producer import EventProducer
from ringlog.kafka.reader import BEGINNING, TopicReader
from ringlog.settings import Settings
from schemas.catalogue import TOPICS, topic
from schemas.partition import partition_of
from schemas.text import to_tail
from schemas.times import checked_ms
from streams.api.problems import Problem
from streams.api.softphone import PROTOCOL

MAX_CLIENTS = 64
"""Each client has its own reader, so that a slow one delays nobody."""

SEND_TIMEOUT_S = 30.0
"""A client that takes nothing for this long is dropped."""


class LiveRoutes:
    """The live WebSocket of one API process."""

    def __init__(self, config: Settings, producer: EventProducer) -> None:
        self._config, self._producer = config, producer
        self._clients: set[web.WebSocketResponse] = set()

    def routes(self) -> list[web.RouteDef]:
        """For `add_routes`."""
        return [web.get("/ws/events", self.live)]

    async def close(self, _: web.Application) -> None:
        """Says goodbye to all clients; for `on_shutdown`."""
        await asyncio.gather(*(ws.close(code=1001) for ws in set(self._clients)))

    async def live(self, request: web.Request) -> web.StreamResponse:
        """`topics` (comma-separated), `call_id`, `from` (`beginning` or a time; default: now)."""
        names = [n for n in request.query.get("topics", "").split(",") if n]
        unknown = [n for n in names if n not in TOPICS]
        if unknown or not names:
            known = ", ".join(sorted(TOPICS))
            raise Problem(422, "Invalid request", f"topics: some of {known}")
        since = _since(request.query.get("from"), self._config.zone)
        call_id = request.query.get("call_id")
        if len(self._clients) >= MAX_CLIENTS:
            raise Problem(503, "Too many listeners", f"at most {MAX_CLIENTS} at once")
        partitions = None
        if call_id and all(topic(n).call_keyed for n in names):
            partitions = [partition_of(call_id, topic(names[0]).partitions)]
        ws = web.WebSocketResponse(heartbeat=20, max_msg_size=4_096, protocols=(PROTOCOL,))
        await ws.prepare(request)
        self._clients.add(ws)
        reader = TopicReader(
            self._config, self._producer, names, since_ms=since, partitions=partitions,
            dead_letters=False,
        )  # fmt: skip
        try:
            await reader.start()
            work = asyncio.create_task(_send(reader, ws, call_id))
            async for message in ws:  # nothing is expected; this notices the end
                if message.type in (WSMsgType.ERROR, WSMsgType.CLOSE):
                    break
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError, TimeoutError):
                await work
        finally:
            self._clients.discard(ws)
            await reader.stop()
        return ws


async def _send(reader: TopicReader, ws: web.WebSocketResponse, call_id: str | None) -> None:
    async for batch in reader.batches():
        for received in batch:
            if call_id and received.event.call_id != call_id:
                continue
            line = to_tail(received.topic, received.partition, received.offset, received.event)
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await ws.send_json(line)


def _since(value: str | None, zone: str) -> int | None:
    if not value:
        return None
    if value == "beginning":
        return BEGINNING
    try:
        return checked_ms(int(value) if value.isdigit() and len(value) < 32 else value, zone)
    except ValueError as error:
        raise Problem(422, "Invalid request", f"from: `beginning` or a time: {error}") from None
