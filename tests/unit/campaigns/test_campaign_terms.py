"""A campaign's terms: the law with its own rules, what tags ask for, retries; and its life."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringlog.campaigns.aggregate import (
    CampaignChange,
    Campaigns,
    CommandRefused,
    Who,
    created,
    decide,
)
from ringlog.campaigns.callee_facts import consent_of
from ringlog.campaigns.settings import CampaignSettings, wait_ms
from ringlog.campaigns.terms import settings_of, terms_of
from ringlog.terms import NO_COUNTS, Callee, CallSetup, Counts, Demand, Permission, Terms
from schemas import ids
from schemas.events import Campaign, DispatchInbox
from streams.dispatch.inputs import CampaignChanged, parse
from streams.dispatch.router import campaign_copy
from tests.unit.dispatch.build import NUMBERS

HOUR = 3_600_000
WHO = Who("ada", 1_000, "because")


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp()) * 1_000


NOON = ms("2026-11-25T12:00:00+08:00")


class Site:
    """What holds where the campaign says nothing."""

    version, running, concurrency, calls_per_s, people = "site", True, None, None, None

    def permission(
        self, callee: Callee, dials: object, now_ms: int, counts: Counts = NO_COUNTS
    ) -> Permission:
        raise AssertionError("the campaign judges")

    def setup(self, task_id: str) -> CallSetup:
        return CallSetup()

    def demand(self, callee: Callee, skills: Mapping[str, int]) -> Demand:
        return Demand(skills=dict(skills), best=("site",) if "value:high" in callee.tags else ())

    def retry_at(self, disposition: str, dials: int, now_ms: int) -> int | None:
        return now_ms + 7


SITE: Terms = Site()


def settings(**more: Any) -> CampaignSettings:
    base = {"playbook": "promotion", "purpose": "marketing", "consent": "written",
            "recording_notice": True}  # fmt: skip
    return CampaignSettings.model_validate(base | more)


def first(**more: Any) -> Campaign:
    return created("default", "spring", "Spring", settings(**more), WHO)


def test_permission_is_the_law_and_the_campaigns_own_rules() -> None:
    terms = terms_of(first(windows={"any": ["14:00-15:00"]}, caps={"number_day": 2}), SITE)
    callee = Callee("+8613800138000")
    said = terms.permission(callee, (), NOON)
    assert (said.at_ms, said.rule) == (NOON + 2 * HOUR, "campaign-windows")
    at = NOON + 2 * HOUR
    assert terms.permission(callee, (NOON,), at) == Permission(at)
    said = terms.permission(callee, (NOON, NOON + 1), at)
    assert (said.at_ms, said.rule) == (at + 24 * HOUR, "campaign-number-day")


def test_what_the_customers_record_says_counts_before_the_campaign() -> None:
    terms = terms_of(first(), SITE)
    bare = terms.permission(Callee("+8613800138000"), (), NOON)
    assert bare.at_ms == NOON
    none = terms.permission(Callee("+8613800138000", attributes={"consent": "none"}), (), NOON)
    assert (none.at_ms, none.rule) == (None, "cn-consent")
    odd = terms.permission(Callee("+8613800138000", attributes={"consent": "maybe"}), (), NOON)
    assert odd.rule == "cn-consent", "a word that is no consent is none"
    past = {"consent": "written", "consent_until": "1000"}
    assert terms.permission(Callee("+8613800138000", attributes=past), (), NOON).rule
    unread = {"consent": "written", "consent_until": "next year"}
    assert terms.permission(Callee("+8613800138000", attributes=unread), (), NOON).rule
    far = {"zone": "Europe/Paris"}
    said = terms.permission(Callee("+8613800138000", attributes=far), (), NOON)
    assert said.at_ms == ms("2026-11-25T09:00:00+01:00"), "it is five in the morning in Paris"
    refused = {"refused_at": str(NOON - HOUR)}
    said = terms.permission(Callee("+8613800138000", attributes=refused), (), NOON)
    assert said.rule == "cn-marketing-refused"


def test_tags_levels_and_industries_weigh_and_ask_for_robots() -> None:
    tags = {
        "industry:finance": {"skills": {"finance": 6}},
        "value:high": {"weight": 1.5, "skills": {"sales": 4}, "best": True},
        "level:vip": {"weight": 0.5},
    }
    terms = terms_of(first(tags=tags, specialist_wait_ms=9), SITE)
    callee = Callee("+8613800138000", level="vip", tags=("industry:finance", "value:high"))
    found = terms.demand(callee, {"sales": 5})
    assert found.skills == {"finance": 6, "sales": 5}
    assert found.best == ("sales", "site") and found.wait_ms == 9
    assert found.rise == pytest.approx(2.0)
    assert terms.demand(Callee("+8613800138000"), {"a": 1}) == Demand(skills={"a": 1})


def test_retries_follow_the_cause_within_one_budget() -> None:
    terms = terms_of(first(retries={"busy": ["10m", "1h"], "no_answer": []}, budget=3), SITE)
    assert terms.retry_at("busy", 1, 0) == wait_ms("10m")
    assert terms.retry_at("busy", 2, 0) == wait_ms("1h")
    assert terms.retry_at("busy", 3, 0) is None, "the budget"
    assert terms.retry_at("no_answer", 1, 0) is None, "an empty curve"
    assert terms.retry_at("machine", 2, 0) == wait_ms("1d"), "the default curve"
    waits = [terms.retry_at("no_line", tries, 0) for tries in (1, 2, 3, 9)]
    assert waits == [wait_ms(wait) for wait in ("1m", "5m", "15m", "15m")], "beyond the budget"
    assert terms.retry_at("number_in_call", 1, 100) == 107, "the site's"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("{}", "playbook"),
        ("[]", "Input"),
        ("{", "settings"),
        ('{"playbook": "p", "purpose": "fun"}', "purpose"),
        ('{"playbook": "p", "purpose": "service", "windows": {"any": ["20:00-08:00"]}}', "windows"),
        ('{"playbook": "p", "purpose": "service", "retries": {"busy": ["soon"]}}', "retries.busy"),
        ('{"playbook": "p", "purpose": "service", "budget": 1e9}', "budget"),
        ("[" * 100_000, "settings"),
    ],
)
def test_settings_that_cannot_be_read_are_a_value_error(text: str, field: str) -> None:
    event = first().model_copy(update={"settings": text})
    with pytest.raises(ValueError, match=field):
        terms_of(event, SITE)


@given(st.text(max_size=40) | st.dictionaries(st.text(max_size=9), st.integers()).map(json.dumps))
def test_any_text_is_settings_or_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        settings_of(first().model_copy(update={"settings": text}))


def test_a_campaigns_life() -> None:
    draft = first()
    assert (draft.state, draft.version, draft.actor) == ("draft", 1, "ada")
    started = decide(draft, CampaignChange("start"), Who("bob", 2_000))
    assert started is not None
    assert (started.state, started.version, started.action, started.actor) == (
        "running", 2, "started", "bob",
    )  # fmt: skip
    assert decide(started, CampaignChange("start"), WHO) is None, "it runs already"
    paused = decide(started, CampaignChange("pause"), WHO)
    assert paused is not None and paused.state == "paused"
    assert decide(paused, CampaignChange("pause"), WHO) is None
    with pytest.raises(CommandRefused):
        decide(paused, CampaignChange("start"), WHO)
    resumed = decide(paused, CampaignChange("resume"), WHO)
    assert resumed is not None and resumed.state == "running"
    changed = decide(resumed, CampaignChange("change", settings(budget=5), "New"), WHO)
    assert changed is not None and changed.name == "New" and changed.state == "running"
    assert settings_of(changed).budget == 5
    assert decide(changed, CampaignChange("change", settings(budget=5)), WHO) is None
    ended = decide(changed, CampaignChange("stop"), WHO)
    assert ended is not None and ended.state == "ended"
    assert decide(ended, CampaignChange("stop"), WHO) is None
    with pytest.raises(CommandRefused):
        decide(ended, CampaignChange("change", settings()), WHO)


commands = st.lists(
    st.sampled_from(["start", "pause", "resume", "stop", "change"]), max_size=30
)  # fmt: skip


@given(commands, st.randoms(use_true_random=False))
def test_the_fold_is_the_same_with_repeats_and_lost_races(names: list[Any], rng: Any) -> None:
    """Two people change at once: both make the same version, and every reader keeps the first."""
    log, campaigns = [first()], Campaigns()
    campaigns.evolve(log[0])
    for n, name in enumerate(names):
        now = campaigns.get("spring")
        assert now is not None
        changes = [CampaignChange(name, settings(budget=1 + n % 9) if name == "change" else None)]
        changes.append(CampaignChange("stop"))
        for change in changes if rng.random() < 0.3 else changes[:1]:
            try:
                event = decide(now, change, Who("x", n))
            except CommandRefused:
                continue
            if event is not None:
                log.append(event)
                campaigns.evolve(event)
    newest = campaigns.get("spring")
    again, seen = Campaigns(), set()
    for n, event in enumerate(log):
        again.evolve(event)
        if rng.random() < 0.3:
            again.evolve(rng.choice(log[: n + 1]))
        seen.add(event.event_id)
    assert again.get("spring") == newest
    assert newest is not None and newest.version == len(seen)


@given(st.text(max_size=20))
def test_consent_is_one_of_ours(text: str) -> None:
    assert consent_of({"consent": text}, "none") in ("none", "relationship", "express", "written")


def test_settings_fit_into_the_inbox_of_dispatch() -> None:
    tags = {f"industry:{n:02d}{'x' * 100}": {"weight": 1, "skills": {"y" * 100: 3}}
            for n in range(64)}  # fmt: skip
    data = {"playbook": "p", "purpose": "survey"}
    with pytest.raises(ValueError, match="8192 bytes"):
        CampaignSettings.model_validate(data | {"tags": tags})
    room = dict(list(tags.items())[:25])
    text = CampaignSettings.model_validate(data | {"tags": room}).model_dump_json()
    words = "\u4e2d" * 500
    event = Campaign(
        event_id=ids.root_id("x"), occurred_at=1, producer="api", campaign_id="c" * 128,
        name=words[:200], state="running", settings=text, reason=words,
    )  # fmt: skip
    _, copy = campaign_copy(event, 1, "main")
    assert isinstance(copy, DispatchInbox)
    assert isinstance(parse(copy, NUMBERS), CampaignChanged)
