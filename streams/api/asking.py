"""Asking for calls, one or many: a request of a key is logged once, and what came of it is told."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from aiokafka.errors import KafkaError

from ringlog.clock import now_ms
from ringlog.kafka.producer import EventProducer
from ringlog.settings import Settings
from schemas import ids
from schemas.events import TaskRequested
from schemas.wire import TooLarge
from streams.api.history import HistoryAway, HistoryRows
from streams.api.hub import Hub
from streams.api.models import AssignRequest
from streams.api.problems import Problem, history_away, number_of

_SENT_KEPT = 100_000
"""Requests whose digest is kept until the fold has them."""


@dataclass(frozen=True, slots=True)
class AskedCall:
    """A request for a call. `digests` are of its body and, for requests from before numbers were
    normalised, of the body as it came."""

    task_id: str
    key: str
    body: AssignRequest
    digests: tuple[str, str]


@dataclass(slots=True)
class _Sent:
    """A request of this process. `digest` is of its body."""

    digest: str
    acknowledged: bool = False


class Asking:
    """The requests of one API process."""

    def __init__(
        self, config: Settings, hub: Hub, producer: EventProducer, history: HistoryRows
    ) -> None:
        self._config, self._tenant = config, config.tenant_id
        self._hub, self._producer, self._history = hub, producer, history
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._sent: OrderedDict[str, _Sent] = OrderedDict()

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Of requests of one name, one at a time."""
        async with self._locks.setdefault(name, asyncio.Lock()):
            yield

    def asked(self, body: AssignRequest, route: str, key: str) -> AskedCall:
        """The request of a key of that route; raises Problem 422."""
        clean = body.model_copy(update={"phone": number_of(body.phone, self._config)})
        task_id = ids.task_id(self._tenant, route, key)
        return AskedCall(task_id, key, clean, (clean.sha256(), body.sha256()))

    async def log(self, asked: Sequence[AskedCall], may_be_known: bool) -> list[Problem | None]:
        """Logs the requests that are not on the log yet, each once; gives what is wrong with each.

        Where they `may_be_known`, ClickHouse is asked about those that nobody here remembers.
        """
        known = await self._known(asked) if may_be_known else {}
        return list(await asyncio.gather(*(self._log(one, known) for one in asked)))

    async def told(self, asked: AskedCall) -> tuple[int, dict[str, Any]]:
        """Status and body of the answer, after the time that the caller waits for a decision;
        raises Problem 422 where dispatch has refused."""
        status = await self._hub.wait_for_task(
            asked.task_id, lambda s: s.settled, asked.body.wait_ms / 1000
        )
        if status is None or not status.settled:
            body = {"task_id": asked.task_id, "status": status.status if status else "queued"}
            if status is not None and status.call_id:
                body |= {"call_id": status.call_id, "robot_id": status.robot_id or ""}
            done = status is not None and status.status in ("dialing", "completed")
            return 200 if done else 202, body
        if status.status == "refused":
            raise Problem(
                422, "Refused", status.reason or "", task_id=asked.task_id, status_text="refused"
            )
        out = {
            "task_id": asked.task_id,
            "call_id": status.call_id,
            "robot_id": status.robot_id,
            "status": status.status,
            "profile_version": status.profile_version,
        }
        return 200, out | ({"reason": status.reason} if status.reason else {})

    async def _known(self, asked: Sequence[AskedCall]) -> dict[str, str | Problem]:
        """Digests by task of the requests that were logged before this process began."""
        found: dict[str, str | Problem] = {}
        for one in asked:
            status = self._hub.board.tasks.get(one.task_id)
            if status is not None and status.body_sha256 is not None:
                found[one.task_id] = status.body_sha256
        left = [a.task_id for a in asked if a.task_id not in found and a.task_id not in self._sent]
        try:
            found |= await self._history.digests(left)
        except HistoryAway:
            away = history_away(
                "this Idempotency-Key is not of the last 24 hours, and only ClickHouse knows "
                "whether it is older; send the request again later, or without a key"
            )
            found |= dict.fromkeys(left, away)
        return found

    async def _log(self, asked: AskedCall, found: dict[str, str | Problem]) -> Problem | None:
        sent = self._sent.get(asked.task_id)
        known = sent.digest if sent else found.get(asked.task_id)
        if isinstance(known, Problem):
            return known
        if known is not None and known not in asked.digests:
            return Problem(
                409, "Idempotency-Key reused", "this key came before with another body",
                task_id=asked.task_id,
            )  # fmt: skip
        if known is not None and (sent is None or sent.acknowledged):
            return None
        deadline = asked.body.deadline
        if known is None and deadline is not None and deadline <= now_ms():
            return Problem(422, "Invalid request", "deadline: it has passed")
        try:
            await self._send(self._event(asked, known or asked.digests[0]))
        except TooLarge as error:
            return Problem(413, "Too large", str(error))
        except KafkaError as error:
            return Problem(503, "Not recorded", type(error).__name__, {"Retry-After": "1"})
        return None

    async def _send(self, event: TaskRequested) -> None:
        """Logs a request. Its digest is kept from before the write, since a write may succeed
        although its answer is lost."""
        task_id = event.task_id or ""
        sent = self._sent[task_id] = _Sent(event.body_sha256)
        while len(self._sent) > _SENT_KEPT:
            self._sent.popitem(last=False)
        try:
            await self._producer.send("tasks.requested", event)
        except TooLarge:
            del self._sent[task_id]
            raise
        sent.acknowledged = True

    def _event(self, asked: AskedCall, digest: str) -> TaskRequested:
        body = asked.body
        fields = body.model_dump(exclude={"wait_ms", "customer_id", "campaign_id", "pool"})
        return TaskRequested(
            event_id=ids.event_id(asked.task_id, "requested"),
            kind="requested",
            occurred_at=now_ms(),
            producer="api",
            tenant_id=self._tenant,
            task_id=asked.task_id,
            customer_id=body.customer_id,
            campaign_id=body.campaign_id,
            pool=body.pool,
            body_sha256=digest,
            idempotency_key=asked.key,
            **fields,
        )
