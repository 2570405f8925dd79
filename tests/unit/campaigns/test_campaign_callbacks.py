"""A call that came to "call me back" becomes one task, at the time that was asked for."""

from datetime import datetime
from typing import Any

import pytest

from ringlog.campaigns.aggregate import CampaignChange, Campaigns, Who, created, decide
from ringlog.campaigns.settings import CampaignSettings
from schemas.events import CallEvent, TaskRequested, Turn
from streams.campaigns.callbacks import OTHERWISE_MS, SETTLE_MS, Callbacks


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp()) * 1_000


SAID = ms("2026-11-27T10:20:00+08:00")
LATE = SAID + 3_600_000


def step(kind: str, **more: Any) -> CallEvent:
    return CallEvent.model_validate(
        {"event_id": f"{kind:0>36}", "kind": kind, "occurred_at": SAID, "producer": "edge",
         "call_id": "call", "task_id": "task", "customer_id": "k", "campaign_id": "spring",
         "pool": "p", "phone": "+8613800138000", "playbook": "promotion"} | more
    )  # fmt: skip


def turn(text: str, outcome: str | None = "callback", **slots: str) -> Turn:
    return Turn(
        event_id="0" * 36, occurred_at=SAID, producer="r", call_id="call", input_kind="final",
        input_event_id="i", text=text, node="n", outcome=outcome, slots=slots,
    )  # fmt: skip


def judged(*events: object, callbacks: Callbacks | None = None) -> list[TaskRequested]:
    found = callbacks or Callbacks(Campaigns())
    for event in events:
        found.evolve(event, SAID)
    return found.decide(LATE)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("明天下午三点再打给我", ms("2026-11-28T15:00:00+08:00")),
        ("半小时后", SAID + 1_800_000),
        ("我在忙", SAID + OTHERWISE_MS),
    ],
)
def test_the_task_is_for_the_time_that_was_asked_for(text: str, at: int) -> None:
    [task] = judged(step("dialing"), turn(text), turn("再见"), step("ended"))
    assert (task.not_before, task.priority, task.tags) == (at, "high", ["callback"])
    assert (task.phone, task.customer_id, task.campaign_id, task.pool, task.playbook) == (
        "+8613800138000", "k", "spring", "p", "promotion",
    )  # fmt: skip


def test_the_last_time_named_counts_and_the_ending_may_be_read_first() -> None:
    callbacks = Callbacks(Campaigns())
    for event in (step("dialing"), turn("半小时后"), step("ended"), turn("还是下午四点吧")):
        callbacks.evolve(event, SAID)
    assert callbacks.decide(SAID + SETTLE_MS - 1) == []
    [task] = callbacks.decide(SAID + SETTLE_MS)
    assert task.not_before == ms("2026-11-27T16:00:00+08:00")
    assert callbacks.decide(LATE) == []


def test_the_customers_zone_is_the_profiles_or_the_numbers() -> None:
    paris = '{"attributes": {"zone": "Europe/Paris"}}'
    [task] = judged(step("dialing", profile=paris), turn("明天下午三点"), step("ended"))
    assert task.not_before == ms("2026-11-28T15:00:00+01:00")
    new_york = step("dialing", phone="+12125550123")
    [task] = judged(new_york, turn("明天下午三点", date="2026-11-28"), step("ended"))
    assert task.not_before == ms("2026-11-27T15:00:00-05:00"), "it is still the 26th there"


def test_once_per_call_also_after_a_restart() -> None:
    events = (step("dialing"), turn("半小时后"), step("ended"), step("ended"))
    [task] = judged(*events)
    restarted = Callbacks(Campaigns())
    restarted.evolve(task, SAID)
    assert judged(*events, callbacks=restarted) == []


def test_no_task_without_the_wish_or_for_a_campaign_that_has_ended() -> None:
    assert judged(step("dialing"), turn("明天", outcome="completed"), step("ended")) == []
    assert judged(turn("明天"), step("ended")) == [], "a call that nobody saw begin"
    assert judged(step("dialing", direction="inbound"), turn("明天"), step("ended")) == []
    campaigns = Campaigns()
    first = created(
        "default", "spring", "S", CampaignSettings(playbook="p", purpose="service"), Who("a", 1)
    )
    stopped = decide(first, CampaignChange("stop"), Who("a", 2))
    assert stopped is not None
    campaigns.evolve(first)
    campaigns.evolve(stopped)
    assert (
        judged(step("dialing"), turn("明天"), step("ended"), callbacks=Callbacks(campaigns)) == []
    )
