"""The edge's heartbeats: the calls in progress, and who serves its ports."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Literal, NamedTuple, NoReturn

from ringlog.clock import now_ms
from ringlog.edges import PREFIX, Advertised
from schemas.envelope import Event
from schemas.events import DispatchInbox, Lease
from schemas.ids import heartbeat_id

ALIVE_S: Final = 2.0
HEARTBEAT_S: Final = 0.5

Queue = Callable[[str, Event], Awaitable["asyncio.Future[object]"]]
"""Hands a record to the producer; the future is its acknowledgement."""


class Load(NamedTuple):
    """Calls in progress, and whether no new ones are taken."""

    calls: int
    draining: bool


class EdgeHeartbeats:
    """The records of one edge process. `instance` names the process."""

    def __init__(
        self,
        edge_id: str,
        instance: str,
        tenant_id: str,
        queue: Queue,
        reached: Advertised,
        load: Callable[[], Load],
        sent: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`sent` is told the number of each heartbeat right before it is sent."""
        self._edge_id = edge_id
        self._instance = instance
        self._tenant_id = tenant_id
        self._queue = queue
        self._reached = reached
        self._load = load
        self._sent = sent
        self._now = asyncio.Event()

    async def tell_calls(self, running: Callable[[], Iterable[tuple[str, str]]]) -> NoReturn:
        """Tells dispatch every 2 s which calls are in progress, one record a pool. `running` gives
        (pool, call id) of each."""
        n = 0
        while True:
            for event in self.calls_alive(running(), n):
                await (await self._queue("dispatch.inbox", event))
            n += 1
            await asyncio.sleep(ALIVE_S)

    async def tell_lease(self) -> NoReturn:
        """Reports twice a second who serves this edge, where it is reached and how loaded it is;
        at once after `tell_now`."""
        n = 0
        while True:
            self._now.clear()
            self._sent(n)
            await (await self._queue("robots.leases", self.lease("heartbeat", n)))
            n += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._now.wait(), HEARTBEAT_S)

    def tell_now(self) -> None:
        """What the next heartbeat says is news."""
        self._now.set()

    def calls_alive(self, running: Iterable[tuple[str, str]], n: int) -> list[DispatchInbox]:
        """The `n`th records, one a pool that has a call."""
        pools: dict[str, list[str]] = {}
        for pool, call_id in running:
            pools.setdefault(pool, []).append(call_id)
        return [
            DispatchInbox(
                event_id=heartbeat_id(f"{self._instance}|{pool}", 0, n),
                kind="calls_alive",
                occurred_at=now_ms(),
                producer="edge",
                tenant_id=self._tenant_id,
                pool=pool,
                edge_id=self._edge_id,
                call_ids=call_ids,
            )
            for pool, call_ids in pools.items()
        ]

    def lease(self, kind: Literal["heartbeat", "release"], n: int) -> Lease:
        """The `n`th record of that kind."""
        calls, draining = self._load()
        return Lease(
            event_id=heartbeat_id(f"{self._instance}|{kind}", 0, n),
            kind=kind,
            occurred_at=now_ms(),
            producer="edge",
            tenant_id=self._tenant_id,
            shard=f"{PREFIX}{self._edge_id}",
            worker=self._instance,
            epoch=0,
            n=n,
            rtp_host=self._reached.rtp_host,
            media_url=self._reached.media_url,
            control_url=self._reached.control_url,
            capacity=self._reached.capacity,
            calls=calls,
            draining=draining,
        )
