"""Which of two records tells a field: the later one, whatever the order in which they arrive."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.envelope import Event
from schemas.events import Profile
from streams.profiles.fold import decide, evolve, parse, profile_event
from streams.profiles.state import Customer, from_text, to_text
from tests.unit.profiles.build import (
    NUMBERS,
    PHONE,
    asked,
    change,
    ended,
    inbox,
    live,
    turn,
)

OTHER = "+8613999999999"


def facts(customer: Customer) -> tuple[Any, ...]:
    """All but what counts the records themselves."""
    return (customer.facts(), customer.told, customer.numbers, customer.as_of)


@pytest.mark.parametrize(
    ("newer", "older", "field", "value"),
    [
        ({"level": "vip"}, {"level": "normal"}, "level", "vip"),
        ({"tags": ["new"]}, {"tags": ["old", "stale"]}, "source_tags", ("new",)),
        ({"cleared": ["tags"]}, {"tags": ["old"]}, "source_tags", ()),
        ({"cleared": ["name"]}, {"name": "李雷"}, "name", None),
        ({"purchases": 0}, {"purchases": 7}, "purchases", 0),
        ({"cleared": ["phone"]}, {"phone": PHONE}, "phone_hash", None),
        (
            {"attributes": {"amount_due": "1.00"}}, {"attributes": {"amount_due": "9.00"}},
            "attributes", (("amount_due", "1.00"),),
        ),
        ({"cleared": ["amount_due"]}, {"attributes": {"amount_due": "9.00"}}, "attributes", ()),
        (
            {"attributes": {"amount_due": ""}}, {"attributes": {"amount_due": "9.00"}},
            "attributes", (),
        ),
    ],
)  # fmt: skip
def test_an_older_record_of_another_source_overwrites_nothing(
    newer: dict[str, Any], older: dict[str, Any], field: str, value: Any
) -> None:
    known = change(source="crm", occurred_at=1, level="x", name="x", tags=["x"], phone=OTHER,
                   attributes={"amount_due": "5.00"})  # fmt: skip
    late = change(source="erp", occurred_at=10, **older)
    new = change(source="crm", occurred_at=20, **newer)
    customer, _ = live(known, new, late)
    assert getattr(customer, field) == value
    in_order, _ = live(known, late, new)
    assert facts(customer) == facts(in_order)


def test_a_profile_names_the_source_and_time_of_each_field() -> None:
    _, out = live(
        change(source="shop", table="customers", occurred_at=5, level="vip", tags=["a"]),
        change(source="erp", occurred_at=7, cleared=["tags"], attributes={"zone": "Asia/Urumqi"}),
    )
    profile = out[0][1]
    assert isinstance(profile, Profile)
    assert profile.sources == {
        "level": "shop/customers", "tags": "erp", "attributes.zone": "erp",
    }  # fmt: skip
    assert profile.told_at == {"level": 5, "tags": 7, "attributes.zone": 7}


def test_what_was_told_before_a_deletion_stays_away_and_what_came_after_it_stays() -> None:
    gone = change(kind="deleted", occurred_at=10)
    old = change(source="erp", occurred_at=9, name="李雷", attributes={"a": "1"}, phone=PHONE)
    new = change(source="erp", occurred_at=11, level="vip")
    for events in ((old, gone, new), (gone, old, new), (new, gone, old), (new, old, gone)):
        customer, _ = live(*events)
        assert (customer.name, customer.level, customer.attributes) == (None, "vip", ())
        assert (customer.phone_hash, customer.numbers) == (None, ())


def test_an_opt_out_bars_every_number_that_is_known() -> None:
    _, out = live(
        change(phone=PHONE, occurred_at=1),
        asked(phone=OTHER, occurred_at=2),
        turn(meaning="opt_out"),
    )
    barred = {event.phone_hash for name, event in out if name == "compliance.optouts"}  # type: ignore[attr-defined]
    assert barred == {NUMBERS.hash(PHONE), NUMBERS.hash(OTHER)}
    # Also one that an older record brings late.
    customer, _ = live(asked(phone=OTHER, occurred_at=2), turn(meaning="opt_out"))
    customer, out = live(change(phone=PHONE, occurred_at=1), customer=customer)
    assert customer.phone_hash == NUMBERS.hash(OTHER)
    assert [e.phone_hash for name, e in out if name == "compliance.optouts"] == [  # type: ignore[attr-defined]
        NUMBERS.hash(PHONE)
    ]


def test_a_lists_consent_holds_for_its_campaign_alone() -> None:
    def loaded(campaign: str, at: int, **attributes: str) -> Event:
        return change(source="campaign", table=campaign, campaign_id=campaign, occurred_at=at,
                      attributes=attributes)  # fmt: skip

    customer, out = live(
        change(occurred_at=1, attributes={"consent": "relationship", "consent_until": "99"}),
        loaded("spring", 20, consent="express", zone="Asia/Urumqi"),
        loaded("spring", 10, consent="none"),
        loaded("autumn", 11, consent_until="55"),
    )
    profile = profile_event(customer, parse(inbox(change()), NUMBERS))
    assert profile.attributes["consent"] == "relationship"
    spring, autumn, winter = (profile.within(c).attributes for c in ("spring", "autumn", "winter"))
    assert spring == {"consent": "express", "zone": "Asia/Urumqi"}
    assert (autumn["consent"], autumn["consent_until"]) == ("relationship", "55")
    assert winter == profile.within(None).attributes == profile.attributes
    assert from_text(to_text(customer)) == customer
    many, _ = live(*(loaded(f"c{n}", n, consent="express") for n in range(99)), customer=customer)
    assert len(many.consents) == 8 and many.consents[-1].campaign_id == "c98"


def test_emptied_attributes_stay_bounded() -> None:
    customer, _ = live(
        *(change(occurred_at=n, attributes={f"a{n}": "1"}) for n in range(200)),
        *(change(occurred_at=500 + n, attributes={f"a{n}": ""}) for n in range(200)),
    )
    assert customer.attributes == ()
    assert len(customer.told) <= 40


def test_a_row_of_before_fields_had_sources_is_read() -> None:
    customer = from_text('{"version":3,"level":"vip","phone_hash":"h"}')
    assert (customer.level, customer.numbers) == ("vip", (("h", 0),))
    later, _ = live(change(level="gold"), customer=customer)
    assert later.level == "gold"


FIELDS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["李雷", "韩梅梅"]),
        "level": st.sampled_from(["vip", "normal"]),
        "tags": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
        "purchases": st.integers(0, 3),
        "phone": st.sampled_from([PHONE, OTHER]),
        "attributes": st.dictionaries(
            st.sampled_from(["zone", "due"]), st.sampled_from(["", "1", "x" * 99]), max_size=2
        ),
        "cleared": st.lists(st.sampled_from(["name", "tags", "level", "due"]), max_size=2),
        "kind": st.sampled_from(["upserted", "upserted", "upserted", "deleted"]),
        "source": st.sampled_from(["crm", "erp", "campaign"]),
        "campaign_id": st.sampled_from([None, "spring"]),
    },
)


@settings(max_examples=100, deadline=None)
@given(told=st.lists(FIELDS, max_size=8), data=st.data())
def test_any_order_and_any_repeats_give_the_same_profile(
    told: list[dict[str, Any]], data: st.DataObject
) -> None:
    events: list[Event] = [change(occurred_at=10 + n, **values) for n, values in enumerate(told)]
    events += [asked(occurred_at=100, phone=OTHER), ended(occurred_at=101)]
    in_order, _ = live(*events)
    shuffled = data.draw(st.permutations(events))
    repeated = [e for e in shuffled for _ in range(data.draw(st.integers(1, 2)))]
    customer, seen = Customer(), set[str]()
    for event in repeated:
        record = parse(inbox(event), NUMBERS)
        before, customer = customer, evolve(customer, record)
        for _, follows in decide(before, customer, record):
            assert follows.event_id not in seen
            seen.add(follows.event_id)
        customer = from_text(to_text(customer))
    assert facts(customer) == facts(in_order)
