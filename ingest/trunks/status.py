"""Tells on `trunks.status` how each trunk stands, as this edge sees it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

from ingest.trunks.router import TrunkFigures, TrunkRouter
from schemas.envelope import Event
from schemas.events import TrunkStatus
from schemas.ids import heartbeat_id

LOOK_S: Final = 1.0
REPEAT_MS: Final = 15_000
"""How often figures that have changed are told, at most; a breaker's step is told at once."""

Queue = Callable[[str, Event], Awaitable["asyncio.Future[object]"]]


class TrunkStatuses:
    """The statuses of one edge process."""

    def __init__(
        self, router: TrunkRouter, edge_id: str, instance: str, tenant_id: str, queue: Queue
    ) -> None:
        self._router = router
        self._edge_id = edge_id
        self._instance = instance
        self._tenant_id = tenant_id
        self._queue = queue
        self._told: dict[str, tuple[int, TrunkFigures]] = {}
        self._n = 0

    async def tell(self, now_ms: Callable[[], int]) -> NoReturn:
        """Tells what has changed, for ever."""
        while True:
            for event in self.due(now_ms()):
                await (await self._queue("trunks.status", event))
            await asyncio.sleep(LOOK_S)

    def due(self, now_ms: int) -> list[TrunkStatus]:
        """The statuses to tell now."""
        out: list[TrunkStatus] = []
        for name in self._router.plan.trunks:
            figures = self._router.figures(name, now_ms)
            told_ms, before = self._told.get(name, (0, None))
            if before is not None:
                if figures == before:
                    continue
                if figures.state == before.state and now_ms - told_ms < REPEAT_MS:
                    continue
            self._told[name] = now_ms, figures
            self._n += 1
            out.append(self._event(name, figures, now_ms))
        return out

    def _event(self, name: str, figures: TrunkFigures, now_ms: int) -> TrunkStatus:
        return TrunkStatus(
            event_id=heartbeat_id(f"{self._instance}|trunk|{name}", 0, self._n),
            occurred_at=now_ms,
            producer="edge",
            tenant_id=self._tenant_id,
            trunk=name,
            state=figures.state,
            calls=figures.tries,
            failures=figures.failures,
            reason=figures.reason,
            running=figures.calls,
            answer_ratio=figures.answer_ratio,
            pdd_ms=figures.pdd_ms,
            edge_id=self._edge_id,
        )
