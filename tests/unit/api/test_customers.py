"""Profiles at the API: of merged customers, and promises whose day has passed."""

from pathlib import Path
from typing import Any

from schemas import ids
from schemas.events import CustomerChange, PaymentPromise, Profile
from tests.unit.api.test_doors import World


def profile(customer: str, version: int = 1, **values: Any) -> Profile:
    return Profile(
        event_id=ids.root_id(customer, version), occurred_at=1, producer="profiles",
        customer_id=customer, version=version, **values,
    )  # fmt: skip


async def _merge(world: World, old: str, into: str) -> tuple[int, Any]:
    body = {"into": into, "actor": "operator 7"}
    return await world.ask("POST", f"/api/customers/{old}/merge", json=body)


async def test_a_merge_is_on_the_log_once_and_both_ids_lead_to_the_profile(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        for customer in "abc":
            world.hub._fold(profile(customer))
        status, answer = await _merge(world, "a", "b")
        assert status == 202
        (event,) = world.log.events
        assert isinstance(event, CustomerChange)
        assert (event.kind, event.customer_id, event.merged_into, event.actor) == (
            "merged", "a", "b", "operator 7",
        )  # fmt: skip
        assert answer == {"customer_id": "b", "event_id": event.event_id}
        assert (await _merge(world, "a", "b"))[1]["event_id"] == event.event_id, "asked again"
        world.hub._fold(profile("a", 2, merged_into="b"))
        world.hub._fold(profile("b", 3, absorbed=["a"], name="李雷"))
        assert (await _merge(world, "b", "a"))[0] == 200
        status, found = await world.ask("GET", "/api/customers/a/profile")
        assert (status, found["customer_id"], found["name"]) == (200, "b", "李雷")
        # The merge of one who was merged is that of the customer who they are by now.
        await _merge(world, "a", "c")
        last = world.log.events[-1]
        assert isinstance(last, CustomerChange)
        assert (last.customer_id, last.merged_into) == ("b", "c")
        assert (await _merge(world, "a", "nobody"))[0] == 404
        assert (await _merge(world, "nobody", "a"))[0] == 404
        assert await _merge(world, "a", "a") == (200, {"customer_id": "b", "event_id": None})


async def test_profiles_that_were_merged_in_a_circle_are_still_answered(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        world.hub._fold(profile("a", merged_into="b"))
        world.hub._fold(profile("b", merged_into="a"))
        assert (await world.ask("GET", "/api/customers/a/profile"))[0] == 200


async def test_a_promise_whose_day_has_passed_is_broken_when_it_is_read(tmp_path: Path) -> None:
    def promised(due_at: int, state: Any = "open") -> PaymentPromise:
        return PaymentPromise(call_id="1", said_at=1, due_at=due_at, state=state)

    async with World(tmp_path) as world:
        past, future = promised(2), promised(9_000_000_000_000)
        world.hub._fold(profile("a", payment_promises=[promised(2, "kept"), past],
                                tags=["x", "promise_open"]))  # fmt: skip
        world.hub._fold(profile("b", payment_promises=[past, future], tags=["promise_open"]))
        _, found = await world.ask("GET", "/api/customers/a/profile")
        assert [p["state"] for p in found["payment_promises"]] == ["kept", "broken"]
        assert found["tags"] == ["x", "promise_broken"]
        _, found = await world.ask("GET", "/api/customers/b/profile")
        assert [p["state"] for p in found["payment_promises"]] == ["broken", "open"]
        assert found["tags"] == ["promise_open"]
