"""A customer's profile: what each record makes of it, and what follows."""

import json
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import ids
from schemas.envelope import Event
from schemas.events import (
    CallEvent,
    CustomerChange,
    OptOut,
    Profile,
    ProfileInbox,
    TaskRequested,
    Turn,
)
from schemas.wire import Poison
from streams.dispatch.inputs import OptedOut, ProfileChanged, Request
from streams.dispatch.inputs import parse as parse_dispatch
from streams.profiles.fold import (
    MAX_ATTRIBUTES,
    MAX_PROMISES,
    MAX_TAGS,
    Output,
    decide,
    evolve,
    parse,
)
from streams.profiles.router import copies
from streams.profiles.state import SEEN, Customer, from_text, to_text

KEY = b"k" * 64
PHONE = "+8613812345678"
_ids = count()


def _envelope(**values: Any) -> dict[str, Any]:
    return {
        "event_id": ids.root_id("test", next(_ids)), "occurred_at": 1_000, "producer": "test",
        "customer_id": "c1", **values,
    }  # fmt: skip


def change(**values: Any) -> CustomerChange:
    return CustomerChange.model_validate(_envelope(kind="upserted", source="crm", **values))


def asked(**values: Any) -> TaskRequested:
    base = {"kind": "requested", "task_id": "t1", "pool": "sales", "body_sha256": ""}
    return TaskRequested.model_validate(_envelope(**{**base, "phone": PHONE, **values}))


def turn(**values: Any) -> Turn:
    base = {"input_kind": "final", "input_event_id": ids.root_id("i"), "node": "n", "text": "好"}
    return Turn.model_validate(
        _envelope(**{**base, "call_id": "call-1", "confidence": 1, **values})
    )


def ended(call_id: str = "call-1", **values: Any) -> CallEvent:
    return CallEvent.model_validate(
        _envelope(**{"kind": "ended", "call_id": call_id, "disposition": "completed", **values})
    )


TOPIC = {
    CustomerChange: "customers.changes", TaskRequested: "tasks.requested",
    Turn: "dialogue.turns", CallEvent: "calls.events",
}  # fmt: skip


def inbox(event: Event) -> ProfileInbox:
    ((_, record),) = copies(TOPIC[type(event)], event)
    assert isinstance(record, ProfileInbox)
    return record


def live(*events: Event, customer: Customer | None = None) -> tuple[Customer, list[Output]]:
    """The customer after these events, and what followed from the last."""
    customer, out = customer or Customer(), list[Output]()
    for event in events:
        record = parse(inbox(event), KEY)
        before, customer = customer, evolve(customer, record)
        out = decide(before, customer, record, ["sales", "care"])
    return customer, out


def topics(out: list[Output]) -> list[str]:
    return [name for name, _ in out]


def test_a_change_in_the_crm_makes_a_version_only_when_something_changed() -> None:
    first = change(name="李雷", level="member", tags=["a", "b"], purchases=3)
    customer, out = live(first)
    assert (customer.version, topics(out)) == (1, ["customers.profiles"])
    profile = out[0][1]
    assert isinstance(profile, Profile)
    assert (profile.name, profile.level, profile.purchases) == ("李雷", "member", 3)
    assert profile.tags == ["a", "b", "repeat"]
    assert profile.event_id == ids.event_id(inbox(first).event_id, "profile")
    again, out = live(change(name="李雷", level="member"), customer=customer)
    assert (again.version, out) == (1, [])
    gone, _ = live(CustomerChange.model_validate(
        _envelope(kind="deleted", source="crm")), customer=customer)  # fmt: skip
    assert (gone.name, gone.tags, gone.level, gone.version) == (None, (), "normal", 2)


def test_a_repeated_record_changes_nothing_and_says_nothing() -> None:
    event = change(name="a")
    customer, _ = live(event)
    assert live(event, customer=customer) == (customer, [])


def test_ids_of_worked_records_are_bounded() -> None:
    customer, _ = live(*(change(name=f"n{n}") for n in range(3 * SEEN)))
    assert len(customer.seen) == SEEN


def test_a_request_goes_to_its_pool_with_the_newest_profile() -> None:
    customer, out = live(change(level="vip"), asked(priority="high"))
    assert topics(out) == ["customers.profiles", "dispatch.inbox"]
    profile, forwarded = out[0][1], out[1][1]
    assert forwarded.pool == "sales"
    parsed = parse_dispatch(forwarded)  # type: ignore[arg-type] # a DispatchInbox
    assert isinstance(parsed, Request)
    assert parsed.profile == profile
    assert parsed.task.priority == "high"
    assert customer.phone_hash == ids.phone_hash(PHONE, KEY)
    assert PHONE not in to_text(customer)


def test_a_cancellation_goes_to_every_pool_that_may_hold_the_task() -> None:
    customer, _ = live(asked(), asked(task_id="t2", pool="care"))
    _, out = live(asked(kind="cancel", pool=None, phone=None), customer=customer)
    assert [(name, e.kind, e.pool) for name, e in out] == [
        ("dispatch.inbox", "cancel", "sales"), ("dispatch.inbox", "cancel", "care"),
    ]  # fmt: skip
    assert customer.pools == ("sales", "care")


def test_pools_that_asked_hear_of_a_newer_profile() -> None:
    customer, _ = live(asked())
    _, out = live(change(level="vip"), customer=customer)
    assert topics(out) == ["customers.profiles", "dispatch.inbox"]
    parsed = parse_dispatch(out[1][1])  # type: ignore[arg-type] # a DispatchInbox
    assert isinstance(parsed, ProfileChanged)
    assert parsed.profile == out[0][1]


@pytest.mark.parametrize(
    ("values", "direction"),
    [
        ({"intent": "affirm"}, 1),
        ({"intent": "ask_price"}, 1),
        ({"outcome": "interested"}, 1),
        ({"intent": "reject"}, -1),
        ({"intent": "stop_calling"}, -1),
        ({"intent": "hello"}, 0),
        ({"intent": "affirm", "emotion": "angry"}, 0),
        ({"intent": "affirm", "confidence": 0.0}, 0),
    ],
)
def test_turns_move_purchase_intention(values: dict[str, Any], direction: int) -> None:
    before = Customer(version=1, purchase_intent=0.5)
    after, _ = live(turn(**values), customer=before)
    moved = after.purchase_intent - before.purchase_intent
    assert (moved > 0) - (moved < 0) == direction
    assert 0 <= after.purchase_intent <= 1


def test_turns_leave_intent_emotion_and_promises() -> None:
    customer, _ = live(
        turn(intent="affirm", emotion="happy"),
        turn(intent="", emotion="neutral", input_kind="silence", text=""),
        turn(intent="busy", outcome="callback", slots={"time": "明天下午"}),
        turn(intent="", slots={"promise_coupon": "八折券"}),
    )
    assert (customer.last_intent, customer.last_emotion) == ("busy", "neutral")
    assert customer.promises == ("callback 明天下午", "八折券")


def test_a_change_reaches_the_call_that_the_customer_is_on() -> None:
    customer, out = live(turn(task_id="t1", pool="sales", robot_id="r1", intent="affirm"))
    assert topics(out) == ["customers.profiles"], "a call is not told what it said itself"
    customer, out = live(change(level="member"), customer=customer)
    assert topics(out) == ["customers.profiles", "calls.events"]
    news = out[1][1]
    assert isinstance(news, CallEvent)
    assert (news.kind, news.call_id, news.pool, news.task_id) == (
        "profile_changed", "call-1", "sales", "t1",
    )  # fmt: skip
    assert json.loads(news.profile or "")["level"] == "member"
    customer, _ = live(ended(), turn(), customer=customer)  # the turn comes late
    _, out = live(change(level="vip"), customer=customer)
    assert topics(out) == ["customers.profiles"]


@pytest.mark.parametrize(
    ("events", "calls", "answered"),
    [
        ([ended()], 1, 1),
        ([ended(disposition="no_answer")], 1, 0),
        ([ended(disposition=None)], 1, 0),
        ([turn(), ended(disposition="abandoned")], 1, 1),
        ([turn(text="", input_kind="answered"), ended(disposition="abandoned")], 1, 0),
        ([ended(), ended(), ended("call-2", disposition="transferred")], 2, 2),
    ],
)
def test_calls_are_counted_once(events: list[Event], calls: int, answered: int) -> None:
    customer, _ = live(*events)
    assert (customer.calls, customer.answered_calls) == (calls, answered)
    assert ("repeat" in customer.tags) == (answered > 0)


@pytest.mark.parametrize(
    "event",
    [
        turn(outcome="opted_out"),
        ended(disposition="opted_out"),
        change(attributes={"opted_out": "true"}),
    ],
)
def test_an_opt_out_is_listed_and_told_to_every_pool(event: Event) -> None:
    customer, _ = live(asked())
    customer, out = live(event, customer=customer)
    listed = [e for _, e in out if isinstance(e, OptOut)]
    assert [e.phone_hash for e in listed] == [ids.phone_hash(PHONE, KEY)]
    copied = [e for _, e in out if e.kind == "opted_out" and not isinstance(e, OptOut)]
    assert [e.pool for e in copied] == ["care", "sales"]
    parsed = parse_dispatch(copied[0])  # type: ignore[arg-type] # a DispatchInbox
    assert parsed == OptedOut(copied[0].event_id, ids.phone_hash(PHONE, KEY), False)
    assert customer.opted_out
    _, out = live(turn(outcome="opted_out"), customer=customer)
    assert "compliance.optouts" not in topics(out)
    # Their other number must not be called either.
    _, out = live(asked(phone="+8613999999999"), customer=customer)
    assert "compliance.optouts" in topics(out)


def test_text_stays_bounded() -> None:
    tags = [f"tag{n}" * 100 for n in range(200)]
    customer, _ = live(
        change(tags=tags, name="n" * 5_000, level="l" * 5_000),
        *(turn(slots={"promise": f"{n}" * 500}) for n in range(50)),
        asked(),
    )
    assert len(customer.source_tags) == MAX_TAGS
    assert len(customer.promises) == MAX_PROMISES
    assert len(to_text(customer)) < 10_000


def test_short_attributes_are_kept_for_what_robots_say() -> None:
    customer, out = live(change(attributes={
        "amount_due": " 1234.50 ", "zone": "Asia/Urumqi", "opted_out": "no", "Not A Name": "x",
        "note": "n" * 180_000,
    }))  # fmt: skip
    profile = out[0][1]
    assert isinstance(profile, Profile)
    assert profile.attributes == {"amount_due": "1234.50", "zone": "Asia/Urumqi"}
    assert from_text(to_text(customer)) == customer
    # A change that names none leaves them; one that empties or outgrows one drops it.
    same, out = live(change(), customer=customer)
    assert (same.version, out) == (1, [])
    later, _ = live(change(attributes={"amount_due": "9" * 61}), customer=customer)
    assert dict(later.attributes) == {"zone": "Asia/Urumqi"}
    emptied, _ = live(change(attributes={"zone": ""}, cleared=["amount_due"]), customer=customer)
    assert emptied.attributes == ()
    many, _ = live(change(attributes={f"a{n}": "1" for n in range(100)}))
    assert len(many.attributes) == MAX_ATTRIBUTES
    gone, _ = live(CustomerChange.model_validate(
        _envelope(kind="deleted", source="crm")), customer=customer)  # fmt: skip
    assert gone.attributes == ()


@pytest.mark.parametrize(
    ("source_topic", "body", "customer"),
    [
        ("nonsense", "{}", "c1"),
        ("tasks.requested", "{", "c1"),
        ("tasks.requested", "[]", "c1"),
        ("tasks.requested", '{"kind":"other"}', "c1"),
        ("dialogue.turns", "null", "c1"),
        ("tasks.requested", "{}", None),
    ],
)
def test_what_cannot_be_read_is_poison(source_topic: str, body: str, customer: str | None) -> None:
    record = ProfileInbox.model_validate(
        _envelope(kind="request", source_topic=source_topic, body=body, customer_id=customer)
    )
    with pytest.raises(Poison):
        parse(record, KEY)


def test_the_router_copies_what_concerns_a_customer() -> None:
    assert list(copies("calls.events", ended())) != []
    answered = CallEvent.model_validate(_envelope(kind="answered", call_id="x"))
    assert list(copies("calls.events", answered)) == []
    assert list(copies("dialogue.turns", turn(customer_id=None))) == []
    with pytest.raises(Poison):
        list(copies("tasks.requested", asked(customer_id=None)))
    event = turn()
    first, second = (list(copies("dialogue.turns", event)) for _ in range(2))
    assert first == second


EVENTS = st.one_of(
    st.builds(change, level=st.sampled_from(["normal", "vip", None]), purchases=st.integers(0, 3)),
    st.builds(
        asked, pool=st.sampled_from(["a", "b"]), phone=st.sampled_from([PHONE, "+86139", None])
    ),
    st.builds(
        turn,
        intent=st.sampled_from(["affirm", "reject", "", "ask_price"]),
        outcome=st.sampled_from([None, "opted_out", "callback"]),
        call_id=st.sampled_from(["call-1", "call-2"]),
        confidence=st.floats(0, 1),
    ),
    st.builds(
        ended,
        st.sampled_from(["call-1", "call-2"]),
        disposition=st.sampled_from(["completed", "busy"]),
    ),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(events=st.lists(EVENTS, max_size=20), data=st.data())
def test_any_life_survives_repeats_and_restarts(events: list[Event], data: st.DataObject) -> None:
    plain, said = Customer(), list[Output]()
    for event in events:
        record = parse(inbox(event), KEY)
        before, plain = plain, evolve(plain, record)
        said += decide(before, plain, record, ["a"])
        assert plain.version - before.version in (0, 1)
    rough, again = Customer(), list[Output]()
    for event in events:
        record = parse(inbox(event), KEY)
        for _ in range(data.draw(st.integers(1, 2))):
            before, rough = rough, evolve(rough, record)
            again += decide(before, rough, record, ["a"])
        rough = from_text(to_text(rough))
    assert rough == plain
    assert again == said
    assert len({e.event_id for _, e in said}) == len(said)
