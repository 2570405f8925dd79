"""Faults in campaigns, callbacks, and what the law forbids."""

from typing import Any

from ringlog.law.site import SiteLaw
from schemas import ids
from schemas.events import TaskRequested
from streams.dispatch.policy import Policy
from streams.dispatch.router import settings_copy
from tests.unit.verify.campaign_world import MORNING, TOMORROW_3PM, CampaignWorld, profile
from tests.unit.verify.planting import plants
from tests.unit.verify.world import World

HOUR_MS = 3_600_000


def waits(world: World, wish: TaskRequested) -> None:
    """The task is queued, and nothing more has come of it."""
    world.task(wish, "queued")


def quick(world: World, wish: TaskRequested, disposition: str = "no_answer", **of: Any) -> None:
    """A call that nobody answers, from the permit to the end of the task."""
    permit = world.assigned(wish, **of)
    world.dial(permit)
    world.task(wish, "dialing")
    world.call_event(
        permit.call_id or "", "ended", disposition=disposition, pool="sales", task_id=wish.task_id
    )
    world.task(wish, "failed", reason=disposition)


# campaigns


@plants("campaigns.uninvited")
def a_call_is_asked_for_that_no_list_names(world: World) -> None:
    campaign = CampaignWorld(world).launch()
    contact = campaign.contact()
    world.entries = [e for e in world.entries if e.topic != "campaigns.contacts"]
    world.call(campaign.ask(contact))


@plants("campaigns.no_version")
def a_call_is_asked_for_under_no_version(world: World) -> None:
    campaign = CampaignWorld(world).launch()
    world.call(campaign.ask(campaign.contact(), causation_id=ids.root_id("none")))


@plants("campaigns.asked_while")
def a_paused_campaign_asks_for_a_call(world: World) -> None:
    campaign = CampaignWorld(world).launch().give("pause")
    wish = campaign.ask(campaign.contact())
    campaign.give("resume")
    world.call(wish)


@plants("campaigns.assigned_while")
def a_paused_campaigns_task_is_given_to_a_robot(world: World) -> None:
    campaign = CampaignWorld(world).launch()
    wish = campaign.ask(campaign.contact())
    campaign.give("pause")
    world.call(wish)


@plants("campaigns.assigned_while")
def a_stopped_campaigns_task_is_given_to_a_robot(world: World) -> None:
    campaign = CampaignWorld(world).launch()
    wish = campaign.ask(campaign.contact())
    campaign.give("stop")
    world.call(wish)


@plants("campaigns.unknown", "campaigns.not_told")
def a_task_is_given_to_a_robot_before_its_campaign_is_known(world: World) -> None:
    campaign = CampaignWorld(world)
    campaign.told = False
    campaign.launch()
    campaign.call()
    campaign.told = True
    campaign.give("pause").give("resume")
    campaign.told = False
    campaign.give("change", concurrency=3)


@plants("campaigns.concurrency")
def more_calls_at_once_than_the_campaign_allows(world: World) -> None:
    campaign = CampaignWorld(world).launch(concurrency=2)
    wishes = [campaign.ask(campaign.contact(n)) for n in range(1, 4)]
    permits = []
    for wish in wishes:
        world.task(wish, "queued")
        permits.append(world.assigned(wish))
        world.now += 50
    for wish, permit in zip(wishes, permits, strict=True):
        world.dial(permit)
        world.task(wish, "dialing")
        world.call_event(permit.call_id or "", "ended", disposition="busy", pool="sales")
        world.task(wish, "failed")


@plants("campaigns.pace")
def more_calls_a_second_than_the_campaign_allows(world: World) -> None:
    campaign = CampaignWorld(world).launch(calls_per_s=0.2)
    for n in range(1, 5):
        wish = campaign.ask(campaign.contact(n))
        world.task(wish, "queued")
        quick(world, wish)


@plants("campaigns.over_budget")
def a_contact_is_dialled_more_often_than_the_budget_allows(world: World) -> None:
    campaign = CampaignWorld(world).launch(budget=2)
    wish = campaign.ask(campaign.contact())
    world.task(wish, "queued")
    for attempt in (1, 2, 3):
        permit = world.assigned(wish, attempt=attempt)
        world.dial(permit)
        world.task(wish, "dialing", attempt=attempt)
        world.call_event(permit.call_id or "", "ended", disposition="busy", pool="sales")
        world.now += HOUR_MS // 2
        if attempt < 3:
            world.task(wish, "retry_scheduled", attempt=attempt)
            world.task(wish, "queued", attempt=attempt)
    world.task(wish, "failed", attempt=3)


@plants("campaigns.left_open")
def a_task_waits_on_though_its_campaign_has_ended(world: World) -> None:
    campaign = CampaignWorld(world).launch()
    wish = campaign.ask(campaign.contact())
    world.task(wish, "queued")
    campaign.give("stop")


@plants("campaigns.forgotten")
def a_contact_is_never_asked_for(world: World) -> None:
    campaign = CampaignWorld(world).launch(ahead=2)
    campaign.contact(1)
    waits(world, campaign.ask(campaign.contact(2)))
    campaign.contact(3)  # for whom there is no room


# callbacks


def asked_for(world: World, **fields: Any) -> CampaignWorld:
    """A customer asks for a call tomorrow at three."""
    campaign = CampaignWorld(world).launch()
    wish = campaign.ask(campaign.contact())
    call_id = world.call(wish, "明天下午三点再打给我", outcome="callback")
    if fields.pop("kept", True):
        back = campaign.call_back(call_id, wish, **{"not_before": TOMORROW_3PM} | fields)
        world.task(back, "queued", retry_at=back.not_before)
    return campaign


@plants("callbacks.forgotten")
def a_customer_who_wants_a_call_is_forgotten(world: World) -> None:
    asked_for(world, kept=False)


@plants("callbacks.twice", "callbacks.task_id")
def a_customer_who_wants_a_call_gets_two(world: World) -> None:
    campaign = CampaignWorld(world).launch()
    wish = campaign.ask(campaign.contact())
    call_id = world.call(wish, "明天下午三点再打给我", outcome="callback")
    other = campaign.call_back(
        call_id, wish, not_before=TOMORROW_3PM, task_id="other", event_id=ids.root_id("other")
    )
    world.task(other, "queued", retry_at=TOMORROW_3PM)
    back = campaign.call_back(call_id, wish, not_before=TOMORROW_3PM)
    world.task(back, "queued", retry_at=TOMORROW_3PM)


@plants("callbacks.unasked")
def a_customer_is_called_again_who_never_asked(world: World) -> None:
    campaign = CampaignWorld(world).launch()
    wish = campaign.ask(campaign.contact())
    call_id = world.call(wish, "不需要")
    world.task(campaign.call_back(call_id, wish, not_before=TOMORROW_3PM), "queued")


@plants("callbacks.other_time")
def a_customer_is_called_again_at_another_time(world: World) -> None:
    asked_for(world, not_before=TOMORROW_3PM + HOUR_MS)


@plants("callbacks.early")
def a_customer_is_called_again_too_early(world: World) -> None:
    campaign = CampaignWorld(world).launch()
    wish = campaign.ask(campaign.contact())
    call_id = world.call(wish, "明天下午三点再打给我", outcome="callback")
    back = campaign.call_back(call_id, wish, not_before=TOMORROW_3PM)
    world.task(back, "queued")
    quick(world, back)


@plants("callbacks.no_reason")
def a_callback_is_refused_without_a_reason(world: World) -> None:
    campaign = CampaignWorld(world).launch()
    wish = campaign.ask(campaign.contact())
    call_id = world.call(wish, "明天下午三点再打给我", outcome="callback")
    world.task(campaign.call_back(call_id, wish, not_before=TOMORROW_3PM), "refused")


# law


def dialled(world: World, attributes: dict[str, str] | None = None, **settings: Any) -> None:
    """A campaign with these settings calls a customer with these attributes."""
    campaign = CampaignWorld(world).launch(**settings)
    wish = campaign.ask(campaign.contact())
    world.task(wish, "queued")
    quick(world, wish, profile=profile(**attributes or {}))


@plants("law.hours")
def a_telephone_rings_at_night(world: World) -> None:
    world.now = MORNING + 12 * HOUR_MS
    dialled(world)


@plants("law.hours")
def a_telephone_rings_at_night_where_the_customer_is(world: World) -> None:
    dialled(world, {"zone": "America/New_York"})


@plants("law.hours")
def a_telephone_rings_outside_the_campaigns_windows(world: World) -> None:
    dialled(world, windows={"any": ["14:00-19:30"]})


@plants("law.hours")
def a_telephone_rings_on_a_public_holiday(world: World) -> None:
    world.now = MORNING + (107 * 24 + 2) * HOUR_MS  # 1 October, noon
    dialled(world)


@plants("law.attempts")
def a_number_is_dialled_more_often_than_the_law_allows(world: World) -> None:
    campaign = CampaignWorld(world).launch(caps={"number_day": 2})
    other = CampaignWorld(world, "winter").launch()
    for n, this in enumerate((other, other, campaign), 1):
        wish = this.ask(this.contact(n), phone="+8613900000009")
        world.task(wish, "queued")
        quick(world, wish)
        world.now += 60_000


@plants("law.rest")
def a_customer_is_called_who_has_just_refused(world: World) -> None:
    dialled(world, {"refused_at": str(MORNING - 24 * HOUR_MS)})


@plants("law.consent")
def a_customer_is_called_without_consent(world: World) -> None:
    dialled(world, {"consent": "none"})


@plants("law.consent")
def a_customer_is_called_whose_consent_has_run_out(world: World) -> None:
    dialled(world, {"consent_until": str(MORNING - HOUR_MS)})


@plants("law.recording")
def a_customer_is_recorded_without_being_told(world: World) -> None:
    dialled(world, recording_notice=False)


@plants("law.place")
def a_premium_number_is_dialled(world: World) -> None:
    campaign = CampaignWorld(world).launch()
    wish = campaign.ask(campaign.contact(), phone="+19002345678")
    world.task(wish, "queued")
    quick(world, wish)


@plants("law.caller_id")
def a_customer_sees_no_number_to_call_back(world: World) -> None:
    campaign = CampaignWorld(world).launch(caller_ids=[], purpose="service")
    wish = campaign.ask(campaign.contact(), phone="+12025550143")
    world.now = MORNING + 14 * HOUR_MS  # noon in Washington
    world.task(wish, "queued")
    quick(world, wish, profile=profile(consent="written"))


def of_no_campaign(world: World, law: SiteLaw) -> None:
    """A site goes by that law, and somebody is called for no campaign."""
    world.write(*settings_copy(Policy(), world.now, "sales", law))
    wish = world.wish(phone="+8613800000001")
    world.task(wish, "queued")
    quick(world, wish)


@plants("law.hours")
def a_telephone_rings_at_night_for_no_campaign(world: World) -> None:
    world.now = MORNING + 12 * HOUR_MS
    of_no_campaign(world, SiteLaw(level="basic"))


@plants("law.consent")
def a_customer_is_called_for_no_campaign_without_consent(world: World) -> None:
    world.now = MORNING
    of_no_campaign(world, SiteLaw(level="full"))
