"""The law at the dial instant, by what the log has told the edge until then."""

import json
from dataclasses import replace
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from ingest.call.machine import decide
from ingest.call.types import Assigned, Call, Identity, NumberChecked, Write
from ingest.law import KEPT_MS, DialLaw, Dialled, together
from ringlog.campaigns.callee_facts import campaign_facts
from ringlog.campaigns.settings import CampaignSettings
from ringlog.law.dial import may_call
from ringlog.law.facts import Allowed, Refusal
from ringlog.law.site import SiteLaw
from schemas.events import CallEvent, Campaign
from schemas.ids import root_id
from schemas.phone import Numbers

NUMBERS = Numbers("CN", b"key")
PHONE = "+8613800138000"
HOUR = 3_600_000
NOON = round(datetime.fromisoformat("2026-11-25T12:00:00+08:00").timestamp()) * 1_000
WHO = Identity("call", "edge", "outbound", campaign_id="spring", terms="spring@2")
BASIC = SiteLaw(level="basic")


def settings(**more: object) -> CampaignSettings:
    return CampaignSettings.model_validate(
        {"playbook": "p", "purpose": "survey", "recording_notice": True} | more
    )


def version(n: int, state: str = "running", **more: object) -> Campaign:
    return Campaign.model_validate(
        {"event_id": root_id("spring", n), "occurred_at": n, "producer": "api",
         "campaign_id": "spring", "name": "Spring", "state": state, "version": n,
         "settings": settings(**more).model_dump_json()}
    )  # fmt: skip


def dialing(call_id: str, at_ms: int, phone: str = PHONE) -> CallEvent:
    return CallEvent(
        event_id=root_id(call_id, "dialing"), kind="dialing", occurred_at=at_ms, producer="edge",
        call_id=call_id, phone=phone,
    )  # fmt: skip


def ended(call_id: str, disposition: str) -> CallEvent:
    return CallEvent(
        event_id=root_id(call_id, "ended"), kind="ended", occurred_at=NOON, producer="edge",
        call_id=call_id, disposition=disposition,
    )  # fmt: skip


def law_with(*events: Campaign | CallEvent, site: SiteLaw = BASIC) -> DialLaw:
    law = DialLaw(site, NUMBERS)
    for event in events:
        if isinstance(event, Campaign):
            law.take_campaign(event)
        else:
            law.take_call(event.call_id or "", event, event.occurred_at)
    return law


def rule_of(law: DialLaw, who: Identity = WHO, at: int = NOON, phone: str = PHONE) -> str | None:
    said = law.refusal(who, phone, at)
    return None if said is None else said.rule


def test_a_window_that_has_closed_since_the_permit_forbids_the_call() -> None:
    law = law_with(version(2))
    assert rule_of(law) is None
    said = law.refusal(WHO, PHONE, NOON + 9 * HOUR)
    assert said is not None and (said.rule, said.until) == ("cn-other-hours", NOON + 20 * HOUR)
    assert rule_of(law_with(version(2, windows={"any": ["14:00-15:00"]}))) == "campaign-windows"


def test_a_version_that_is_not_here_yet_and_a_pause_put_the_call_off() -> None:
    for law in (law_with(), law_with(version(1)), law_with(version(2), version(3, "paused"))):
        said = law.refusal(WHO, PHONE, NOON)
        assert said is not None and said.rule == "campaign" and said.until is not None
    assert rule_of(law_with(version(3), version(2, "paused"))) is None, "the newest counts"


def test_dials_of_other_pools_since_the_permit_count_against_the_cap() -> None:
    two = replace(WHO, number_dials=(NOON - 3 * HOUR, NOON - 2 * HOUR))
    law = law_with(version(2, caps={"number_day": 3}), dialing("call", NOON - 1))
    assert rule_of(law, two) is None, "the call's own dial is none"
    law.take_call("other", dialing("other", NOON), NOON - 1_000)
    assert rule_of(law, two) == "campaign-number-day"
    law.take_call("other", ended("other", "number_in_call"), NOON)
    assert rule_of(law, two) is None, "it was put off"
    law.take_call("far", dialing("far", NOON), NOON - 2 * HOUR - 90)
    assert rule_of(law, two) is None, "one dial, told twice"


def test_the_consent_of_the_campaigns_own_list_goes_first_as_in_dispatch() -> None:
    def of_list(campaign_id: str, consent: str) -> Identity:
        own = {"campaign_id": campaign_id, "consent": consent, "until": "", "told_at": 1}
        profile = {"attributes": {"consent": "none"}, "consents": [own]}
        return replace(WHO, profile=json.dumps(profile), caller_id="+862112345678")

    law = law_with(version(2, purpose="marketing", caller_ids=["+862112345678"]))
    assert rule_of(law, of_list("spring", "express")) is None
    assert rule_of(law, of_list("autumn", "express")) == "cn-consent"
    for broken in (
        '{"consents": 1}',
        '{"consents": [1]}',
        '{"consents": [{}]}',
        '{"attributes": []}',
        "[]",
        "{",
    ):
        assert rule_of(law, replace(WHO, profile=broken)) == "profile"


def test_a_call_of_no_campaign_goes_by_the_sites_law() -> None:
    alone = replace(WHO, campaign_id=None, terms=None)
    night = NOON + 10 * HOUR
    assert rule_of(law_with(), alone) is None
    assert rule_of(law_with(), alone, night) == "cn-marketing-hours"
    assert rule_of(law_with(), alone, phone="+86110") in ("emergency", "number")
    assert rule_of(law_with(), replace(alone, number_dials=tuple(range(NOON - 6, NOON)))) == (
        "house-number-day"
    )
    assert rule_of(law_with(site=SiteLaw(level="full")), alone) in ("cn-consent", "cn-recording")
    assert rule_of(law_with(site=SiteLaw()), alone, night) is None
    assert rule_of(law_with(), replace(alone, profile="{")) == "profile"
    refused = json.dumps({"attributes": {"refused_at": str(NOON - HOUR)}})
    assert rule_of(law_with(), replace(alone, profile=refused)) == "cn-marketing-refused"


def test_what_the_law_forbids_ends_the_call_with_rule_and_reason() -> None:
    call = Call(replace(WHO, phone=PHONE, permit_expires_at=NOON + HOUR), "sim")
    assert len(decide(call, Assigned(), NOON)) == 1
    refusal = Refusal("cn-hours", "it is late", NOON + HOUR, "a law")
    commands = decide(call, NumberChecked(False, 1, unlawful=refusal), NOON)
    [event] = [command.event for command in commands if isinstance(command, Write)]
    assert (event.kind, event.disposition) == ("ended", "unlawful")
    assert (event.rule, event.reason, event.lawful_at) == ("cn-hours", "it is late", NOON + HOUR)


@given(
    st.lists(
        st.tuples(st.integers(0, 600), st.sampled_from(["before", "edge", "both"]),
                  st.integers(0, 60))
    )
)  # fmt: skip
def test_no_dial_is_lost_between_two_who_count(dials: list[tuple[int, str, int]]) -> None:
    """What dispatch has counted lately the edge has read, too, at a time up to a minute earlier."""
    old = [(at - 10_000) * 1_000 for at, who, _ in dials if who == "before"]
    counted = [(at + late) * 1_000 for at, who, late in dials if who == "both"]
    recent = [at * 1_000 for at, who, _ in dials if who != "before"]
    found = together([*old, *counted], recent)
    assert found == sorted(found) and len(found) >= len(dials)
    times = sorted(at for at, _, _ in dials)
    if all(b - a > 120 for a, b in zip(times, times[1:], strict=False)):
        assert len(found) == len(dials)


def test_old_dials_are_forgotten() -> None:
    dialled = Dialled()
    for n in range(1_000):
        dialled.began(f"number-{n % 7}", f"call-{n}", n * KEPT_MS // 10)
    assert sum(len(dialled.times(f"number-{n}", "")) for n in range(7)) <= 12


_EVENTS = st.one_of(
    st.builds(
        version, st.integers(1, 4), st.sampled_from(["running", "paused", "ended"]),
        caps=st.sampled_from([{}, {"number_day": 1}, {"number_day": 2}]),
        windows=st.sampled_from([{}, {"any": ["11:00-12:30"]}]),
    ),
    st.builds(
        dialing, st.sampled_from(["a", "b", "c", "call"]),
        st.integers(NOON - HOUR, NOON).map(lambda at: at - at % 1_000),
        st.sampled_from([PHONE, "+8613800138001"]),
    ),
    st.builds(
        ended, st.sampled_from(["a", "b", "c"]), st.sampled_from(["completed", "edge_full"])
    ),
)  # fmt: skip


@given(st.lists(_EVENTS, max_size=12), st.integers(0, 23), st.integers(1, 4))
def test_nothing_is_dialled_outside_the_law_whatever_the_order(
    events: list[Campaign | CallEvent], hour: int, allowed_by: int
) -> None:
    """Against the law asked with all that those events say, counted the long way."""
    who, at = replace(WHO, terms=f"spring@{allowed_by}"), NOON + hour * HOUR
    if law_with(*events).refusal(who, PHONE, at) is not None:
        return
    versions = [event for event in events if isinstance(event, Campaign)]
    newest = max(versions, key=lambda event: event.version)
    newest = next(event for event in versions if event.version == newest.version)
    assert newest.state == "running" and newest.version >= allowed_by
    dials: dict[str, int] = {}
    first: set[str] = set()
    for event in events:
        if isinstance(event, CallEvent):
            this = event.call_id or ""
            if event.kind == "dialing" and this not in first:
                first.add(this)
                if event.phone == PHONE and this != "call":
                    dials[this] = event.occurred_at
            elif event.disposition == "edge_full":
                dials.pop(this, None)
    settled = CampaignSettings.model_validate_json(newest.settings)
    facts = campaign_facts(settled, {}, sorted(dials.values()), None)
    assert may_call(PHONE, facts, at) == Allowed()
