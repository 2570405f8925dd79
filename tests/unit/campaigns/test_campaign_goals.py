"""When a campaign is complete: by its goals, by its date, once, also after a restart."""

from datetime import datetime
from itertools import count
from typing import Any

import pytest

from ringlog.campaigns.aggregate import CampaignChange, Who, decide
from ringlog.campaigns.settings import CampaignSettings
from schemas import ids
from schemas.events import Campaign, Turn
from streams.campaigns.goals import Goals
from streams.campaigns.release import ListRelease
from tests.unit.campaigns.test_campaign_release import campaign

_n = count()


def turn(customer: str | None, outcome: str | None, **more: Any) -> Turn:
    return Turn.model_validate(
        {"event_id": ids.root_id("turn", next(_n)), "occurred_at": 1, "producer": "robots",
         "call_id": f"call-{customer}", "customer_id": customer, "campaign_id": "spring",
         "input_kind": "final", "input_event_id": ids.root_id("i"), "node": "n", "confidence": 1,
         "outcome": outcome} | more
    )  # fmt: skip


def goals(*records: object, **settings: Any) -> tuple[Goals, ListRelease]:
    release = ListRelease()
    release.evolve(campaign(**settings))
    found = Goals(release)
    for record in records:
        found.evolve(record)
    return found, release


def reasons(found: Goals, now_ms: int = 9) -> list[str | None]:
    return [version.reason for version in found.decide(now_ms)]


def test_a_campaign_is_complete_once_enough_contacts_reached_a_goal() -> None:
    found, release = goals(
        turn("c1", "promised"), turn("c1", "promised"), turn("c2", "refused"), turn("c3", None),
        goals=["promised", "paid"], goal_count=2,
    )  # fmt: skip
    assert found.decide(9) == []
    found.evolve(turn("c2", "paid"))
    (version,) = found.decide(9)
    assert (version.state, version.action, version.actor) == ("ended", "completed", "campaigns")
    assert version.reason == "2 contacts reached its goals: promised, paid"
    assert found.decide(10) == [], "it is on its way to the log"
    release.evolve(version)
    assert found.decide(11) == []


def test_a_contact_counts_by_what_their_last_call_came_to() -> None:
    found, _ = goals(
        turn("c1", "promised"), turn("c1", "reprompt"), turn("c2", "promised"),
        turn("c2", "opted_out", call_id="another"), goals=["promised"], goal_count=2,
    )  # fmt: skip
    assert reasons(found) == []
    found.evolve(turn(None, "promised", call_id="unknown-caller"))
    assert len(reasons(found)) == 1


def test_it_is_complete_at_its_time_whatever_was_reached() -> None:
    found, _ = goals(ends_at="2026-12-24T18:00:00+08:00")
    at = round(datetime.fromisoformat("2026-12-24T10:00:00+00:00").timestamp() * 1_000)
    assert reasons(found, at - 1) == []
    assert reasons(found, at) == ["it was to end at 2026-12-24T18:00:00+08:00"]


def test_somebody_elses_version_of_that_number_makes_it_judge_anew() -> None:
    found, release = goals(turn("c1", "promised"), goals=["promised"], goal_count=1)
    (lost,) = found.decide(9)
    now = release.campaigns.get("spring")
    assert now is not None
    other = decide(now, CampaignChange("pause"), Who("ada", 9))
    assert other is not None and other.version == lost.version
    release.evolve(other)
    release.evolve(lost)
    (again,) = found.decide(10)
    assert again.version == lost.version + 1 and again.state == "ended"


@pytest.mark.parametrize("state", ["draft", "paused"])
def test_a_draft_waits_and_a_paused_one_is_completed(state: str) -> None:
    release = ListRelease()
    first: Campaign = campaign("draft", goals=["promised"], goal_count=1)
    release.evolve(first)
    if state == "paused":
        for step in ("start", "pause"):
            now = release.campaigns.get("spring")
            assert now is not None
            release.evolve(decide(now, CampaignChange(step), Who("a", 2)))
    found = Goals(release)
    found.evolve(turn("c1", "promised"))
    assert len(found.decide(9)) == (state == "paused")


def test_what_a_checkpoint_has_gives_the_same_state() -> None:
    found, release = goals(
        turn("c1", "promised"), turn("c|2", "refused"), goals=["promised"], goal_count=2
    )
    notes = found.changes()
    assert found.changes() == {}
    again = Goals(release)
    again.restore((note, value) for note, value in notes.items() if value is not None)
    for one in (found, again):
        one.evolve(turn("c|2", "promised"))
    assert reasons(found) == reasons(again) == ["2 contacts reached its goals: promised"]


def test_outcomes_of_no_campaign_are_not_kept() -> None:
    found, _ = goals(turn("c1", "promised", campaign_id="label"), turn("c2", "x", campaign_id=None))
    assert found.changes() == {}


@pytest.mark.parametrize(
    ("settings", "why"),
    [({"goal_count": 3}, "needs `goals`"), ({"ends_at": "tomorrow"}, "write a time as"),
     ({"ends_at": "2026-12-24T18:00:00"}, "write a time as"),
     ({"goal_count": 0, "goals": ["a"]}, "goal_count")],
)  # fmt: skip
def test_settings_that_cannot_be_meant(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        CampaignSettings.model_validate({"playbook": "p", "purpose": "service"} | settings)
