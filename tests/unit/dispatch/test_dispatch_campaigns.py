"""What a campaign's terms do to its tasks: states, limits, hours, caps, retries."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pytest

from ringlog.campaigns.aggregate import STOPPED
from ringlog.campaigns.terms import terms_of
from ringlog.law.dial import may_call
from ringlog.law.facts import Facts, Refusal
from ringlog.law.rules import FOLDER, AttemptsRule, read_rules
from ringlog.law.site import SiteLaw
from ringlog.terms import NO_COUNTS, Callee, CallSetup, Counts, Demand, Permission
from schemas import ids
from schemas.events import Campaign, CampaignConsent
from streams.dispatch.assignment import PUT_OFF
from streams.dispatch.eligibility import Dials
from streams.dispatch.inputs import CampaignChanged, SettingsChanged, parse
from streams.dispatch.policy import Policy
from streams.dispatch.pool import Pool
from streams.dispatch.router import campaign_copy
from streams.dispatch.site_terms import SiteTerms
from streams.dispatch.snapshot import Snapshots
from streams.dispatch.state import Touched
from tests.unit.dispatch.build import (
    NUMBERS,
    T0,
    Desk,
    call,
    campaign,
    changed,
    profile,
    request,
    robot,
)


@dataclass(frozen=True)
class Limited(SiteTerms):
    """Terms whose every answer the campaign's settings name."""

    opens_at: int = 0
    banned: str = ""
    per_number: int = 99
    needs: str = ""
    patience_ms: int = 0

    def permission(
        self, callee: Callee, dials: Sequence[int], now_ms: int, counts: Counts = NO_COUNTS
    ) -> Permission:
        if callee.phone == self.banned:
            return Permission(None, "premium", "never dialled")
        if len(dials) >= self.per_number:
            return Permission(None, "cap", f"{len(dials)} dials")
        return Permission(self.opens_at, "hours", "opens later" if self.opens_at > now_ms else "")

    def demand(self, callee: Callee, skills: Mapping[str, int]) -> Demand:
        return Demand({self.needs: 2} if self.needs in callee.tags else {})

    def retry_at(self, disposition: str, dials: int, now_ms: int) -> int | None:
        return now_ms + self.patience_ms * dials if self.patience_ms else None


def _terms(event: Campaign, site: SiteTerms) -> Limited:
    return Limited(site.policy, event.event_id, event.state == "running",
                   **json.loads(event.settings))  # fmt: skip


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.pool = Pool("main", terms_of=_terms)
    return desk.open(robot("r1", slots=9))


def test_a_paused_campaign_waits_and_others_go_on(desk: Desk) -> None:
    desk.give(campaign("spring", "paused"))
    desk.give(request("t1"))
    desk.give(request("t2", campaign_id="autumn"))
    desk.give(request("t3", campaign_id=None))
    assert [e.task_id for e in desk.events("assigned")] == ["t2", "t3"]
    old = campaign("spring", "paused")
    assert [e.task_id for e in desk.give(campaign("spring", "running"))] == ["t1"]
    desk.give(old)
    assert desk.give(request("t4"))[-1].kind == "assigned", "an older record changes nothing"


def test_whoever_waits_for_a_campaign_that_ends_is_cancelled_with_the_reason(desk: Desk) -> None:
    desk.give(campaign("spring", "running", {"concurrency": 1}))
    for n in range(PUT_OFF + 2):
        desk.give(request(f"t{n}"))
    desk.give(request("later", not_before=desk.now + 60_000))
    desk.give(request("other", campaign_id="autumn", not_before=desk.now + 60_000))
    stopped = desk.give(campaign("spring", "ended"))
    assert len(stopped) == PUT_OFF, "no record costs too much"
    stopped += desk.wait(1_000)
    assert [e.task_id for e in stopped] == [f"t{n + 1}" for n in range(PUT_OFF + 1)]
    assert {(e.kind, e.reason) for e in stopped} == {("cancelled", STOPPED)}
    assert [e.kind for e in desk.give(request("new"))] == ["queued", "cancelled"]
    (retry,) = desk.give(call(ids.call_id("t0", 1), "ended", disposition="number_in_call"))
    assert retry.kind == "retry_scheduled"
    desk.wait(60_000)
    assert desk.kinds("t0")[-2:] == ["queued", "cancelled"]
    assert desk.kinds("later")[-1] == "cancelled" and desk.kinds("other")[-1] == "assigned"
    assert len(desk.events("assigned")) == 2


def test_of_two_records_of_one_version_the_first_counts(desk: Desk) -> None:
    for state in ("paused", "running"):
        given = campaign("spring", state)
        version = given.campaign.model_copy(update={"version": 2})
        desk.give(CampaignChanged(given.event_id, version, given.offset))
    assert [e.kind for e in desk.give(request("t1"))] == ["queued"]


def test_a_campaign_whose_settings_cannot_be_read_does_not_call(desk: Desk) -> None:
    broken = campaign("spring", "running")
    desk.give(type(broken)(broken.event_id, broken.campaign.model_copy(
        update={"settings": "{"}), broken.offset))  # fmt: skip
    assert [e.kind for e in desk.give(request("t1"))] == ["queued"]


def test_concurrency_of_a_campaign(desk: Desk) -> None:
    desk.give(campaign("spring", "running", {"concurrency": 2}))
    for n in range(4):
        desk.give(request(f"t{n}"))
    assert [e.task_id for e in desk.events("assigned")] == ["t0", "t1"]
    out = desk.give(call(ids.call_id("t0", 1), "ended", disposition="completed"))
    assert [(e.kind, e.task_id) for e in out] == [("completed", "t0"), ("assigned", "t2")]


def test_pace_of_a_campaign_also_after_a_restart(desk: Desk) -> None:
    desk.give(campaign("spring", "running", {"calls_per_s": 0.5}))
    for n in range(3):
        desk.give(request(f"t{n}"))
    assert len(desk.events("assigned")) == 1
    desk.wait(1_999)
    assert len(desk.events("assigned")) == 1
    rows = (saved := Snapshots(desk.pool)).pages()
    desk.pool = Snapshots.load("main", rows | dict([saved.head(9)]), _terms).pool
    desk.wait(1)
    assert len(desk.events("assigned")) == 2
    desk.wait(2_000)
    assert [e.occurred_at - T0 for e in desk.events("assigned")] == [0, 2_000, 4_000]


def test_outside_its_hours_a_task_waits_and_the_reason_is_on_the_log(desk: Desk) -> None:
    opens = desk.now + 60_000
    desk.give(campaign("spring", "running", {"opens_at": opens}))
    (queued,) = desk.give(request("t1"))
    assert (queued.kind, queued.reason, queued.retry_at) == ("queued", "hours: opens later", opens)
    assert [e.kind for e in desk.wait(60_000)] == ["queued", "assigned"]


def test_hours_that_end_while_a_task_waits_put_it_off(desk: Desk) -> None:
    desk.give(robot("r1", state="removed"))
    desk.give(robot("r2", state="paused"))
    desk.give(request("t1"))
    desk.give(campaign("spring", "running", {"opens_at": desk.now + 5_000}))
    (put_off,) = desk.give(robot("r2"))
    assert (put_off.kind, put_off.reason) == ("queued", "hours: opens later")
    assert [e.kind for e in desk.wait(5_000)] == ["queued", "assigned"]


def test_what_may_never_be_called_is_refused_with_rule_and_reason(desk: Desk) -> None:
    desk.give(robot("r1", state="paused"))
    desk.give(request("t1", phone="+8613800000009"))
    desk.give(campaign("spring", "running", {"banned": "+8613800000009"}))
    (refused,) = desk.give(request("t2", phone="+8613800000009"))
    assert (refused.kind, refused.reason) == ("refused", "premium: never dialled")
    (late,) = desk.give(robot("r1"))
    assert (late.task_id, late.kind, late.reason) == ("t1", "refused", "premium: never dialled")


def test_dials_are_counted_by_number_across_tasks_and_forgotten_after_a_month(desk: Desk) -> None:
    desk.give(campaign("spring", "running", {"per_number": 2}))
    for n in range(2):
        desk.give(request(f"t{n}", profile("c1")))
        desk.give(call(ids.call_id(f"t{n}", 1), "dialing"))
        desk.give(call(ids.call_id(f"t{n}", 1), "ended", disposition="completed"))
    rows = (saved := Snapshots(desk.pool)).pages()
    desk.pool = Snapshots.load("main", rows | dict([saved.head(9)]), _terms).pool
    assert desk.give(request("t2", profile("c1")))[0].reason == "cap: 2 dials"
    assert desk.give(request("t3", profile("c2")))[-1].kind == "assigned"
    desk.wait(31 * 86_400_000)
    assert desk.give(request("t4", profile("c1")))[0].kind == "queued"


def test_a_campaign_asks_for_skills_by_tag_and_a_changed_profile_asks_anew(desk: Desk) -> None:
    desk.give(robot("r1", state="paused", skills={"loan": 1}))
    desk.give(campaign("spring", "running", {"needs": "loan"}))
    (refused,) = desk.give(request("t1", profile("c1", tags=["loan"])))
    assert refused.reason == "no robot has skill loan at level 2 or more"
    desk.give(robot("r2", skills={"loan": 2}))
    desk.give(request("t2", profile("c2", tags=["loan"])))
    assert [e.robot_id for e in desk.events("assigned")] == ["r2"]
    desk.give(request("t3", known := profile("c3", tags=["loan"])))
    desk.give(changed(known.model_copy(update={"version": 2, "tags": []})))
    assert desk.give(robot("r1"))[0].task_id == "t3"


def test_retries_are_the_campaigns(desk: Desk) -> None:
    desk.give(campaign("spring", "running", {"patience_ms": 1_000}))
    desk.give(request("t1"))
    for dials in (1, 2, 3, 4):
        (retry,) = desk.give(call(ids.call_id("t1", dials), "ended", disposition="busy"))
        assert retry.retry_at == desk.now + 1_000 * dials
        desk.wait(1_000 * dials)
    desk.give(campaign("spring", "running"))
    (over,) = desk.give(call(ids.call_id("t1", 5), "ended", disposition="busy"))
    assert over.kind == "failed"


def test_dials_of_an_earlier_task_of_the_contact_count_and_the_first_is_always_made() -> None:
    desk = Desk().open(robot("r1"))
    desk.give(request("t1", dials=1))
    (retry,) = desk.give(call(ids.call_id("t1", 1), "ended", disposition="busy"))
    assert retry.kind == "retry_scheduled"
    desk.wait(retry.retry_at - desk.now)
    (over,) = desk.give(call(ids.call_id("t1", 2), "ended", disposition="busy"))
    assert (over.kind, over.reason) == ("failed", "busy"), "it was the third"
    desk.give(request("t2", dials=7))
    assert [e.task_id for e in desk.events("assigned")][-1] == "t2"
    (over,) = desk.give(call(ids.call_id("t2", 1), "ended", disposition="busy"))
    assert over.kind == "failed"


def test_many_that_may_not_be_called_now_cost_no_record_too_much(desk: Desk) -> None:
    desk.give(robot("r1", state="paused"))
    for n in range(600):
        desk.give(request(f"t{n}"))
    desk.give(request("free", campaign_id=None))
    desk.give(campaign("spring", "running", {"opens_at": desk.now + 60_000}))
    assert len(desk.give(robot("r1", slots=1))) == 256
    desk.wait(0)
    assert [e.task_id for e in desk.events("assigned")] == ["free"]


def test_a_campaigns_record_reaches_the_inbox() -> None:
    given = campaign("spring", "paused", {"concurrency": 1})
    _, record = campaign_copy(given.campaign, 7, "main")
    parsed = parse(record, NUMBERS)  # type: ignore[arg-type]
    assert parsed == CampaignChanged(record.event_id, given.campaign, 7)


TUESDAY, HOUR, DAY = 1_774_350_000_000, 3_600_000, 86_400_000
"""2026-03-24 11:00 UTC, and two spans in ms."""


def test_dispatch_remembers_dials_for_as_long_as_the_longest_rule_counts() -> None:
    counted = [
        rule
        for file in FOLDER.glob("*.yaml")
        for rule in read_rules(file).rules
        if isinstance(rule, AttemptsRule) and rule.of == "number"
    ]
    assert max(rule.within_ms or 2 * DAY for rule in counted) <= Dials.SPAN_MS
    assert max(rule.most for rule in counted) <= Dials.KEPT
    dials = Dials(Touched())
    for n in range(4):
        dials.add("line", TUESDAY + n * HOUR, TUESDAY + n * HOUR)
    later = TUESDAY + 15 * DAY
    facts = Facts("marketing", consent="written", recording_notice=True,
                  dials=dials.of("line", later))  # fmt: skip
    said = may_call("+33142278186", facts, later - later % DAY + 9 * HOUR)
    assert isinstance(said, Refusal) and said.rule == "fr-four"


def test_a_time_that_no_calendar_knows_and_a_pace_near_zero_stop_nobody_else() -> None:
    desk = Desk()
    desk.pool = Pool("main", terms_of=terms_of)
    desk.open(robot("r1", slots=9))
    settings = {"playbook": "p", "purpose": "survey", "recording_notice": True}
    desk.give(campaign("spring", "running", settings))
    desk.give(campaign("autumn", "running", settings | {"calls_per_s": 5e-324}))
    said = desk.give(request("t1", campaign_id="spring", not_before=253_402_300_799_999))
    assert [(e.kind, e.reason) for e in said] == [("refused", "time: no calendar reaches that far")]
    desk.give(request("t2", campaign_id="autumn"))
    desk.give(request("t3", campaign_id=None))
    assert [e.task_id for e in desk.events("assigned")] == ["t3"]


def test_the_consent_of_a_campaigns_list_holds_for_that_campaign_alone() -> None:
    desk = Desk()
    desk.pool = Pool("main", terms_of=terms_of)
    desk.open(robot("r1", slots=9))
    desk.now = 1_774_324_800_000  # 2026-03-24 12:00 in China
    settings = {"playbook": "p", "purpose": "marketing", "recording_notice": True}
    for name in ("spring", "autumn"):
        desk.give(campaign(name, "running", settings))
    consent = CampaignConsent(campaign_id="spring", consent="express", until="", told_at=1)
    for name in ("spring", "autumn"):
        known = profile(f"c-{name}", consents=[consent])
        desk.give(request(name, known, campaign_id=name, phone=f"+861380000000{len(name)}"))
    assert [e.task_id for e in desk.events("assigned")] == ["spring"]
    assert [(e.task_id, e.kind) for e in desk.events("refused")] == [("autumn", "refused")]


def test_a_record_without_a_version_counts_for_nothing_after_one_with(desk: Desk) -> None:
    paused = campaign("spring", "paused")
    desk.give(replace(paused, campaign=paused.campaign.model_copy(update={"version": 2})))
    desk.give(campaign("spring", "running"))
    desk.give(request("t1"))
    assert not desk.events("assigned")


def test_what_a_campaign_asks_for_before_its_record_is_here_waits_for_that(desk: Desk) -> None:
    task = ids.contact_task_id("default", "spring", "contact")
    desk.give(request(task, campaign_id="spring", idempotency_key="contact"))
    desk.give(request("t2", campaign_id="autumn", idempotency_key="contact"))
    assert [e.task_id for e in desk.events("assigned")] == ["t2"], "a label is no campaign"
    rows = (saved := Snapshots(desk.pool)).pages()
    desk.pool = Snapshots.load("main", rows | dict([saved.head(9)]), _terms).pool
    later = {"opens_at": desk.now + 3_600_000}
    said = desk.give(campaign("spring", "running", later))
    assert [(e.kind, e.reason) for e in said] == [("queued", "hours: opens later")]


def test_a_call_that_no_line_took_is_tried_again_by_the_curve_of_carriers() -> None:
    desk = Desk()
    desk.pool = Pool("main", terms_of=terms_of)
    desk.open(robot("r1"))
    settings = {
        "playbook": "p", "purpose": "survey", "recording_notice": True, "budget": 1,
        "retries": {"carrier": ["1m", "5m"]},
    }  # fmt: skip
    desk.give(campaign("spring", "running", settings))
    desk.now += -desk.now % DAY + 4 * HOUR  # noon in China
    desk.give(request("t1"))
    waits = []
    for attempt in (1, 2, 3):
        called = ids.call_id("t1", attempt)
        over = desk.give(call(called, "ended", disposition="no_line"))[0]
        waits.append(over.retry_at - desk.now)
        desk.wait(waits[-1])
    assert waits == [60_000, 300_000, 300_000]


def test_no_permit_reaches_beyond_the_hours(desk: Desk) -> None:
    desk.pool = Pool("main", terms_of=terms_of)
    desk.open(robot("r1", slots=9))
    settings = {"playbook": "p", "purpose": "survey", "recording_notice": True}
    desk.give(campaign("spring", "running", settings))
    closes = desk.now + DAY - desk.now % DAY + 13 * HOUR  # 21:00 in China
    desk.now = closes - desk.pool.policy.permit_ms - 60_000
    assert desk.give(request("t1"))[-1].kind == "assigned"
    desk.now = closes - desk.pool.policy.permit_ms
    over = desk.give(request("t2"))[-1]
    assert (over.kind, over.retry_at) == ("queued", closes + 11 * HOUR)


def test_a_permit_carries_the_campaigns_caller_id_variant_and_recogniser() -> None:
    desk = Desk()
    desk.pool = Pool("main", terms_of=terms_of)
    desk.open(robot("r1", slots=9, asr_profile="own"))
    wanted = {"playbook": "promotion", "purpose": "service", "recording_notice": True,
              "caller_ids": ["+861060000001", "+861060000002"], "variants": {"gift": 2, "trial": 1},
              "asr_profile": "bank"}  # fmt: skip
    desk.give(campaign("spring", "running", wanted))
    for n in range(8):
        desk.give(request(f"t{n}", phone=f"+861380000000{n}"))
    desk.give(request("bare", campaign_id=None))
    given = {e.task_id or "": e for e in desk.events("assigned")}
    setup = desk.pool.terms("spring").setup
    for task_id, permit in given.items():
        if task_id != "bare":
            assert CallSetup(permit.caller_id, permit.variant, permit.asr_profile or "") == setup(
                task_id
            )
    assert len({permit.caller_id for permit in given.values()}) == 3  # both, and the trunk's
    assert (given["bare"].variant, given["bare"].asr_profile) == (None, "own")


def test_what_the_law_forbids_at_the_dial_comes_again_or_is_over() -> None:
    """The edge has the last word; dispatch takes its rule and its time."""
    desk = Desk()
    desk.open(robot("r1", slots=9))
    for task, lawful_at in (("t1", desk.now + HOUR), ("t2", None)):
        desk.give(request(task))
        said = desk.give(
            call(ids.call_id(task, 1), "ended", disposition="unlawful", rule="cn-hours",
                 reason="it is late", lawful_at=lawful_at)
        )  # fmt: skip
        wanted = "failed" if lawful_at is None else "retry_scheduled"
        assert (said[0].kind, said[0].reason) == (wanted, "cn-hours: it is late")
        assert said[0].retry_at == lawful_at
    assert desk.pool.tasks["t1"].dials == 0, "no telephone rang"


def test_a_call_of_no_campaign_goes_by_the_sites_law() -> None:
    desk = Desk()
    desk.pool = Pool("main")
    desk.open(robot("r1", slots=9))
    desk.give(SettingsChanged("s", Policy(), SiteLaw(level="basic")))
    night = desk.now + DAY - desk.now % DAY + 14 * HOUR  # 22:00 in China
    opens = night + 11 * HOUR
    desk.now = night
    said = desk.give(request("t1", campaign_id=None))
    assert (said[-1].kind, said[-1].retry_at) == ("queued", opens)
    assert (said[-1].reason or "").startswith("cn-marketing-hours: ")
    said = desk.give(request("t2", campaign_id="of-another-system", phone="110"))
    assert said[-1].kind == "refused"
    desk.give(SettingsChanged("s2", Policy(), SiteLaw(level="off")))
    assert desk.give(request("t3", campaign_id=None))[-1].kind == "assigned"


def test_the_permit_names_the_version_and_the_dials_that_it_goes_by() -> None:
    desk = Desk()
    desk.pool = Pool("main", terms_of=terms_of)
    desk.open(robot("r1", slots=9))
    desk.give(
        campaign("spring", "running", {"playbook": "p", "purpose": "survey",
                                       "recording_notice": True})
    )  # fmt: skip
    desk.now += -desk.now % DAY + 4 * HOUR  # noon in China
    for task, dials in (("t1", 0), ("t2", 1)):
        permit = desk.give(request(task, customer_id="c"))[-1]
        assert permit.kind == "assigned"
        assert permit.terms is not None and permit.terms.startswith("spring@")
        assert len(permit.number_dials) == dials
        desk.give(call(ids.call_id(task, 1), "dialing"))
        desk.give(call(ids.call_id(task, 1), "ended", disposition="completed"))
    desk.give(request("t3", campaign_id=None))
    assert desk.events("assigned")[-1].terms is None
