"""`/api/optouts`: the do-not-call list, edited by an operator."""

import asyncio
import contextlib
from itertools import islice
from typing import Final

from aiohttp import web

from ringlog.campaigns.contacts import columns_of
from ringlog.campaigns.tables import ListRow, TableError, read_table
from ringlog.clock import now_ms
from ringlog.kafka.producer import EventProducer
from ringlog.settings import Settings
from ringlog.site_key import site_key
from schemas import ids
from schemas.events import OptOut
from schemas.phone import Numbers, e164
from streams.api.answers import BarredAnswer, OptOutEntry, OptOutList, OptOutPage
from streams.api.describe import UUID, Paths, answer, named, operation
from streams.api.hub import Hub
from streams.api.lists import ERRORS_SHOWN, LIST_TYPES, heading_of, uploaded
from streams.api.models import (
    OptOutListQuery,
    OptOutPageQuery,
    OptOutQuery,
    OptOutRequest,
    OptOutUndoQuery,
)
from streams.api.problems import Problem, body_of, number_of, query_of, unknown_cursor
from streams.api.standing import optout_id

LIST_CHUNK = 500
"""Rows of a list that are read and written at a time."""

SEEN_S = 2.0
"""Longest wait for our own fold to read what was written, so that the next request sees it."""


_UNDO: Final = {"undo_optout": {"id": "$response.body#/id"}}

PATHS: Final[Paths] = {
    "/api/optouts": {
        "post": operation(
            "bar_number", "Bar a number from being called",
            {
                200: answer("It stands already", OptOutEntry, links=_UNDO),
                201: answer("It is on the log", OptOutEntry, links=_UNDO),
            },
            body=OptOutRequest,
        ),
        "get": operation(
            "optouts", "A page of the opt-outs in force, the newest first",
            {200: answer("A page", OptOutPage)},
            query=OptOutPageQuery, problems={410: "`next` names nothing"},
        ),
    },
    "/api/optouts/find": {
        "post": operation(
            "find_optouts", "Opt-outs of one number", {200: answer("Those in force", OptOutList)},
            body=OptOutQuery,
        ),
    },
    "/api/optouts/import": {
        "post": operation(
            "bar_list", "Bar all numbers of a list; the body is the file",
            {200: answer("What became of its rows", BarredAnswer)},
            query=OptOutListQuery, body={"type": "string"}, body_type=LIST_TYPES,
            problems={422: "The list cannot be read"},
        ),
    },
    "/api/optouts/{id}": {
        "delete": operation(
            "undo_optout", "Take an opt-out back", {204: answer("Taken back")},
            parameters=[named("id", "The opt-out", UUID)], query=OptOutUndoQuery,
            problems={404: "No such opt-out"},
        ),
    },
}  # fmt: skip


class OptOutRoutes:
    """The opt-out routes of one API process."""

    def __init__(self, config: Settings, hub: Hub, producer: EventProducer) -> None:
        self._config, self._hub, self._producer = config, hub, producer
        self._numbers = Numbers(config.region, site_key(config))

    def routes(self) -> list[web.RouteDef]:
        """For `add_routes`."""
        return [
            web.post("/api/optouts", self.add),
            web.get("/api/optouts", self.list),
            web.post("/api/optouts/find", self.find),
            web.post("/api/optouts/import", self.load),
            web.delete("/api/optouts/{id}", self.undo),
        ]

    async def add(self, request: web.Request) -> web.Response:
        """201 once it is on the log; 200 when it is in force already."""
        body = await body_of(request, OptOutRequest)
        line = number_of(body.phone, self._config)
        forms = [self._event(body, h) for h in self._numbers.hashes(line)]
        newest = self._hub.optouts.newest_of(forms)
        if newest is not None and newest.kind == "opted_out":
            return web.json_response(_shown(newest))
        ours = self._hub.optouts.get(optout_id(forms[0]))
        event = forms[0].model_copy(update={"event_id": _next_id(forms[0], ours or newest)})
        await self._write(event)
        return web.json_response(_shown(event), status=201)

    async def load(self, request: web.Request) -> web.Response:
        """200 with what became of the rows of a list of numbers; 422 if the file as a whole cannot
        be read, after the rows before the fault were taken."""
        query = query_of(request, OptOutListQuery)
        if (query.scope == "campaign") != (query.campaign_id is not None):
            raise Problem(
                422, "Invalid request", "campaign_id: needed for scope campaign, and only there"
            )
        told = dict(heading_of(text) for text in query.map)
        counts, errors = {"rows": 0, "added": 0, "standing": 0, "invalid": 0}, []
        async with uploaded(request, query.format) as (path, kind, _):
            rows = read_table(path, kind)
            try:
                first = await asyncio.to_thread(next, rows, None)
                if first is None:
                    raise TableError("the list has no rows")
                columns_of(first.cells, told)
                chunk = [first]
                while chunk:
                    events = []
                    for row in chunk:
                        counts["rows"] += 1
                        try:
                            found = self._listed(row, told, query)
                        except ValueError as error:
                            counts["invalid"] += 1
                            errors.append({"row": row.n, "reason": str(error),
                                           "cells": dict(row.cells)})  # fmt: skip
                            continue
                        counts["standing" if found is None else "added"] += 1
                        if found is not None:
                            events.append(("compliance.optouts", found))
                    await self._producer.send_all(events)
                    chunk = await asyncio.to_thread(lambda: list(islice(rows, LIST_CHUNK)))
            except (TableError, ValueError) as error:
                raise Problem(
                    422, "Unreadable list", str(error), rows=counts["rows"], added=counts["added"]
                ) from None
            finally:
                rows.close()
        return web.json_response(counts | {"errors": errors[:ERRORS_SHOWN]})

    def _listed(self, row: ListRow, told: dict[str, str], query: OptOutListQuery) -> OptOut | None:
        """The opt-out of a row; None where it stands already; raises ValueError."""
        if row.fault:
            raise ValueError(row.fault)
        columns = columns_of(row.cells, told)
        heading = next(h for h, name in columns.items() if name == "phone")
        line = e164(row.cells[heading], self._config.region)
        ask = OptOutRequest(
            phone=line, scope=query.scope, reason=query.reason, campaign_id=query.campaign_id,
            actor=query.actor,
        )  # fmt: skip
        forms = [self._event(ask, h) for h in self._numbers.hashes(line)]
        newest = self._hub.optouts.newest_of(forms)
        if newest is not None and newest.kind == "opted_out":
            return None
        ours = self._hub.optouts.get(optout_id(forms[0]))
        return forms[0].model_copy(
            update={"event_id": _next_id(forms[0], ours or newest), "source": "list"}
        )

    async def undo(self, request: web.Request) -> web.Response:
        """204 once the undo is on the log, also when it was undone before; 404."""
        this, query = request.match_info["id"], query_of(request, OptOutUndoQuery)
        found = self._hub.optouts.get(this)
        if found is None:
            raise Problem(404, "No such opt-out", "GET /api/optouts lists those in force")
        if found.kind == "opted_out":
            event = found.model_copy(
                update={
                    "kind": "opted_in", "occurred_at": now_ms(), "producer": "api",
                    "source": "operator", "causation_id": found.event_id,
                    "reason": query.reason, "actor": query.actor or None,
                    "event_id": ids.event_id(found.event_id, "opted_in"),
                }
            )  # fmt: skip
            await self._write(event)
        return web.Response(status=204)

    async def list(self, request: web.Request) -> web.Response:
        """200 with a page of those in force, the newest first."""
        query = query_of(request, OptOutPageQuery)
        limit, before = query.limit, query.next
        if before is not None and self._hub.optouts.get(before) is None:
            raise unknown_cursor()
        page = [_shown(event) for event in islice(self._hub.optouts.standing(before), limit)]
        after = page[-1]["id"] if len(page) == limit else None
        return web.json_response({"items": page, "next": after})

    async def find(self, request: web.Request) -> web.Response:
        """200 with those of one number that are in force. The number is in the body, since
        addresses end up in logs."""
        body = await body_of(request, OptOutQuery)
        hashes = self._numbers.hashes(number_of(body.phone, self._config))
        found = [e for e in self._hub.optouts.standing() if e.phone_hash in hashes]
        return web.json_response({"items": [_shown(event) for event in found]})

    def _event(self, body: OptOutRequest, phone_hash: str) -> OptOut:
        return OptOut(
            event_id=ids.root_id(phone_hash),
            kind="opted_out",
            occurred_at=now_ms(),
            producer="api",
            tenant_id=self._config.tenant_id,
            customer_id=body.customer_id,
            campaign_id=body.campaign_id,
            phone_hash=phone_hash,
            reason=body.reason,
            scope=body.scope,
            source="api",
            actor=body.actor,
        )

    async def _write(self, event: OptOut) -> None:
        this = optout_id(event)
        async with self._hub.watching(this) as changed:
            await self._producer.send("compliance.optouts", event)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SEEN_S):
                    await changed.wait()


def _next_id(event: OptOut, last: OptOut | None) -> str:
    """Two equal requests at once make one record; after an undo there is a new one."""
    return ids.event_id(last.event_id if last else optout_id(event), "opted_out")


def _shown(event: OptOut) -> dict[str, object]:
    return {
        "id": optout_id(event),
        "scope": event.scope,
        "campaign_id": event.campaign_id,
        "customer_id": event.customer_id,
        "reason": event.reason,
        "source": event.source,
        "actor": event.actor,
        "occurred_at": event.occurred_at,
    }
