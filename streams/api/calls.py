"""`/api/calls`: what carriers report, and where calls stand."""

import asyncio
import contextlib
from typing import Final

from aiohttp import web

from ringlog.clock import now_ms
from ringlog.dispositions import disposition_of
from ringlog.kafka.producer import EventProducer
from ringlog.metrics import CALLS
from ringlog.settings import Settings
from schemas import ids
from schemas.events import CallEvent
from streams.api.answers import CallPage, ReportAnswer
from streams.api.describe import Paths, answer, operation
from streams.api.history import HistoryAway, HistoryRows
from streams.api.hub import Hub
from streams.api.models import CallsQuery, CallStatusRequest
from streams.api.problems import Problem, body_of, history_away, query_of, unknown_cursor
from streams.api.state import CallStatus

FUTURE_MS = 5 * 60_000
"""How far the clock of a carrier may be ahead of ours."""

PAST_MS = 7 * 24 * 3_600_000
"""How old a report may be: longer than any call, plus time to send delayed reports."""

LOOKUP_S = 0.5
"""How long a report waits for the fold to know its call, so that the envelope can be filled."""


PATHS: Final[Paths] = {
    "/api/calls/status": {
        "post": operation(
            "report_call", "Report a call's progress",
            {202: answer(
                "The report is on the log", ReportAnswer,
                links={"calls": {"call_id": "$request.body#/call_id"}},
            )},
            body=CallStatusRequest,
        ),
        "get": operation(
            "calls", "One call, or a page of calls, the newest first",
            {200: answer("A page; with `call_id` the call", {"anyOf": [CallPage, CallStatus]})},
            query=CallsQuery,
            problems={
                404: "No such call", 410: "`next` names nothing",
                503: "Starting, or ClickHouse does not answer",
            },
        ),
    },
}  # fmt: skip


class CallRoutes:
    """The call routes of one API process."""

    def __init__(
        self, config: Settings, hub: Hub, producer: EventProducer, history: HistoryRows
    ) -> None:
        self._config, self._tenant = config, config.tenant_id
        self._hub, self._producer, self._history = hub, producer, history

    def routes(self) -> list[web.RouteDef]:
        """For `add_routes`."""
        return [
            web.post("/api/calls/status", self.report),
            web.get("/api/calls/status", self.status),
        ]

    async def report(self, request: web.Request) -> web.Response:
        """202 once the report is on the log; the same report again has the same id."""
        body = await body_of(request, CallStatusRequest, self._config.zone)
        _require_recent(body.occurred_at, now_ms())
        call = await self._known(body.call_id)
        if body.kind in ("answered", "ended"):
            event_id = ids.call_once_id(body.call_id, body.kind)
        elif body.kind == "refused":
            event_id = ids.root_id(body.call_id, "refused", body.try_no or 0)  # as the edge's own
        else:
            event_id = ids.call_status_id(
                body.source, body.call_id, body.kind, body.occurred_at, body.digits or ""
            )
        event = CallEvent(
            event_id=event_id,
            kind=body.kind,
            occurred_at=body.occurred_at,
            producer="api",
            tenant_id=self._tenant,
            source=body.source,
            call_id=body.call_id,
            task_id=call.task_id if call else None,
            customer_id=call.customer_id if call else None,
            campaign_id=call.campaign_id if call else None,
            pool=call.pool if call else None,
            robot_id=call.robot_id if call else None,
            cause_q850=body.cause_q850,
            cause_sip=body.cause_sip,
            digits=body.digits,
            disposition=_disposition(call, body),
            try_no=body.try_no,
        )
        await self._producer.send("calls.events", event)
        CALLS.labels(body.kind).inc()
        return web.json_response({"event_id": event_id}, status=202)

    async def _known(self, call_id: str) -> CallStatus | None:
        async with self._hub.watching(call_id) as changed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOKUP_S):
                    while call_id not in self._hub.board.calls:
                        changed.clear()
                        await changed.wait()
        return self._hub.board.calls.get(call_id)

    async def status(self, request: web.Request) -> web.Response:
        """One call with `call_id`; otherwise a page of calls, the newest first."""
        query = query_of(request, CallsQuery)
        if call_id := query.call_id:
            call = self._hub.board.calls.get(call_id)
            if call is not None:
                return web.json_response(call.model_dump(exclude={"pool"}))
            try:
                row = await self._history.call(call_id)
            except HistoryAway as error:
                raise history_away(str(error)) from None
            if row is None:
                raise Problem(404, "No such call", call_id)
            return web.json_response(row)
        limit, before = query.limit, query.next
        if before is not None and before not in self._hub.board.calls:
            raise unknown_cursor()
        page: list[dict[str, object]] = []
        for call in self._hub.board.newest_calls(query.state, before):
            if len(page) == limit:
                break
            page.append(call.model_dump(exclude={"pool"}))
        after = page[-1]["call_id"] if len(page) == limit else None
        return web.json_response({"items": page, "next": after})


def _require_recent(occurred_at: int, now: int) -> None:
    if occurred_at > now + FUTURE_MS:
        why = "it lies in the future; check the clock and the zone of your system"
    elif occurred_at < now - PAST_MS:
        why = "it is older than 7 days; a call is reported while it lasts or soon after"
    else:
        return
    message = f"occurred_at: {why} (milliseconds since 1970 UTC)"
    raise Problem(422, "Invalid request", message)


def _disposition(call: CallStatus | None, body: CallStatusRequest) -> str | None:
    """Disposition of an ended call, as far as the carrier can know it, or of a refused try."""
    if body.kind == "refused":
        return disposition_of(False, body.cause_q850, body.cause_sip)
    if body.kind != "ended":
        return None
    if call is not None and call.state == "transferred":
        return "transferred"
    # A call that was bridged was answered, though that report may come later or never.
    answered = call is not None and (call.answered_at is not None or call.state == "bridged")
    return disposition_of(answered, body.cause_q850, body.cause_sip)
