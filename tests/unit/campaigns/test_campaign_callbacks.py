"""A call that came to "call me back" becomes one task, at the time that was asked for."""

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringlog.campaigns.aggregate import STOPPED, CampaignChange, Who, created, decide
from ringlog.campaigns.settings import CampaignSettings
from schemas import ids
from schemas.events import CallEvent, Campaign, TaskEvent, TaskRequested, Turn
from streams.campaigns.callbacks import OTHERWISE_MS, SETTLE_MS, Callbacks
from streams.campaigns.release import ListRelease
from tests.unit.campaigns.test_campaign_release import contact


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
    """What is asked for, and folded, after these events."""
    found = callbacks or Callbacks(ListRelease())
    for event in events:
        found.evolve(event, SAID)
    requests = found.decide(LATE)
    for request in requests:
        found.evolve(request, LATE)
    return requests


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
    callbacks = Callbacks(ListRelease())
    for event in (step("dialing"), turn("半小时后"), step("ended"), turn("还是下午四点吧")):
        callbacks.evolve(event, SAID)
    assert callbacks.decide(SAID + SETTLE_MS - 1) == []
    [task] = callbacks.decide(SAID + SETTLE_MS)
    assert task.not_before == ms("2026-11-27T16:00:00+08:00")
    assert callbacks.decide(LATE) == [task.model_copy(update={"occurred_at": LATE})]
    callbacks.evolve(task, LATE)
    assert callbacks.decide(LATE) == [], "it is on the log"


@given(st.permutations(range(6)))
def test_records_of_the_two_topics_may_be_read_in_any_order(order: list[int]) -> None:
    calls = [step("dialing"), step("ended")]
    turns = [turn("半小时后", None), turn("明天下午三点"), turn("再见", None)]
    events, left = list[object](), (iter(calls), iter(turns))
    for n in order:
        events += [event for event in [next(left[n % 2], None)] if event is not None]
    [task] = judged(*events, *left[0], *left[1])
    assert task.not_before == ms("2026-11-28T15:00:00+08:00")


def test_what_was_not_understood_after_the_wish_takes_nothing_back() -> None:
    [task] = judged(step("dialing"), turn("半小时后"), turn("嗯啊", "reprompt"), step("ended"))
    assert task.not_before == SAID + 1_800_000
    refused = turn("不用了", "refused")
    assert judged(step("dialing"), turn("半小时后"), refused, step("ended")) == []


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
    restarted = Callbacks(ListRelease())
    restarted.evolve(task, SAID)
    assert judged(*events, callbacks=restarted) == []


def test_no_task_without_the_wish_or_of_a_call_that_is_not_ours() -> None:
    assert judged(step("dialing"), turn("明天", outcome="completed"), step("ended")) == []
    assert judged(turn("明天"), step("ended")) == [], "a call that nobody saw begin"
    assert judged(step("dialing", direction="inbound"), turn("明天"), step("ended")) == []


def campaigns() -> tuple[Campaign, Campaign]:
    """A campaign, and its end."""
    first = created(
        "default", "spring", "S", CampaignSettings(playbook="p", purpose="service"), Who("a", 1)
    )
    stopped = decide(first, CampaignChange("stop"), Who("a", 2))
    assert stopped is not None
    return first, stopped


def restarted(callbacks: Callbacks, release: ListRelease) -> Callbacks:
    """Those of a new process, from the notes of this one."""
    found = Callbacks(release)
    found.restore((note, text) for note, text in callbacks.changes().items() if text is not None)
    return found


@pytest.mark.parametrize("again", [False, True])
def test_a_call_back_of_a_stopped_campaign_is_cancelled_with_the_reason(again: bool) -> None:
    release = ListRelease()
    first, stopped = campaigns()
    release.evolve(first)
    callbacks = Callbacks(release)
    [task] = judged(step("dialing"), turn("下周一上午"), step("ended"), callbacks=callbacks)
    assert task.kind == "requested"
    release.evolve(stopped)
    if again:
        callbacks = restarted(callbacks, release)
    [cancel] = judged(callbacks=callbacks)
    assert (cancel.kind, cancel.task_id, cancel.reason) == ("cancel", task.task_id, STOPPED)
    if again:
        callbacks = restarted(callbacks, release)
    assert judged(callbacks=callbacks) == [], "once"


def test_who_asks_for_a_call_after_the_stop_is_on_the_log_too() -> None:
    release = ListRelease()
    for version in campaigns():
        release.evolve(version)
    callbacks = Callbacks(release)
    [task] = judged(step("dialing"), turn("明天"), step("ended"), callbacks=callbacks)
    assert task.kind == "requested", "so that its end can be told"
    [cancel] = judged(callbacks=callbacks)
    assert (cancel.kind, cancel.reason) == ("cancel", STOPPED)


def test_one_that_is_over_is_not_cancelled() -> None:
    release = ListRelease()
    first, stopped = campaigns()
    release.evolve(first)
    callbacks = Callbacks(release)
    [task] = judged(step("dialing"), turn("半小时后"), step("ended"), callbacks=callbacks)
    over = TaskEvent(
        event_id="1" * 36, kind="completed", occurred_at=LATE, producer="d", task_id=task.task_id
    )
    callbacks.evolve(over, LATE)
    release.evolve(stopped)
    assert judged(callbacks=restarted(callbacks, release)) == []


def test_the_dials_of_a_contact_count_on_in_its_calls_back() -> None:
    """Twice nobody answered; the third call, and the first of the call back, ask for another."""
    release = ListRelease()
    release.evolve(campaigns()[0])
    added = contact(1)
    release.evolve(added)
    task = ids.contact_task_id("default", "spring", added.contact_id)
    callbacks = Callbacks(release)

    def call(n: int, task_id: str, *ends: object) -> list[TaskRequested]:
        more = {"call_id": f"call{n}", "task_id": task_id}
        said = [e.model_copy(update=more) for e in ends if isinstance(e, Turn)]
        return judged(
            step("dialing", **more), *said, *(step("ended", **more, **e) for e in ends
            if isinstance(e, dict)), callbacks=callbacks,
        )  # fmt: skip

    assert call(1, task, {"disposition": "no_answer"}) == []
    assert call(2, task, {"disposition": "no_line"}) == [], "no telephone rang"
    [first] = call(3, task, turn("半小时后"), {"disposition": "completed"})
    assert first.dials == 2
    callbacks = restarted(callbacks, release)
    [second] = call(4, first.task_id or "", turn("半小时后"), {"disposition": "completed"})
    assert second.dials == 3
