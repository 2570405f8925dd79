"""`/api/campaigns`: create, change, load lists, rehearse, start, pause, stop."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Callable
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

from aiohttp import web

from ringlog.campaigns.aggregate import (
    CampaignChange,
    Command,
    CommandRefused,
    Who,
    created,
    decide,
)
from ringlog.campaigns.contacts import Faulty, Importer, Loading, change_of, columns_of
from ringlog.campaigns.rehearsal import Rehearsal, rehearse
from ringlog.campaigns.settings import CampaignSettings
from ringlog.campaigns.tables import Format, ListRow, TableError, read_table
from ringlog.campaigns.terms import settings_of, terms_of
from ringlog.clock import now_ms
from ringlog.kafka.producer import EventProducer
from ringlog.settings import Settings
from ringlog.site_key import site_key
from schemas import ids
from schemas.envelope import Event
from schemas.events import Campaign, CampaignContact, TaskRequested
from schemas.phone import Numbers
from streams.api.answers import (
    AssignAnswer,
    CampaignAnswer,
    CampaignList,
    ImportAnswer,
    ImportProgress,
    RehearsalAnswer,
)
from streams.api.contacts import ContactLog, PlainTerms
from streams.api.describe import Paths, answer, at, named, operation
from streams.api.hub import Hub
from streams.api.lists import ERRORS_SHOWN, LIST_TYPES, heading_of, uploaded
from streams.api.models import (
    CampaignChangeRequest,
    CampaignRequest,
    CampaignStepRequest,
    ListQuery,
    TestCallRequest,
)
from streams.api.problems import Problem, body_of, number_of, query_of

SEEN_S = 5.0
"""Longest wait for our own fold to read a version that we wrote."""

CHUNK = 500
"""Rows that are read and written at a time, so that other requests have their turn."""

DUPLICATES_SHOWN = 1_000
"""Rows of numbers that are on the list already, at most."""

ERRORS_CHARACTERS = 32 * 1024 * 1024
"""Length of their cells together, at most: in an Excel file many cells share one text."""

Taken = CampaignContact | Faulty

_THIS: Final = [named("id", "The campaign")]
_NONE: Final = {404: "No such campaign"}
_FILE: Final = {"type": "string"}

_STEPS: Final[dict[Command, str]] = {
    "start": "Start", "pause": "Pause", "resume": "Resume", "stop": "End",
}  # fmt: skip

PATHS: Final[Paths] = {
    "/api/campaigns": {
        "post": operation(
            "create_campaign", "Create a campaign, as a draft",
            {
                200: answer("It is there already", CampaignAnswer),
                201: answer(
                    "It is on the log", CampaignAnswer, headers=at("/api/campaigns/{campaign_id}"),
                    links={
                        name: {"id": "$response.body#/campaign_id"}
                        for name in ("campaign", "start_campaign")
                    },
                ),
            },
            body=CampaignRequest, problems={409: "It exists with other settings"},
        ),
        "get": operation("campaigns", "All campaigns", {200: answer("All", CampaignList)}),
    },
    "/api/campaigns/{id}": {
        "get": operation(
            "campaign", "A campaign's newest version", {200: answer("It", CampaignAnswer)},
            parameters=_THIS, problems=_NONE,
        ),
        "put": operation(
            "change_campaign", "Change a campaign's settings",
            {200: answer("The version after it", CampaignAnswer)},
            parameters=_THIS, body=CampaignChangeRequest,
            problems=_NONE | {409: "It has ended, or was changed meanwhile"},
        ),
    },
    "/api/campaigns/{id}/import": {
        "post": operation(
            "import_list", "Load a list of customers; the body is the file",
            {200: answer("What became of its rows", ImportAnswer)},
            parameters=_THIS, query=ListQuery, body=_FILE, body_type=LIST_TYPES,
            problems=_NONE | {409: "The campaign has ended", 422: "The list cannot be read"},
        ),
        "get": operation(
            "import_progress", "How far the newest import is",
            {200: answer("Its counts", ImportProgress)}, parameters=_THIS, problems=_NONE,
        ),
    },
    "/api/campaigns/{id}/dry-run": {
        "post": operation(
            "rehearse_campaign",
            "What would become of every contact now; of a list, if the body is one",
            {200: answer("The counts", RehearsalAnswer)},
            parameters=_THIS, query=ListQuery, body=_FILE, body_type=LIST_TYPES,
            body_required=False,
            problems=_NONE | {
                409: "The settings cannot be read", 422: "The list cannot be read",
            },
        ),
    },
    "/api/campaigns/{id}/test-call": {
        "post": operation(
            "call_oneself", "Call one's own number by the campaign's script",
            {202: answer("Queued", AssignAnswer, headers=at("/api/tasks/{task_id}"))},
            parameters=_THIS, body=TestCallRequest,
            problems=_NONE | {409: "The settings cannot be read"},
        ),
    },
    **{
        f"/api/campaigns/{{id}}/{step}": {
            "post": operation(
                f"{step}_campaign", f"{words} a campaign",
                {200: answer("The version after it", CampaignAnswer)},
                parameters=_THIS, body=CampaignStepRequest, body_required=False,
                problems=_NONE | {409: "Not from this state, or changed meanwhile"},
            ),
        }
        for step, words in _STEPS.items()
    },
}  # fmt: skip


class CampaignRoutes:
    """The campaign routes of one API process."""

    def __init__(
        self, config: Settings, hub: Hub, producer: EventProducer, contacts: ContactLog
    ) -> None:
        self._config, self._hub, self._producer = config, hub, producer
        self._contacts = contacts
        self._changing, self._loading = asyncio.Lock(), asyncio.Lock()
        self._imports: dict[str, ImportProgress] = {}

    def routes(self) -> list[web.RouteDef]:
        """For `add_routes`."""
        one = "/api/campaigns/{id}"
        return [
            web.post("/api/campaigns", self.create),
            web.get("/api/campaigns", self.list_all),
            web.get(one, self.show),
            web.put(one, self.change),
            web.post(f"{one}/import", self.load),
            web.get(f"{one}/import", self.progress),
            web.post(f"{one}/dry-run", self.dry_run),
            web.post(f"{one}/test-call", self.test_call),
            *(web.post(f"{one}/{step}", self._step(step)) for step in _STEPS),
        ]

    async def create(self, request: web.Request) -> web.Response:
        """201; 200 if it is there with the same settings; 409 if with others."""
        body = await body_of(request, CampaignRequest)
        async with self._changing:
            known = self._hub.campaigns.get(body.campaign_id)
            if known is not None:
                if known.settings == body.settings.model_dump_json():
                    return web.json_response(_shown(known))
                raise Problem(
                    409, "The campaign exists", "change it with PUT, or choose another id"
                )
            who = Who(body.actor, now_ms(), body.reason)
            name = body.name or body.campaign_id
            event = created(self._config.tenant_id, body.campaign_id, name, body.settings, who)
            await self._write(event)
        return web.json_response(
            _shown(event), status=201, headers={"Location": f"/api/campaigns/{body.campaign_id}"}
        )

    async def list_all(self, _: web.Request) -> web.Response:
        """200 with all campaigns, by id."""
        return web.json_response({"items": [_shown(c) for c in self._hub.campaigns.all()]})

    async def show(self, request: web.Request) -> web.Response:
        """200 with the newest version, 404."""
        return web.json_response(_shown(self._found(request)))

    async def change(self, request: web.Request) -> web.Response:
        """200 with the version after it; 404; 409 if it has ended."""
        body = await body_of(request, CampaignChangeRequest)
        change = CampaignChange("change", body.settings, body.name)
        return await self._decided(request, change, Who(body.actor, now_ms(), body.reason))

    def _step(self, command: Command) -> Callable[[web.Request], Any]:
        async def step(request: web.Request) -> web.Response:
            """200 with the version after it; 404; 409 from a state that does not lead there."""
            if request.can_read_body:
                body = await body_of(request, CampaignStepRequest)
            else:
                body = CampaignStepRequest()
            who = Who(body.actor, now_ms(), body.reason)
            return await self._decided(request, CampaignChange(command), who)

        return step

    async def _decided(
        self, request: web.Request, change: CampaignChange, who: Who
    ) -> web.Response:
        async with self._changing:
            now = self._found(request)
            if change.command in ("start", "resume"):
                settings = self._settings(now)  # nobody is called by unreadable ones
                if not self._hub.can_call(settings.pool, settings.playbook):
                    # Dispatch would refuse every contact for good, one after the other.
                    raise Problem(
                        409, "No robot for it",
                        f"no robot of pool {settings.pool!r} has the playbook "
                        f"{settings.playbook!r}: name another pool or playbook in the settings, or "
                        "add robots to robots.yaml and `ringlog robots publish`",
                    )  # fmt: skip
            try:
                event = decide(now, change, who)
            except CommandRefused as error:
                raise Problem(409, "Not now", str(error)) from None
            if event is not None:
                await self._write(event)
        return web.json_response(_shown(event or now))

    async def _write(self, event: Campaign) -> None:
        """Logs a version and waits until our fold has it; raises Problem 409 if somebody else's
        version of that number was first, 503 if our fold does not come so far in time."""
        with self._hub.version_of(event.event_id) as first:
            await self._producer.send("campaigns", event)
            try:
                async with asyncio.timeout(SEEN_S):
                    counts = await first
            except TimeoutError:
                raise Problem(
                    503, "Not seen yet", "GET the campaign: its version tells whether this counts",
                    headers={"Retry-After": "5"},
                ) from None  # fmt: skip
        if counts != event:
            raise Problem(
                409, "Changed meanwhile",
                f"{counts.actor} has {counts.action} the campaign just now; GET it, and ask again",
            )  # fmt: skip

    async def load(self, request: web.Request) -> web.Response:
        """200 with what became of the rows; 404; 409 if the campaign has ended; 422 if the file as
        a whole cannot be read, after the rows before the fault were taken."""
        campaign, query = self._found(request), query_of(request, ListQuery)
        if campaign.state == "ended":
            raise Problem(409, "Not now", "the campaign has ended")
        async with uploaded(request, query.format) as (path, kind, digest):
            shown = self._imports[campaign.campaign_id or ""] = _progress("waiting", digest)
            try:
                async with self._loading:
                    shown.state = "loading"
                    told = await self._loaded(campaign, query, path, kind, shown)
                shown.state = "done"
            finally:
                if shown.state != "done":
                    shown.state = "failed"
        return web.json_response(told)

    async def progress(self, request: web.Request) -> web.Response:
        """200 with how far the newest import is; 404."""
        campaign = self._found(request)
        shown = self._imports.get(campaign.campaign_id or "") or _progress("none")
        return web.json_response(shown.model_dump())

    async def _loaded(
        self, campaign: Campaign, query: ListQuery, path: Path, kind: Format, shown: ImportProgress
    ) -> dict[str, object]:
        known = {
            contact.contact_id
            async for contacts in self._contacts.of(campaign.campaign_id or "")
            for contact in contacts
        }
        importer = self._importer(query, campaign, shown.import_id or "", known)
        faults, twice, at_fault, room = list[Faulty](), 0, 0, ERRORS_CHARACTERS
        async for chunk in self._chunks(query, path, kind, importer):
            records: list[tuple[str, Event]] = []
            for found in chunk:
                if isinstance(found, Faulty):
                    if found.duplicate:  # a list that is loaded again is full of them
                        twice += 1
                        if twice <= DUPLICATES_SHOWN:
                            faults.append(found)
                    elif (room := room - found.row.size) >= 0 and at_fault < ERRORS_SHOWN:
                        at_fault += 1
                        faults.append(found)
                    continue
                records.append(("customers.changes", change_of(found)))
                records.append(("campaigns.contacts", found))
            await self._producer.send_all(records)
            shown.rows, shown.added = importer.rows, importer.added
            shown.duplicates, shown.invalid = importer.duplicates, importer.invalid
        counts = shown.model_dump(exclude={"state"})
        return counts | {"errors": [_fault(f) for f in faults]}

    async def dry_run(self, request: web.Request) -> web.Response:
        """200 with the counts and one sentence: of the list in the body, or, without one, of the
        contacts that the campaign has."""
        campaign, query = self._found(request), query_of(request, ListQuery)
        self._settings(campaign)
        terms = terms_of(campaign, PlainTerms())
        numbers = Numbers(self._config.region, site_key(self._config))
        at = now_ms()

        def barred(contact: CampaignContact) -> str | None:
            hashes = numbers.hashes(contact.phone)
            return self._hub.optouts.scope(hashes, contact.tenant_id, contact.campaign_id)

        found = Rehearsal(at)
        if request.can_read_body:
            async with uploaded(request, query.format) as (path, kind, digest):
                importer = self._importer(query, campaign, digest, set())
                async for chunk in self._chunks(query, path, kind, importer):
                    await asyncio.to_thread(rehearse, chunk, terms, barred, at, found)
        else:
            async for contacts in self._contacts.of(campaign.campaign_id or ""):
                await asyncio.to_thread(rehearse, contacts, terms, barred, at, found)
        return web.json_response(
            {
                "at": at,
                "rows": found.rows,
                "ready": found.ready,
                "invalid": found.invalid,
                "duplicates": found.duplicates,
                "later": {
                    rule: {"contacts": n, "opens": found.opens[rule]}
                    for rule, n in sorted(found.later.items())
                },
                "never": dict(sorted(found.never.items())),
                "words": found.words(self._config.zone),
            }
        )

    async def test_call(self, request: web.Request) -> web.Response:
        """202 with the task that calls one's own number by the campaign's script. It belongs to no
        campaign, so that neither its state nor its counts matter."""
        campaign = self._found(request)
        settings = self._settings(campaign)
        body = await body_of(request, TestCallRequest)
        phone = number_of(body.phone, self._config)
        key = f"{campaign.campaign_id}|{uuid.uuid4()}"
        task = ids.task_id(self._config.tenant_id, "campaign-test", key)
        event = TaskRequested(
            event_id=ids.event_id(task, "requested"),
            kind="requested",
            occurred_at=now_ms(),
            producer="api",
            causation_id=campaign.event_id,
            tenant_id=self._config.tenant_id,
            task_id=task,
            customer_id=ids.root_id("customer", self._config.tenant_id, phone),
            pool=settings.pool,
            body_sha256=hashlib.sha256(key.encode()).hexdigest(),
            idempotency_key=key,
            phone=phone,
            priority="high",
            tags=["test-call"],
            playbook=settings.playbook,
        )
        await self._producer.send("tasks.requested", event)
        where = f"/api/tasks/{task}"
        return web.json_response(
            {"task_id": task, "status": "queued"}, status=202, headers={"Location": where}
        )

    def _found(self, request: web.Request) -> Campaign:
        found = self._hub.campaigns.get(request.match_info["id"])
        if found is None:
            raise Problem(404, "No such campaign", "GET /api/campaigns lists them")
        return found

    def _settings(self, campaign: Campaign) -> CampaignSettings:
        try:
            return settings_of(campaign)
        except ValueError as error:
            raise Problem(409, "Settings cannot be read", str(error)) from None

    def _importer(
        self, query: ListQuery, campaign: Campaign, digest: str, known: set[str]
    ) -> Importer:
        settings = self._settings(campaign)
        loading = Loading(
            tenant_id=campaign.tenant_id,
            campaign_id=campaign.campaign_id or "",
            pool=settings.pool,
            import_id=digest,
            region=settings.region.partition("-")[0] or self._config.region,
            actor=query.actor,
            at_ms=now_ms(),
            zone=self._config.zone,
        )
        return Importer(loading, known)

    async def _chunks(
        self, query: ListQuery, path: Path, kind: Format, importer: Importer
    ) -> AsyncIterator[list[Taken]]:
        """The rows, taken by the importer, some at a time; raises Problem 422."""
        told = dict(heading_of(text) for text in query.map)
        rows = read_table(path, kind)

        def take() -> list[Taken]:
            return [importer.take(row) for row in islice(rows, CHUNK)]

        try:
            first = await asyncio.to_thread(next, rows, None)
            if first is None:
                return
            if first.cells:  # what is wrong with all rows is said at once
                columns_of(first.cells, told)
            importer.told = told
            yield [importer.take(first)]
            while chunk := await asyncio.to_thread(take):
                yield chunk
        except (TableError, ValueError) as error:
            raise Problem(
                422, "Unreadable list", str(error), rows=importer.rows, added=importer.added
            ) from None
        finally:
            close = getattr(rows, "close", None)
            if close is not None:
                close()


def _progress(state: Literal["none", "waiting"], import_id: str | None = None) -> ImportProgress:
    return ImportProgress(
        state=state, import_id=import_id, rows=0, added=0, duplicates=0, invalid=0
    )  # fmt: skip


def _fault(found: Faulty) -> dict[str, object]:
    row: ListRow = found.row
    return {"row": row.n, "reason": found.reason, "duplicate": found.duplicate,
            "cells": dict(row.cells)}  # fmt: skip


def _shown(event: Campaign) -> dict[str, object]:
    try:
        settings: object = settings_of(event).model_dump(mode="json")
    except ValueError:
        settings = event.settings
    return {
        "campaign_id": event.campaign_id,
        "name": event.name,
        "state": event.state,
        "version": event.version,
        "action": event.action,
        "actor": event.actor,
        "reason": event.reason,
        "occurred_at": event.occurred_at,
        "settings": settings,
    }
