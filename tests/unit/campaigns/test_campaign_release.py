"""Which calls a campaign asks for: each once, few ahead, whatever dies when."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ringlog.campaigns.aggregate import CampaignChange, CommandRefused, Who, created, decide
from ringlog.campaigns.settings import CampaignSettings
from schemas import ids
from schemas.events import Campaign, CampaignContact, TaskEvent, TaskRequested
from streams.campaigns.release import ListRelease

SETTINGS = {"playbook": "p", "purpose": "service", "ahead": 3}


def contact(n: int, campaign_id: str = "spring") -> CampaignContact:
    this = ids.root_id("contact", campaign_id, n)
    return CampaignContact(
        event_id=this, occurred_at=1, producer="t", customer_id=f"c{n}", campaign_id=campaign_id,
        contact_id=this, import_id="i", row=n + 1, phone=f"+86138{n:08d}", tags=["a"],
        skills={"x": 2},
    )  # fmt: skip


def campaign(state: str = "running", **more: Any) -> Campaign:
    found = created(
        "default", "spring", "Spring", CampaignSettings.model_validate(SETTINGS | more), Who("a", 1)
    )
    if state == "draft":
        return found
    moved = decide(found, CampaignChange("start"), Who("a", 2))
    assert moved is not None
    return moved


def ended(task: str, kind: str = "completed") -> TaskEvent:
    return TaskEvent.model_validate(
        {"event_id": ids.event_id(task, kind), "kind": kind, "occurred_at": 9, "producer": "d",
         "task_id": task}
    )  # fmt: skip


def test_a_running_campaign_asks_for_some_ahead_and_goes_on_as_tasks_end() -> None:
    release = ListRelease()
    release.evolve(campaign())
    for n in range(5):
        release.evolve(contact(n))
        release.evolve(contact(n))
    first = release.decide(7, 100)
    assert [r.customer_id for r in first] == ["c0", "c1", "c2"]
    assert (first[0].phone, first[0].tags, first[0].skills) == ("+8613800000000", ["a"], {"x": 2})
    for request in first:
        release.evolve(request)
    assert release.decide(8, 100) == []
    release.evolve(ended(first[1].task_id or "", "failed"))
    assert [r.customer_id for r in release.decide(9, 100)] == ["c3"]


def test_a_draft_a_pause_and_unreadable_settings_ask_for_nothing() -> None:
    for event in (
        campaign("draft"),
        campaign().model_copy(update={"state": "paused"}),
        campaign().model_copy(update={"settings": "{}"}),
    ):
        release = ListRelease()
        release.evolve(event)
        release.evolve(contact(1))
        assert release.decide(1, 10) == []


def test_an_ended_campaign_takes_its_open_tasks_back_once() -> None:
    release = ListRelease()
    release.evolve(campaign())
    for n in range(9):
        release.evolve(contact(n))
    for request in release.decide(1, 100):
        release.evolve(request)
    stopped = decide(campaign(), CampaignChange("stop"), Who("a", 3))
    release.evolve(stopped)
    cancels = release.decide(2, 2)
    assert [(c.kind, (c.customer_id or "")[0]) for c in cancels] == [("cancel", "c")] * 2
    assert {c.pool for c in cancels} == {None}, "wherever the task is"
    for cancel in cancels:
        release.evolve(cancel)
    rest = release.decide(2, 100)
    assert len(rest) == 1
    release.evolve(rest[0])
    assert release.decide(3, 100) == []


def test_tasks_of_others_are_none_of_ours() -> None:
    release = ListRelease()
    release.evolve(campaign())
    release.evolve(contact(1))
    other = release.decide(1, 9)[0].model_copy(update={"task_id": "somebody's"})
    release.evolve(other)
    release.evolve(ended("somebody's"))
    assert not release.is_ours("somebody's")
    assert release.is_ours(ids.contact_task_id("default", "spring", contact(1).contact_id))


steps = st.lists(
    st.sampled_from(
        ["contact"] * 4 + ["ask"] * 4 + ["half"] + ["end"] * 3 + ["kill"] * 2
        + ["pause", "resume", "resume"]
    ),
    max_size=80,
)  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(steps, st.integers(1, 5), st.randoms(use_true_random=False))
def test_every_contact_is_asked_for_once_whatever_dies_when(
    names: list[str], ahead: int, rng: Any
) -> None:
    """`kill` starts anew from the log; `half` dies when only some of the requests are written, and
    before it knows of any."""
    log: list[Any] = [campaign(ahead=ahead)]
    release, now, contacts = ListRelease(), log[0], 0

    def folded() -> ListRelease:
        fresh = ListRelease()
        ordered = sorted(log, key=lambda e: isinstance(e, TaskRequested | TaskEvent))
        for event in ordered:
            fresh.evolve(event)
        return fresh

    release.evolve(now)
    for name in [*names, "resume", *["ask", "end"] * 100]:
        match name:
            case "contact":
                log.append(contact(contacts))
                release.evolve(log[-1])
                contacts += 1
            case "ask" | "half":
                asked = release.decide(len(log), rng.randint(1, 9))
                assert now.state == "running" or not asked
                written = asked if name == "ask" else asked[: rng.randint(0, len(asked))]
                log += written
                if name == "half":
                    release = folded()
                else:
                    for request in written:
                        release.evolve(request)
                assert len(release.progress["spring"].open if contacts else ()) <= ahead
            case "end":
                tasks = {e.task_id or "" for e in log if isinstance(e, TaskRequested)}
                over = {e.task_id or "" for e in log if isinstance(e, TaskEvent)}
                for task in sorted(tasks - over)[: rng.randint(1, 3)]:
                    log.append(ended(task))
                    release.evolve(log[-1])
            case "kill":
                release = folded()
            case _:
                command: Any = name
                try:
                    moved = decide(now, CampaignChange(command), Who("a", len(log)))
                except CommandRefused:
                    continue
                if moved is not None:
                    now = moved
                    log.append(now)
                    release.evolve(now)
    asked_for = [e.event_id for e in log if isinstance(e, TaskRequested)]
    assert len(asked_for) == len(set(asked_for)) == contacts
