"""Two evaluations of the law's rules, written apart, agree: dispatch's and that of `verify`."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ringlog.campaigns.settings import CampaignSettings
from ringlog.campaigns.terms import CampaignTerms
from ringlog.law.site import SiteLaw
from ringlog.terms import Callee
from streams.dispatch.policy import Policy
from streams.dispatch.site_terms import SiteTerms
from verify.checks.law import breach

PHONES = (
    "+8613800138000", "+862112345678", "+12125550143", "+13055550143", "+12025550143",
    "+4915112345678", "+4930123456", "+33612345678", "+390612345678", "+34612345678",
)  # fmt: skip
NEVER = ("+441212345678", "+19002345678", "+18002345678", "+86110", "+1", "")
FEW = 12
"""One drawing in so many is what forbids a call whatever else is true, or little else than these
would ever be looked at."""

FIRST = round(datetime(2025, 1, 1, tzinfo=UTC).timestamp()) * 1_000
DAY_MS = 86_400_000

moments = st.integers(FIRST, FIRST + 700 * DAY_MS)
# Minutes about the hours at which windows open and close are drawn often.
edges = st.builds(
    lambda day, quarter, off: FIRST + day * DAY_MS + quarter * 900_000 + off,
    st.integers(0, 700), st.integers(0, 95), st.sampled_from((-60_000, -1, 0, 1, 60_000)),
)  # fmt: skip
ago = st.integers(0, 200 * DAY_MS)
windows = st.sampled_from(
    ({}, {"any": ["09:30-12:00", "14:00-19:30"]}, {"holiday": [], "any": ["00:00-24:00"]},
     {"working": ["08:00-20:00"], "free": []}, {"sun": [], "any": ["10:00-18:00"]})
)  # fmt: skip
seldom = st.integers(1, FEW).map(lambda n: n == FEW)
phones = seldom.flatmap(lambda odd: st.sampled_from(NEVER if odd else PHONES))
kinds = st.sampled_from(("none", "relationship", "express", "written"))


@st.composite
def campaigns(draw: st.DrawFn) -> CampaignSettings:
    return CampaignSettings.model_validate(
        {
            "playbook": "p",
            "purpose": draw(st.sampled_from(("marketing", "collection", "service", "survey"))),
            "consent": draw(kinds),
            "recording_notice": not draw(seldom),
            "caller_ids": [] if draw(seldom) else ["+864000000000"],
            "windows": draw(windows),
            "caps": draw(st.sampled_from(({}, {"number_day": 2}, {"number_week": 3}))),
        }
    )


@st.composite
def customers(draw: st.DrawFn, at_ms: int) -> dict[str, str]:
    given: dict[str, Any] = {
        "zone": draw(st.sampled_from(("", "", "", "Asia/Shanghai", "America/New_York"))),
        "region": draw(st.sampled_from(("US-FL", "CN-11", "nowhere"))) if draw(seldom) else "",
        "consent": draw(st.sampled_from(("", "written", "written", "express", "WRITTEN ", "so"))),
    }
    for name in ("talked_at", "refused_at"):
        if draw(seldom):
            given[name] = draw(st.one_of(st.just("soon"), ago.map(lambda ms: str(at_ms - ms))))
    if draw(seldom):
        ahead = st.integers(-DAY_MS, DAY_MS).map(lambda ms: str(at_ms + ms))
        given["consent_until"] = draw(st.one_of(ahead, st.just("never")))
    return {name: value for name, value in given.items() if value}


@settings(max_examples=300, deadline=None)
@given(data=st.data(), of=campaigns(), at=st.one_of(edges, moments), phone=phones)
def test_dispatch_lets_dial_what_verify_finds_lawful(
    data: st.DataObject, of: CampaignSettings, at: int, phone: str
) -> None:
    attributes = data.draw(customers(at))
    dials = tuple(sorted(at - ms for ms in data.draw(st.lists(ago, max_size=4))))
    callee = Callee(phone, attributes=attributes)
    said = CampaignTerms("v", True, of, SiteTerms(Policy())).permission(callee, dials, at)
    broken = breach(phone, at, of, attributes, dials)
    assert (said.at_ms == at and not said.rule) == (broken is None), (said, broken)
    if said.at_ms is not None and said.rule and said.at_ms < at + 30 * DAY_MS:
        # When it says that the time has come, it has, or it names another time.
        later = breach(phone, said.at_ms, of, attributes, dials)
        again = CampaignTerms("v", True, of, SiteTerms(Policy())).permission(
            callee, dials, said.at_ms
        )
        assert (later is None) == (not again.rule), (said, later, again)


@settings(max_examples=100, deadline=None)
@given(
    data=st.data(), at=st.one_of(edges, moments), phone=phones,
    law=st.builds(
        SiteLaw, level=st.sampled_from(("basic", "full")),
        purpose=st.sampled_from(("marketing", "collection", "service", "survey")),
    ),
)  # fmt: skip
def test_calls_of_no_campaign_go_by_the_law_of_the_site(
    data: st.DataObject, at: int, phone: str, law: SiteLaw
) -> None:
    attributes = data.draw(customers(at))
    dials = tuple(sorted(at - ms for ms in data.draw(st.lists(ago, max_size=4))))
    callee = Callee(phone, attributes=attributes)
    said = SiteTerms(Policy(), law=law).permission(callee, dials, at)
    nothing = CampaignSettings(playbook="none", purpose=law.purpose)
    broken = breach(phone, at, nothing, attributes, dials, law.declared)
    assert (not said.rule) == (broken is None), (said, broken)
