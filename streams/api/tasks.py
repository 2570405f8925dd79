"""`/api/tasks`: ask for a call, read its status, cancel it."""

import asyncio
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final
from weakref import WeakValueDictionary

from aiohttp import web

from ringlog.clock import now_ms
from ringlog.kafka.producer import EventProducer
from ringlog.settings import Settings
from schemas import ids
from schemas.events import TaskRequested
from schemas.wire import TooLarge
from streams.api.answers import AssignAnswer, CancelAnswer
from streams.api.describe import UUID, Paths, answer, at, header, named, operation
from streams.api.history import HistoryAway, HistoryRows
from streams.api.hub import Hub
from streams.api.models import AssignRequest
from streams.api.problems import Problem, body_of, history_away, number_of
from streams.api.state import TaskStatus

ROUTE = "/api/tasks/assign"

_SENT_KEPT = 100_000
"""Requests whose digest is kept until the fold has them."""


_TASK: Final = named("task_id", "The task", UUID)

_WHERE: Final = at("/api/tasks/{task_id}")

_GO_ON: Final = {name: {"task_id": "$response.body#/task_id"} for name in ("task", "cancel_task")}

PATHS: Final[Paths] = {
    ROUTE: {
        "post": operation(
            "assign_task", "Ask for a call",
            {
                200: answer("Decided", AssignAnswer, headers=_WHERE, links=_GO_ON),
                202: answer("Queued", AssignAnswer, headers=_WHERE, links=_GO_ON),
            },
            problems={
                409: "The key came before with another body",
                422: "Invalid, or refused: nobody can serve it",
                503: "The service is starting, or only ClickHouse knows the key and is away",
            },
            parameters=[header(
                "Idempotency-Key", "A request with the same key is a repeat of the same task",
                {"type": "string", "pattern": "^[!-~]([ -~]{0,198}[!-~])?$"},
            )],
            body=AssignRequest,
        ),
    },
    "/api/tasks/{task_id}": {
        "get": operation(
            "task", "A task's status", {200: answer("The task", TaskStatus)},
            parameters=[_TASK],
            problems={404: "No such task", 503: "Starting, or ClickHouse does not answer"},
        ),
    },
    "/api/tasks/{task_id}/cancel": {
        "post": operation(
            "cancel_task", "Cancel a task",
            {202: answer("The wish is on the log", CancelAnswer, headers=_WHERE)},
            parameters=[_TASK],
            problems={404: "No such task", 503: "Starting, or ClickHouse does not answer"},
        ),
    },
}  # fmt: skip


@dataclass
class _Sent:
    """A request of this process. `digest` is of its body."""

    digest: str
    acknowledged: bool = False


class TaskRoutes:
    """The task routes of one API process."""

    def __init__(
        self, config: Settings, hub: Hub, producer: EventProducer, history: HistoryRows
    ) -> None:
        self._config, self._tenant = config, config.tenant_id
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._sent: OrderedDict[str, _Sent] = OrderedDict()
        self._hub, self._producer, self._history = hub, producer, history

    def routes(self) -> list[web.RouteDef]:
        """For `add_routes`."""
        return [
            web.post(ROUTE, self.assign),
            web.get("/api/tasks/{task_id}", self.show),
            web.post("/api/tasks/{task_id}/cancel", self.cancel),
        ]

    async def assign(self, request: web.Request) -> web.Response:
        """200 assigned, 202 queued, 409 key reused with another body, 422 refused.

        503 when a key is unknown here and ClickHouse, which knows the older ones, does not answer.
        """
        asked = await body_of(request, AssignRequest, self._config.zone)
        body = asked.model_copy(update={"phone": number_of(asked.phone, self._config)})
        if body.deadline is not None and body.deadline <= now_ms():
            raise Problem(422, "Invalid request", "deadline: it has passed")
        given = request.headers.get("Idempotency-Key")
        key = given if given is not None else f"made-{uuid.uuid4()}"
        if not 0 < len(key) <= 200 or not key.isprintable():
            raise Problem(422, "Invalid request", "Idempotency-Key: 1 to 200 printable characters")
        task_id = ids.task_id(self._tenant, ROUTE, key)
        # Requests from before numbers were normalised have the digest of the body as it came.
        same = (body.sha256(), asked.sha256())
        async with self._locks.setdefault(task_id, asyncio.Lock()):
            sent = self._sent.get(task_id)
            known = sent.digest if sent else None
            if known is None and given is not None:
                known = await self._known_digest(task_id)
            if known is not None and known not in same:
                raise Problem(
                    409, "Idempotency-Key reused", "this key came before with another body",
                    task_id=task_id,
                )  # fmt: skip
            if known is None or (sent is not None and not sent.acknowledged):
                await self._send(self._requested(body, task_id, key, known or same[0]))
        status = await self._hub.wait_for_task(task_id, lambda s: s.settled, body.wait_ms / 1000)
        return self._answer(task_id, status)

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

    def _requested(self, body: AssignRequest, task: str, key: str, digest: str) -> TaskRequested:
        fields = body.model_dump(exclude={"wait_ms", "customer_id", "campaign_id", "pool"})
        return TaskRequested(
            event_id=ids.event_id(task, "requested"),
            kind="requested",
            occurred_at=now_ms(),
            producer="api",
            tenant_id=self._tenant,
            task_id=task,
            customer_id=body.customer_id,
            campaign_id=body.campaign_id,
            pool=body.pool,
            body_sha256=digest,
            idempotency_key=key,
            **fields,
        )

    async def _known_digest(self, task_id: str) -> str | None:
        status = self._hub.board.tasks.get(task_id)
        if status is not None and status.body_sha256 is not None:
            return status.body_sha256
        try:
            row = await self._history.request(task_id)
        except HistoryAway:
            raise history_away(
                "this Idempotency-Key is not of the last 24 hours, and only ClickHouse knows "
                "whether it is older; send the request again later, or without a key"
            ) from None
        return None if row is None else str(row["body_sha256"])

    def _answer(self, task_id: str, status: TaskStatus | None) -> web.Response:
        where = {"Location": f"/api/tasks/{task_id}"}
        if status is None or not status.settled:
            name = status.status if status else "queued"
            body = {"task_id": task_id, "status": name}
            if status is not None and status.call_id:
                body |= {"call_id": status.call_id, "robot_id": status.robot_id or ""}
            done = status is not None and status.status in ("dialing", "completed")
            return web.json_response(body, status=200 if done else 202, headers=where)
        if status.status == "refused":
            raise Problem(
                422, "Refused", status.reason or "", task_id=task_id, status_text="refused"
            )
        body_out = {
            "task_id": task_id,
            "call_id": status.call_id,
            "robot_id": status.robot_id,
            "status": status.status,
            "profile_version": status.profile_version,
        }
        if status.reason:
            body_out["reason"] = status.reason
        return web.json_response(body_out, headers=where)

    async def _find(self, task_id: str) -> dict[str, object]:
        status = self._hub.board.tasks.get(task_id)
        if status is not None:
            return status.model_dump(exclude={"body_sha256"})
        try:
            row = await self._history.task(task_id)
        except HistoryAway as error:
            raise history_away(str(error)) from None
        if row is None:
            raise Problem(404, "No such task", task_id)
        return row

    async def show(self, request: web.Request) -> web.Response:
        """200 with the task's status, 404."""
        return web.json_response(await self._find(request.match_info["task_id"]))

    async def cancel(self, request: web.Request) -> web.Response:
        """202: the cancellation is on the log; the task's status tells whether it was in time."""
        task_id = request.match_info["task_id"]
        found = await self._find(task_id)
        event = TaskRequested(
            event_id=ids.event_id(task_id, "cancel"),
            kind="cancel",
            occurred_at=now_ms(),
            producer="api",
            tenant_id=self._tenant,
            task_id=task_id,
            customer_id=_text(found.get("customer_id")),
            campaign_id=_text(found.get("campaign_id")),
            pool=_text(found.get("pool")),
            body_sha256="",
        )
        await self._producer.send("tasks.requested", event)
        return web.json_response(
            {"task_id": task_id, "event_id": event.event_id},
            status=202,
            headers={"Location": f"/api/tasks/{task_id}"},
        )


def _text(value: object) -> str | None:
    return None if value is None else str(value)
