"""`/api/customers`: a customer's profile, and the merge of two customers who are one person."""

from typing import Annotated, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ringlog.clock import now_ms
from ringlog.identifier import Id
from ringlog.kafka.producer import EventProducer
from ringlog.settings import Settings
from schemas import ids
from schemas.events import CustomerChange, Profile
from schemas.text import to_json
from streams.api.describe import Paths, answer, named, operation
from streams.api.hub import Hub
from streams.api.problems import Problem, body_of


class MergeRequest(BaseModel):
    """`POST /api/customers/{customer_id}/merge`: they are the same person as `into`."""

    model_config = ConfigDict(extra="forbid")

    into: Id = Field(description="The customer who stays")
    actor: Annotated[str, StringConstraints(max_length=128)] | None = Field(
        None, description="Who says so"
    )


class MergeAnswer(BaseModel):
    """The merge is on the log. `event_id` is null where they were one customer already."""

    model_config = ConfigDict(extra="forbid")

    customer_id: str = Field(description="The customer who stays")
    event_id: str | None


def _profile_schema() -> dict[str, object]:
    """A profile as `schemas.text` writes it: times are ISO 8601."""
    schema = Profile.model_json_schema()
    schema["properties"]["occurred_at"] = {"type": "string", "format": "date-time"}
    return schema


PATHS: Final[Paths] = {
    "/api/customers/{customer_id}/profile": {
        "get": operation(
            "profile", "A customer's newest profile; of one who was merged, that of the other",
            {200: answer("The profile", _profile_schema())},
            parameters=[named("customer_id", "The customer")],
            problems={404: "No such customer"},
        ),
    },
    "/api/customers/{customer_id}/merge": {
        "post": operation(
            "merge_customer", "Merge a customer into another: one profile, both ids lead to it",
            {200: answer("They are one already", MergeAnswer),
             202: answer("The merge is on the log", MergeAnswer)},
            parameters=[named("customer_id", "The customer whose id is given up")],
            body=MergeRequest,
            problems={404: "No such customer"},
        ),
    },
}  # fmt: skip


class CustomerRoutes:
    """The customer routes of one API process."""

    def __init__(self, config: Settings, hub: Hub, producer: EventProducer) -> None:
        self._tenant, self._hub, self._producer = config.tenant_id, hub, producer

    def routes(self) -> list[web.RouteDef]:
        """For `add_routes`."""
        return [
            web.get("/api/customers/{customer_id}/profile", self.profile),
            web.post("/api/customers/{customer_id}/merge", self.merge),
        ]

    async def profile(self, request: web.Request) -> web.Response:
        """200 with the customer's newest profile, 404."""
        found = self._known(request.match_info["customer_id"])
        return web.json_response(to_json("customers.profiles", judged_now(found, now_ms())))

    async def merge(self, request: web.Request) -> web.Response:
        """202 once it is on the log; 200 where they are one already; 404."""
        body = await body_of(request, MergeRequest)
        this = request.match_info["customer_id"]
        old, kept = (self._known(c).customer_id or "" for c in (this, body.into))
        if old == kept:
            return web.json_response({"customer_id": kept, "event_id": None})
        event = CustomerChange(
            event_id=ids.root_id("merge", self._tenant, old, kept),
            kind="merged",
            occurred_at=now_ms(),
            producer="api",
            tenant_id=self._tenant,
            customer_id=old,
            source="api",
            merged_into=kept,
            actor=body.actor or None,
        )
        await self._producer.send("customers.changes", event)
        answered = {"customer_id": kept, "event_id": event.event_id}
        return web.json_response(answered, status=202)

    def _known(self, customer_id: str) -> Profile:
        found = self._hub.profile(customer_id)
        if found is None:
            raise Problem(404, "No such customer", customer_id)
        return found


def judged_now(profile: Profile, at_ms: int) -> Profile:
    """The profile with the promises broken whose day has passed since it was written."""
    promises = [
        p.model_copy(update={"state": "broken"}) if p.state == "open" and p.due_at < at_ms else p
        for p in profile.payment_promises
    ]
    if promises == profile.payment_promises:
        return profile
    tags = [
        "promise_broken" if tag == "promise_open" and promises[-1].state == "broken" else tag
        for tag in profile.tags
    ]
    return profile.model_copy(update={"payment_promises": promises, "tags": tags})
