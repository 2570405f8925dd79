"""A campaign with a list, written as the API, the service `campaigns` and dispatch write it."""

import json
from typing import Any

from ringlog.campaigns.aggregate import CampaignChange, Command, Who, created, decide
from ringlog.campaigns.settings import CampaignSettings
from schemas import ids
from schemas.events import Campaign, CampaignContact, CustomerChange, TaskRequested
from streams.dispatch.router import campaign_copy
from tests.unit.verify.world import World

MORNING = 1_750_039_200_000
"""Monday 2025-06-16, 10:00 in Shanghai."""

TOMORROW_3PM = MORNING + 29 * 3_600_000

SETTINGS: dict[str, Any] = {
    "playbook": "promotion", "pool": "sales", "purpose": "marketing", "consent": "express",
    "recording_notice": True, "caller_ids": ["+864000000000"],
}  # fmt: skip


class CampaignWorld:
    """One campaign in a world, at ten in the morning."""

    def __init__(self, world: World, campaign_id: str = "autumn") -> None:
        self.world, self.campaign_id = world, campaign_id
        self.version: Campaign | None = None
        self.told = True
        """Whether the pool is told of new versions."""
        world.now = max(world.now, MORNING)

    def launch(self, **settings: Any) -> "CampaignWorld":
        """Creates and starts it."""
        self.write(
            created(
                "default", self.campaign_id, self.campaign_id,
                CampaignSettings.model_validate(SETTINGS | settings), self._who,
            )
        )  # fmt: skip
        return self.give("start")

    @property
    def _who(self) -> Who:
        return Who("operator", self.world.now)

    def give(self, command: Command, **settings: Any) -> "CampaignWorld":
        """A command of the operator."""
        assert self.version is not None
        changed = CampaignSettings.model_validate(SETTINGS | settings) if settings else None
        event = decide(self.version, CampaignChange(command, changed), self._who)
        assert event is not None
        return self.write(event)

    def write(self, event: Campaign) -> "CampaignWorld":
        """A version, and its copy in the pool's inbox."""
        self.version = event
        offset = sum(entry.topic == "campaigns" for entry in self.world.entries)
        self.world.write("campaigns", event)
        if self.told:
            self.world.write(*campaign_copy(event, offset, "sales"))
        return self

    def contact(self, n: int = 1) -> CampaignContact:
        """The n-th row of the list; the customer is known."""
        customer, phone = f"contact-{n}", f"+86139{n:08d}"
        self.world.write(
            "customers.changes",
            CustomerChange(
                event_id=ids.root_id("list", self.campaign_id, n), kind="upserted",
                occurred_at=self.world.now, producer="api", customer_id=customer, source="list",
                name=f"N{n}", phone=phone,
            ),
        )  # fmt: skip
        contact = CampaignContact(
            event_id=ids.root_id("contact", self.campaign_id, n), occurred_at=self.world.now,
            producer="api", campaign_id=self.campaign_id, customer_id=customer, pool="sales",
            contact_id=f"c{n}", import_id="list", row=n, phone=phone,
        )  # fmt: skip
        self.world.write("campaigns.contacts", contact)
        return contact

    def ask(self, contact: CampaignContact, **fields: Any) -> TaskRequested:
        """The service asks for the contact's call."""
        assert self.version is not None
        task = ids.contact_task_id("default", self.campaign_id, contact.contact_id)
        return self._request(
            **{
                "event_id": ids.event_id(task, "requested"), "task_id": task,
                "causation_id": self.version.event_id, "customer_id": contact.customer_id,
                "phone": contact.phone, "idempotency_key": contact.contact_id,
            } | fields
        )  # fmt: skip

    def call_back(self, call_id: str, wish: TaskRequested, **fields: Any) -> TaskRequested:
        """The service asks for the call that a customer wanted."""
        task = ids.task_id("default", "callbacks", call_id)
        return self._request(
            **{
                "event_id": ids.event_id(task, "requested"), "task_id": task, "priority": "high",
                "tags": ["callback"], "customer_id": wish.customer_id, "phone": wish.phone,
                "idempotency_key": call_id,
            } | fields
        )  # fmt: skip

    def _request(self, **fields: Any) -> TaskRequested:
        request = TaskRequested.model_validate(
            {
                "kind": "requested", "occurred_at": self.world.now, "producer": "campaigns",
                "campaign_id": self.campaign_id, "pool": "sales", "body_sha256": "sha",
            } | fields
        )  # fmt: skip
        self.world.write("tasks.requested", request)
        return request

    def call(self, n: int = 1, *says: str, outcome: str | None = None) -> str:
        """From the list to the end of the task; returns the call's id."""
        return self.world.call(self.ask(self.contact(n)), *says, outcome=outcome)


def profile(**attributes: str) -> str:
    """A snapshot as a permit carries it."""
    return json.dumps({"attributes": attributes})
