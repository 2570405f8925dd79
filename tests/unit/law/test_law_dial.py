"""The law of the dial, against an oracle, and with the days on which clocks are moved."""

from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringlog import settings as site
from ringlog.law.days import day_names
from ringlog.law.dial import may_call
from ringlog.law.facts import Allowed, Answers, Facts, Refusal
from ringlog.law.hours import is_open, next_opening
from ringlog.law.places import NoPlace, Place, place_of
from ringlog.law.rules import FOLDER, HoursRule, RuleBook, read_rules, rule_book
from ringlog.yaml_source import InvalidFile
from schemas.times import LAST_MS
from tests.unit.law.oracle import PEOPLE, Known, Person, lawful

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp()) * 1_000


FIRST, LAST = ms("2025-12-20T00:00:00+00:00"), ms("2026-06-01T00:00:00+00:00")
"""Within the years that both calendars know, with room to look ahead."""

people = st.sampled_from(PEOPLE)
purposes = st.sampled_from(["marketing", "collection", "service", "survey"])


@st.composite
def times(draw: st.DrawFn) -> int:
    return draw(st.integers(FIRST // MINUTE, LAST // MINUTE)) * MINUTE


@st.composite
def situations(draw: st.DrawFn) -> tuple[Person, Known, int]:
    at = draw(times())
    ago = st.integers(0, 40 * DAY // MINUTE).map(lambda n: at - n * MINUTE)
    dials = draw(st.lists(ago | st.integers(0, 26 * 60).map(lambda n: at - n * MINUTE), max_size=9))
    known = Known(
        purpose=draw(purposes),
        consent=draw(st.sampled_from(["written"] * 6 + ["express", "relationship", "none"])),
        barred=draw(st.sampled_from([False] * 9 + [True])),
        dials=sorted(dials),
        talked_at=draw(st.none() | ago),
        refused_at=draw(st.none() | ago),
        notice=draw(st.sampled_from([True] * 9 + [False])),
        caller_id=draw(st.sampled_from(["+12125550100"] * 9 + [None])),
    )
    return draw(people), known, at


def facts_of(known: Known) -> Facts:
    return Facts(
        purpose=known.purpose,  # type: ignore[arg-type]
        consent=known.consent,  # type: ignore[arg-type]
        barred="global" if known.barred else None,
        dials=known.dials,
        talked_at=known.talked_at,
        refused_at=known.refused_at,
        recording_notice=known.notice,
        caller_id=known.caller_id,
    )


@settings(max_examples=120, deadline=None)
@given(situations(), st.data())
def test_it_says_what_the_oracle_says_and_when_that_changes(
    situation: tuple[Person, Known, int], data: st.DataObject
) -> None:
    person, known, at = situation
    said = may_call(person.number, facts_of(known), at)
    assert isinstance(said, Allowed) == lawful(person, known, at), said
    if isinstance(said, Allowed):
        return
    if said.until is None:
        later = data.draw(st.lists(times().filter(lambda t: t >= at), max_size=5))
        assert not any(lawful(person, known, t) for t in later), said
        return
    assert at < said.until < at + 230 * DAY
    assert lawful(person, known, said.until), said
    step = max(MINUTE, (said.until - at) // 60 // MINUTE * MINUTE)
    between = [*range(at, said.until, step), said.until - MINUTE, said.until - 1]
    assert not any(lawful(person, known, t) for t in between if t >= at), said


@settings(max_examples=60, deadline=None)
@given(people, purposes, times(), st.data())
def test_no_dial_is_outside_the_law_whatever_the_order_of_events(
    person: Person, purpose: Any, at: int, data: st.DataObject
) -> None:
    """A host that dials whenever it is allowed, while opt-outs, undos, conversations, refusals and
    the clock come as they like."""
    known = Known(purpose=purpose)
    dials: list[int] = []
    steps = data.draw(
        st.lists(
            st.sampled_from(["dial"] * 8 + ["bar", "undo", "talk", "refuse", "consent", "none"]),
            max_size=60,
        )
    )
    for step in steps:
        at += data.draw(st.sampled_from([0, 1, MINUTE, 17 * MINUTE, HOUR, 7 * HOUR, DAY]))
        known.dials = tuple(dials)
        match step:
            case "dial":
                if isinstance(may_call(person.number, facts_of(known), at), Allowed):
                    assert lawful(person, known, at)
                    dials.append(at)
                else:
                    assert not lawful(person, known, at)
            case "bar" | "undo":
                known.barred = step == "bar"
            case "talk":
                known.talked_at = at
            case "refuse":
                known.refused_at = at
            case "consent" | "none":
                known.consent = "written" if step == "consent" else "none"


ZONES = ("Europe/Paris", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo",
         "Asia/Shanghai", "Pacific/Apia", "Africa/Casablanca", "Asia/Kathmandu")  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(ZONES),
    st.sampled_from(
        ["2011-12-28", "2026-03-07", "2026-03-28", "2026-04-03", "2026-10-03", "2026-10-24",
         "2026-10-31", "2026-02-14", "2018-11-03"]
    ),
    st.integers(0, 3 * 1_440),
    st.lists(
        st.tuples(st.integers(0, 1_439), st.integers(1, 600)).map(
            lambda w: (w[0], min(1_440, w[0] + w[1]))
        ),
        min_size=1, max_size=3,
    ),
)  # fmt: skip
def test_a_window_opens_at_its_first_minute_also_when_clocks_are_moved(
    name: str, day: str, minute: int, windows: list[tuple[int, int]]
) -> None:
    zone, at = ZoneInfo(name), ms(f"{day}T00:00:00+00:00") + minute * MINUTE
    found = next_opening(at, zone, lambda _: tuple(windows))
    first = next(
        t
        for t in range(at, at + 4 * DAY, MINUTE)
        if any(
            b <= (w := datetime.fromtimestamp(t / 1_000, zone)).hour * 60 + w.minute < e
            for b, e in windows
        )
    )
    assert found == first
    assert is_open(found, zone, lambda _: tuple(windows))


@pytest.mark.parametrize(
    ("number", "rule"),
    [
        ("13800138000", "number"),
        ("+110", "number"),
        ("+86110", "emergency"),
        ("+1911", "number"),
        ("+8613800138000x", "number"),
        ("+861380013800०", "number"),
        ("+19005550123", "number_type"),
        ("+18005550123", "number_type"),
        ("+864008123456", "number_type"),
        ("+33899123456", "number_type"),
        ("+85251234567", "country"),
        ("+447400123456", "country"),
        ("", "number"),
    ],
)
def test_such_numbers_are_never_called(number: str, rule: str) -> None:
    said = may_call(number, Facts("service", consent="written"), ms("2026-11-25T12:00:00+08:00"))
    assert isinstance(said, Refusal) and said.rule == rule and said.until is None
    assert not number or number.lstrip("+") not in said.reason


GOOD = Facts("marketing", consent="written", caller_id="+12125550100", recording_notice=True)


@pytest.mark.parametrize(
    ("number", "at", "rule", "until"),
    [
        # National Day; then a Saturday that is worked in its place, and a Sunday that is not.
        (
            "+8613800138000", "2026-10-01T11:00:00+08:00", "cn-marketing-days",
            "2026-10-08T09:00:00+08:00",
        ),
        ("+8613800138000", "2026-10-10T09:00:00+08:00", None, None),
        (
            "+8613800138000", "2026-10-11T09:30:00+08:00", "cn-marketing-days",
            "2026-10-11T10:00:00+08:00",
        ),
        (
            "+8613800138000", "2026-11-27T21:00:00+08:00", "cn-marketing-hours",
            "2026-11-28T10:00:00+08:00",
        ),
        # Half past eight in the evening: too late in Florida, not in New York.
        ("+13055550123", "2026-11-25T20:30:00-05:00", "us-fl-hours", "2026-11-26T08:00:00-05:00"),
        ("+12125550123", "2026-11-25T20:30:00-05:00", None, None),
        # Idaho is in two zones: nine in the evening in the eastern one closes both.
        ("+12085550123", "2026-11-25T21:00:00-07:00", "us-hours", "2026-11-26T08:00:00-08:00"),
        # Thanksgiving closes Rhode Island, the Sunday opens Texas late.
        ("+14014440123", "2026-11-26T12:00:00-05:00", "us-ri-hours", "2026-11-27T09:00:00-05:00"),
        ("+12145550123", "2026-11-29T10:00:00-06:00", "us-tx-hours", "2026-11-29T12:00:00-06:00"),
        # France: lunch, and the 14th of July.
        ("+33612345678", "2026-11-25T13:30:00+01:00", "fr-hours", "2026-11-25T14:00:00+01:00"),
        ("+33612345678", "2026-07-14T11:00:00+02:00", "eu-hours", "2026-07-15T10:00:00+02:00"),
        # The night in which the clocks go forward: eight o'clock comes an hour sooner.
        ("+12125550123", "2026-03-08T01:59:00-05:00", "us-hours", "2026-03-08T08:00:00-04:00"),
    ],
)  # fmt: skip
def test_hours_by_place_and_day(number: str, at: str, rule: str | None, until: str | None) -> None:
    said = may_call(number, GOOD, ms(at))
    if rule is None:
        assert said == Allowed()
    else:
        assert isinstance(said, Refusal)
        assert (said.rule, said.until) == (rule, ms(until or ""))


def test_a_year_that_no_calendar_knows_is_closed_and_asked_about_again() -> None:
    at = ms("2031-05-20T12:00:00+08:00")
    said = may_call("+8613800138000", GOOD, at)
    assert isinstance(said, Refusal) and said.rule == "cn-marketing-days"
    assert said.until is not None and said.until > at and "calendar" in said.reason
    assert may_call("+8613800138000", Facts("collection", recording_notice=True), at) == Allowed()


def test_what_the_crm_knows_of_the_place_can_only_add_to_the_rules() -> None:
    at = ms("2026-11-25T20:30:00-05:00")
    moved = Facts("marketing", consent="written", caller_id="+12125550100", recording_notice=True,
                  region="US-FL")  # fmt: skip
    said = may_call("+12125550123", moved, at)
    assert isinstance(said, Refusal) and said.rule == "us-fl-hours"
    far = Facts("service", consent="written", caller_id="+12125550100", recording_notice=True,
                zone="Pacific/Honolulu")  # fmt: skip
    said = may_call("+12125550123", far, ms("2026-11-25T09:00:00-05:00"))
    assert isinstance(said, Refusal) and said.rule == "us-hours"
    for wrong in ("Mars/Olympus", "../etc/passwd", "\0"):
        assert isinstance(place_of("+12125550123", "", wrong), NoPlace)
    assert isinstance(place_of("+12125550123", "FR-75", ""), NoPlace)


def test_a_number_without_a_place_takes_the_customers_zone() -> None:
    assert isinstance(place_of("+18085550123"), Place)
    voip = "+15005550123"
    assert isinstance(place_of(voip), NoPlace)


def test_abandoned_calls_stop_a_campaign_until_they_are_old() -> None:
    at = ms("2026-11-25T12:00:00+08:00")
    day = [Answers(at - n * DAY, 50, 2) for n in range(5)]
    facts = Facts("collection", recording_notice=True, answers=day)
    said = may_call("+8613800138000", facts, at)
    assert isinstance(said, Refusal) and said.rule == "house-abandoned"
    assert said.until == at - DAY + 30 * DAY, "the day after which 2 of 50 are left"
    few = Facts("collection", recording_notice=True, answers=[Answers(at, 5, 3)])
    assert may_call("+8613800138000", few, at) == Allowed(), "judged as if there had been 100"


def test_an_own_rule_of_a_campaign_and_a_caller_ids_cap() -> None:
    at = ms("2026-11-25T12:00:00+08:00")
    own = read_rule({"id": "own", "kind": "hours", "days": {"any": ["14:00-15:00"]}})
    cap = read_rule(
        {"id": "cap", "kind": "attempts", "most": 2, "within": "24h", "of": "caller_id"}
    )
    facts = Facts("collection", recording_notice=True, campaign_rules=(own,))
    said = may_call("+8613800138000", facts, at)
    assert isinstance(said, Refusal) and (said.rule, said.until) == ("own", at + 2 * HOUR)
    unknown = Facts("collection", recording_notice=True, campaign_rules=(cap,))
    assert isinstance(may_call("+8613800138000", unknown, at), Refusal)
    used = Facts("collection", recording_notice=True, campaign_rules=(cap,), caller_id="+8610",
                 caller_dials=(at - 23 * HOUR, at - HOUR))  # fmt: skip
    said = may_call("+8613800138000", used, at)
    assert isinstance(said, Refusal) and (said.rule, said.until) == ("cap", at + HOUR)


def read_rule(data: dict[str, Any]) -> Any:
    from pydantic import TypeAdapter

    from ringlog.law.rules import AnyRule

    return TypeAdapter(AnyRule).validate_python(data | {"source": "a test"})


def test_every_rule_names_its_source_and_its_id_once() -> None:
    sets = [read_rules(path) for path in FOLDER.glob("*.yaml")]
    ids = [rule.id for found in sets for rule in found.rules]
    assert len(ids) == len(set(ids)) > 30
    assert all(rule.source for found in sets for rule in found.rules)
    assert {"CN", "US", "US-FL", "EU", "FR", "DE", "*"} <= {found.place for found in sets}


RULE = "place: XX\nname: x\nrules:\n  - "


@pytest.mark.parametrize(
    "text",
    [
        RULE + "{id: a, kind: hours, days: {any: ['20:00-08:00']}, source: none yet}",
        RULE + "{id: a, kind: hours, days: {any: ['8-20']}, source: none yet}",
        RULE + "{id: a, kind: rest, after: talked, for: 0d, source: none yet}",
        RULE + "{id: a, kind: consent, any_of: [express]}",
        RULE + "{id: a, kind: unknown, source: none yet}",
        "place: XX\nplace: YY\nname: x\nrules: []",
        "- 1",
    ],
)  # fmt: skip
def test_a_wrong_rule_file_is_refused_with_its_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "xx.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidFile, match=r"xx\.yaml:\d"):
        read_rules(path)


def test_a_sites_own_rules_are_added(tmp_path: Path) -> None:
    (tmp_path / "hk.yaml").write_text(
        "place: HK\nname: Hong Kong\nrules:\n"
        "  - {id: hk-hours, kind: hours, days: {any: ['09:00-21:00']}, source: a site}\n"
        , encoding="utf-8",
    )  # fmt: skip
    book = rule_book(tmp_path)
    at = ms("2026-11-25T12:00:00+08:00")
    assert may_call("+85251234567", Facts("service"), at, book) == Allowed()
    assert isinstance(may_call("+85251234567", Facts("service"), at, RuleBook([])), Refusal)


def test_faults_in_a_sites_own_rules_are_all_told(tmp_path: Path) -> None:
    for name, rule in (("a", "hk-hours"), ("b", "hk-hours"), ("c", "us-hours")):
        text = f"place: HK\nname: x\nrules:\n  - {{id: {rule}, kind: caller_id, source: a site}}\n"
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidFile, match=r"b\.yaml:1: .*hk-hours(.|\n)*c\.yaml:1: .*us-hours"):
        rule_book(tmp_path)
    (tmp_path / "b.yaml").write_bytes(b"\xff")
    (tmp_path / "c.yaml").write_text("place: 1\n", encoding="utf-8")
    with pytest.raises(InvalidFile, match=r"b\.yaml:1: it cannot be read(.|\n)*c\.yaml:1: "):
        rule_book(tmp_path)
    with pytest.raises(InvalidFile, match="no such folder"):
        rule_book(tmp_path / "away")


def test_a_sites_rules_hold_wherever_the_law_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = ms("2026-11-25T12:00:00+08:00")
    facts = Facts("survey", recording_notice=True)
    assert may_call("+8613800138000", facts, at) == Allowed()
    (tmp_path / "ours.yaml").write_text(
        "place: CN\nname: Ours\nrules:\n"
        "  - {id: ours, kind: hours, days: {any: ['13:00-14:00']}, source: our board}\n"
        , encoding="utf-8",
    )  # fmt: skip
    monkeypatch.setenv("RINGLOG_LAW_RULES", str(tmp_path))
    site.settings.cache_clear()
    try:
        said = may_call("+8613800138000", facts, at)
    finally:
        monkeypatch.undo()
        site.settings.cache_clear()
    assert isinstance(said, Refusal) and said.rule == "ours"


def test_a_holiday_in_any_region_counts_where_the_region_is_not_known() -> None:
    epiphany = datetime(2026, 1, 6).date()  # noqa: DTZ001 -- a date of the calendar
    assert day_names(epiphany, "DE", frozenset())[0] == "holiday"
    assert day_names(epiphany, "DE", frozenset({"DE-BE"}))[0] == "tue"
    assert day_names(epiphany, "DE", frozenset({"DE-BY"}))[0] == "holiday"


def test_rules_in_force_from_a_date() -> None:
    rule = HoursRule.model_validate(
        {"id": "later", "kind": "hours", "days": {"any": []}, "since": "2026-11-26",
         "source": "a test"}
    )  # fmt: skip
    facts = Facts("collection", recording_notice=True, campaign_rules=(rule,))
    before = ms("2026-11-25T12:00:00+08:00")
    assert may_call("+8613800138000", facts, before) == Allowed()
    assert isinstance(may_call("+8613800138000", facts, before + DAY), Refusal)


def test_a_time_beyond_all_calendars_is_refused() -> None:
    last = 253_402_300_799_999  # of year 9999, the last that a record can have
    for at in (LAST_MS, last):
        said = may_call("+8613800138000", Facts("survey", recording_notice=True), at)
        assert isinstance(said, Refusal) and (said.rule, said.until) == ("time", None)
