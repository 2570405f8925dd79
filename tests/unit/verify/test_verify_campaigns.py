"""What is still open of campaigns and callbacks, and what only looks like a violation."""

import json

from schemas import ids
from schemas.events import TaskRequested
from tests.unit.verify.campaign_world import TOMORROW_3PM, CampaignWorld
from tests.unit.verify.planted_campaigns import quick
from tests.unit.verify.world import World, judge


def called_back(world: World) -> tuple[CampaignWorld, TaskRequested, str]:
    """A customer asks for another call."""
    campaign = CampaignWorld(world).launch()
    wish = campaign.ask(campaign.contact())
    return campaign, wish, world.call(wish, "明天下午三点再打给我", outcome="callback")


def test_a_callback_is_open_for_a_minute() -> None:
    world = World()
    called_back(world)
    young = judge(world, "callbacks", later_ms=50_000)["callbacks"]
    assert (young.open, young.total) == (1, 0)
    old = judge(world, "callbacks", later_ms=70_000)["callbacks"]
    assert (old.open, old.total) == (0, 1)


def test_a_callback_is_due_also_where_the_last_answer_was_not_understood() -> None:
    world = World()
    _, _, call_id = called_back(world)
    world.answer(world.final(call_id, "嗯啊", n=2), outcome="reprompt")
    assert judge(world, "callbacks", later_ms=70_000)["callbacks"].total == 1


def test_a_stopped_campaign_takes_its_callbacks_back() -> None:
    world = World()
    campaign, wish, call_id = called_back(world)
    back = campaign.call_back(call_id, wish, not_before=TOMORROW_3PM)
    world.task(back, "queued", retry_at=TOMORROW_3PM)
    campaign.give("stop")
    late = judge(world, "campaigns", later_ms=70_000)["campaigns"]
    assert [v.rule for v in late.violations] == ["campaigns.left_open"]
    cancel = back.model_copy(
        update={"event_id": ids.event_id(back.task_id or "", "cancel"), "kind": "cancel",
                "idempotency_key": None, "phone": None}
    )  # fmt: skip
    world.write("tasks.requested", cancel)
    world.task(back, "cancelled", reason="campaign_stopped")
    results = judge(world, "campaigns", "callbacks", later_ms=70_000)
    assert {n: r.violations for n, r in results.items() if r.total} == {}


def test_a_pause_on_its_way_to_the_pool_holds_nobody_back_yet() -> None:
    world = World()
    campaign = CampaignWorld(world).launch()
    wish = campaign.ask(campaign.contact())
    campaign.told = False
    campaign.give("pause")
    world.call(wish)
    assert judge(world, "campaigns")["campaigns"].total == 0


def test_the_consent_of_a_campaigns_own_list_goes_first() -> None:
    def found(listed: str, known: str) -> list[str]:
        world = World()
        campaign = CampaignWorld(world).launch()
        own = {"campaign_id": campaign.campaign_id, "consent": listed, "until": "", "told_at": 1}
        of_customer = json.dumps({"attributes": {"consent": known}, "consents": [own]})
        wish = campaign.ask(campaign.contact())
        world.task(wish, "queued")
        quick(world, wish, profile=of_customer)
        return [v.rule for v in judge(world, "law")["law"].violations]

    assert found("express", "none") == []
    assert found("none", "express") == ["law.consent"]


def test_permits_of_the_last_seconds_are_not_counted_on_a_running_system() -> None:
    """What freed their slots may lie behind the cut."""
    world = World()
    campaign = CampaignWorld(world).launch(concurrency=1)
    for n in (1, 2):
        wish = campaign.ask(campaign.contact(n))
        world.task(wish, "queued")
        world.assigned(wish)
    running = judge(world, "campaigns")["campaigns"]
    assert (running.open, running.total) == (2, 0)
    assert judge(world, "campaigns", idle=True)["campaigns"].total == 1
