"""`/api/tasks`: ask for calls, read a task's status, cancel it."""

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any, Final

from aiohttp import web

from ringlog.clock import now_ms
from ringlog.kafka.producer import EventProducer
from ringlog.settings import Settings
from schemas import ids
from schemas.events import TaskRequested
from streams.api.answers import AssignAnswer, CancelAnswer
from streams.api.asking import AskedCall, Asking
from streams.api.describe import UUID, Paths, answer, at, header, named, operation
from streams.api.history import HistoryAway, HistoryRows
from streams.api.hub import Hub
from streams.api.models import BATCH_BYTES, BATCH_ITEMS, AssignBatch, AssignRequest
from streams.api.problems import Problem, checked, data_of, history_away
from streams.api.state import TaskStatus

ROUTE = "/api/tasks/assign"

BATCH_ROUTE = f"{ROUTE}/batch"
"""Begins the ids of a batch's tasks: no key of a single request gives the same."""

_TASK: Final = named("task_id", "The task", UUID)

_WHERE: Final = at("/api/tasks/{task_id}")

_GO_ON: Final = {name: {"task_id": "$response.body#/task_id"} for name in ("task", "cancel_task")}

_BATCH: Final[dict[str, Any]] = {
    "title": "AssignBatch",
    "description": "Many calls to be made. Each is checked and answered alone.",
    "type": "object",
    "required": ["tasks"],
    "additionalProperties": False,
    "properties": {
        "tasks": {
            "type": "array", "minItems": 1, "maxItems": BATCH_ITEMS,
            "items": {"anyOf": [AssignRequest, {"description": "Has a problem as its answer"}]},
        },
    },
}  # fmt: skip

_BATCH_ANSWER: Final[dict[str, Any]] = {
    "description": "One item per request: what it alone would have been answered, with its status",
    "type": "object",
    "required": ["items"],
    "properties": {
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["status"],
                "additionalProperties": False,
                "oneOf": [{"required": ["task"]}, {"required": ["problem"]}],
                "properties": {
                    "status": {"type": "integer", "minimum": 200, "maximum": 599},
                    "task": AssignAnswer,
                    "problem": {"$ref": "#/components/schemas/Problem"},
                },
            },
        },
    },
}

PATHS: Final[Paths] = {
    ROUTE: {
        "post": operation(
            "assign_task", "Ask for a call, or for up to 1,000",
            {
                200: answer("Decided", AssignAnswer, headers=_WHERE, links=_GO_ON),
                202: answer("Queued", AssignAnswer, headers=_WHERE, links=_GO_ON),
                207: answer("The answers of a batch, in order", _BATCH_ANSWER),
            },
            problems={
                409: "The key came before with another body",
                422: "Invalid, or refused: nobody can serve it",
                503: "The service is starting, or only ClickHouse knows the key and is away",
            },
            parameters=[header(
                "Idempotency-Key", "The same key again is a repeat of the same task or batch",
                {"type": "string", "pattern": "^[!-~]([ -~]{0,198}[!-~])?$"},
            )],
            body={"anyOf": [AssignRequest, _BATCH]},
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


class TaskRoutes:
    """The task routes of one API process."""

    def __init__(
        self, config: Settings, hub: Hub, producer: EventProducer, history: HistoryRows
    ) -> None:
        self._config, self._tenant = config, config.tenant_id
        self._hub, self._producer, self._history = hub, producer, history
        self._asking = Asking(config, hub, producer, history)

    def routes(self) -> list[web.RouteDef]:
        """For `add_routes`."""
        return [
            web.post(ROUTE, self.assign),
            web.get("/api/tasks/{task_id}", self.show),
            web.post("/api/tasks/{task_id}/cancel", self.cancel),
        ]

    async def assign(self, request: web.Request) -> web.Response:
        """200 assigned, 202 queued, 409 key reused with another body, 422 refused; 207 with all of
        these for a batch.

        503 when a key is unknown here and ClickHouse, which knows the older ones, does not answer.
        """
        data = await data_of(request.clone(client_max_size=BATCH_BYTES))
        given = request.headers.get("Idempotency-Key")
        key = given if given is not None else f"made-{uuid.uuid4()}"
        if not 0 < len(key) <= 200 or not key.isprintable():
            raise Problem(422, "Invalid request", "Idempotency-Key: 1 to 200 printable characters")
        if isinstance(data, dict) and "tasks" in data:
            batch = checked(data, AssignBatch)
            items = await self._batch(batch.tasks, key, given is not None)
            return web.json_response({"items": items}, status=207)
        asked = self._asking.asked(checked(data, AssignRequest, self._config.zone), ROUTE, key)
        async with self._asking.turn(asked.task_id):
            (problem,) = await self._asking.log([asked], given is not None)
        if problem is not None:
            raise problem
        status, body = await self._asking.told(asked)
        return web.json_response(
            body, status=status, headers={"Location": f"/api/tasks/{asked.task_id}"}
        )

    async def _batch(
        self, tasks: Sequence[object], key: str, may_be_known: bool
    ) -> list[dict[str, Any]]:
        """The answers, in order. Each request has a key of its own, made of the batch's and its
        place, so that a repeat goes on where it stopped."""
        asked: list[AskedCall | Problem] = []
        for n, data in enumerate(tasks):
            try:
                body = checked(data, AssignRequest, self._config.zone)
                asked.append(self._asking.asked(body, BATCH_ROUTE, f"{key}#{n}"))
            except Problem as problem:
                asked.append(problem)
            if n % 50 == 0:
                await asyncio.sleep(0)  # other requests go on meanwhile
        async with self._asking.turn(f"{BATCH_ROUTE} {key}"):
            sound = [one for one in asked if isinstance(one, AskedCall)]
            problems = iter(await self._asking.log(sound, may_be_known))
        logged = [one if isinstance(one, Problem) else next(problems) or one for one in asked]
        return list(await asyncio.gather(*map(self._item, logged)))

    async def _item(self, asked: AskedCall | Problem) -> dict[str, Any]:
        try:
            if isinstance(asked, Problem):
                raise asked
            status, body = await self._asking.told(asked)
        except Problem as problem:
            return {"status": problem.status, "problem": problem.body()}
        return {"status": status, "task": body}

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
