"""A customer's profile: what each record makes of it, and what follows."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import ids
from schemas.envelope import Event
from schemas.events import (
    CallEvent,
    CustomerChange,
    DispatchInbox,
    OptOut,
    Profile,
    ProfileInbox,
)
from schemas.wire import Poison
from streams.dispatch.inputs import ProfileChanged, Request
from streams.dispatch.inputs import parse as parse_dispatch
from streams.profiles.fold import Output, decide, evolve, lean, parse
from streams.profiles.limits import MAX_ATTRIBUTES, MAX_PROMISES, MAX_TAGS
from streams.profiles.router import MAX_REQUEST_BYTES, copies
from streams.profiles.state import SEEN, Customer, from_text, to_text
from tests.unit.profiles.build import (
    NUMBERS,
    PHONE,
    asked,
    change,
    ended,
    envelope,
    inbox,
    live,
    turn,
)


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
        envelope(kind="deleted", source="crm")), customer=customer)  # fmt: skip
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
    parsed = parse_dispatch(forwarded, NUMBERS)  # type: ignore[arg-type] # a DispatchInbox
    assert isinstance(parsed, Request)
    assert isinstance(profile, Profile)
    assert parsed.profile == lean(profile)
    assert parsed.task.priority == "high"
    assert customer.phone_hash == NUMBERS.hash(PHONE)
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
    parsed = parse_dispatch(out[1][1], NUMBERS)  # type: ignore[arg-type] # a DispatchInbox
    assert isinstance(parsed, ProfileChanged)
    assert parsed.profile == lean(out[0][1])  # type: ignore[arg-type] # a Profile


@pytest.mark.parametrize(
    ("values", "direction"),
    [
        ({"intent": "yes_please", "meaning": "register"}, 1),
        ({"meaning": "affirm"}, 0),  # which question it answers, it does not say
        ({"meaning": "ask_price"}, 1),
        ({"intent": "ask_price"}, 0),  # an intent's name is its playbook's own
        ({"outcome": "interested"}, 1),
        ({"meaning": "reject"}, -1),
        ({"meaning": "opt_out"}, -1),
        ({"meaning": "hello"}, 0),
        ({"meaning": "ask_price", "emotion": "angry"}, 0),
        ({"meaning": "ask_price", "confidence": 0.0}, 0),
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
        turn(meaning="opt_out"),
        ended(disposition="opted_out"),
        change(attributes={"opted_out": "true"}),
    ],
)
def test_an_opt_out_is_listed(event: Event) -> None:
    customer, _ = live(asked())
    customer, out = live(event, customer=customer)
    (listed,) = [e for _, e in out if isinstance(e, OptOut)]
    assert listed.phone_hash == NUMBERS.hash(PHONE)
    assert (listed.scope, listed.customer_id) == ("global", "c1")
    assert listed.source == ("crm" if isinstance(event, CustomerChange) else "voice")
    assert customer.opted_out
    _, out = live(turn(outcome="opted_out"), customer=customer)
    assert "compliance.optouts" not in topics(out)
    # Its own record comes back and says nothing new.
    assert live(listed, customer=customer)[1] == []
    # Their other number must not be called either.
    _, out = live(asked(phone="+8613999999999"), customer=customer)
    assert [e.phone_hash for _, e in out if isinstance(e, OptOut)] == [
        NUMBERS.hash("+8613999999999")
    ]


def listed(kind: str, **values: Any) -> OptOut:
    base = {"kind": kind, "phone_hash": NUMBERS.hash(PHONE), "reason": "asked", "source": "api"}
    return OptOut.model_validate(envelope(**{**base, **values}))


def test_an_operators_undo_reaches_the_profile_and_says_its_scope() -> None:
    customer, _ = live(asked(), turn(outcome="opted_out"))
    customer, _ = live(listed("opted_out", scope="campaign", campaign_id="k"), customer=customer)
    assert customer.optouts == ("global", "campaign:k")
    customer, out = live(listed("opted_in"), customer=customer)
    assert (customer.opted_out, customer.optouts) == (False, ("campaign:k",))
    profile = out[0][1]
    assert isinstance(profile, Profile)
    assert (profile.opted_out, profile.opted_out_in) == (False, ["campaign:k"])
    customer, out = live(turn(outcome="opted_out"), customer=customer)
    assert [e.kind for _, e in out if isinstance(e, OptOut)] == ["opted_out"], "said again"


def test_an_optout_by_an_older_number_protects_the_newer_one_in_its_scope() -> None:
    customer, _ = live(asked())
    event = listed(
        "opted_out", phone_hash="older", scope="tenant", tenant_id="acme", actor="operator 7"
    )
    _, out = live(event, customer=customer)
    (found,) = [e for _, e in out if isinstance(e, OptOut)]
    assert (found.phone_hash, found.scope, found.tenant_id) == (
        NUMBERS.hash(PHONE), "tenant", "acme",
    )  # fmt: skip
    assert found.actor == "operator 7"


def test_a_customer_of_before_scopes_is_opted_out_everywhere() -> None:
    assert from_text('{"opted_out":true}') == Customer(optouts=("global",))


def test_review_15_the_source_can_empty_a_field_and_absent_is_not_empty() -> None:
    customer, _ = live(change(name="李雷", level="vip", tags=["a"], purchases=3, phone=PHONE))
    same, _ = live(change(), customer=customer)
    assert same.source_tags == ("a",)
    cleared, _ = live(
        change(cleared=["tags", "name", "level", "purchases", "phone"]), customer=customer
    )
    assert (cleared.source_tags, cleared.name, cleared.level) == ((), None, "normal")
    assert (cleared.purchases, cleared.phone_hash) == (0, None)


def test_review_15_a_deleted_customer_is_forgotten_and_stays_protected() -> None:
    deleted = CustomerChange.model_validate(envelope(kind="deleted", source="crm"))
    said = turn(intent="ask_price", emotion="happy", slots={"promise": "五千元"})
    known = change(name="李雷", level="vip", tags=["a"], purchases=3)
    customer, _ = live(known, asked(), said, ended(disposition="opted_out"), deleted)
    assert customer.opted_out
    assert customer.phone_hash == NUMBERS.hash(PHONE)
    text = to_text(customer)
    assert not any(word in text for word in ("李雷", "vip", "五千元", "ask_price", "happy"))
    assert customer.purchase_intent == 0
    customer, _ = live(known, asked(), deleted)
    assert customer.phone_hash is None


def test_review_15_a_yes_to_who_they_are_is_no_wish_to_buy() -> None:
    customer, _ = live(*(turn(intent="affirm", meaning="affirm", text="是的") for _ in range(2)))
    assert customer.purchase_intent == 0


@pytest.mark.parametrize("phone", ["110", "call me", "+86138"])
def test_a_crm_number_that_is_none_is_named_and_left_out(phone: str) -> None:
    customer, _ = live(change(phone=PHONE, name="a"))
    event = change(phone=phone, name="b")
    entry = parse(inbox(event), NUMBERS)
    assert entry.invalid is not None
    assert phone not in entry.invalid
    after = evolve(customer, entry)
    assert (after.phone_hash, after.name) == (NUMBERS.hash(PHONE), "b")


def test_R1_every_spelling_at_the_crm_is_one_hash() -> None:
    for spelling in (
        "13800138000",
        "+86 138-0013-8000",
        "0086 13800138000",
        "１３８００１３８０００",
    ):
        customer, _ = live(change(phone=spelling))
        assert customer.phone_hash == NUMBERS.hash("+8613800138000")


def test_K4_the_longest_profile_and_request_fit_into_what_dispatch_takes() -> None:
    wide, control = "\U0001f4a1" * 500, "\u0001\n" * 500
    customer, _ = live(
        *(change(name=text, level=text, tags=[f"{n}{text}" for n in range(64)],
                 attributes={f"a{n:039}": text[:60] for n in range(64)})
          for text in (control, wide)),
        *(turn(intent=wide, emotion=wide, slots={"promise": f"{n}{wide}"}) for n in range(20)),
        *(listed("opted_out", scope="campaign", campaign_id=f"{n}" * 36) for n in range(40)),
        *(change(campaign_id=f"{n:02}{wide[:126]}", attributes={"consent": wide}, occurred_at=9_999)
          for n in range(40)),
        *(turn(call_id=f"{n:036}", meaning="promise_to_pay", occurred_at=1_700_000_000_000 + n,
               slots={"promise_to_pay": "2026-03-25", "amount": "9" * 9}) for n in range(40)),
        *(change(kind=kind, record_id=f"{n}{wide}", status=wide, occurred_at=n)
          for n in range(40) for kind in ("order", "payment")),
    )  # fmt: skip
    assert len(customer.pledges) == len(customer.payments) == len(customer.orders) == 8
    room = MAX_REQUEST_BYTES - 900
    _, out = live(asked(idempotency_key="k" * room), customer=customer)
    (forwarded,) = [e for _, e in out if isinstance(e, DispatchInbox)]
    parsed = parse_dispatch(forwarded, NUMBERS)
    assert isinstance(parsed, Request)
    assert not any("\u0001" in text for text in (parsed.profile.level, *parsed.profile.tags))
    with pytest.raises(Poison, match="a request of"):
        list(copies("tasks.requested", asked(idempotency_key="k" * MAX_REQUEST_BYTES)))


def test_K4_sixty_four_tags_of_128_characters_are_cut() -> None:
    customer, _ = live(change(tags=[f"{n:02}" + "x" * 126 for n in range(64)]))
    assert 16 <= len(customer.source_tags) <= MAX_TAGS


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
        envelope(kind="deleted", source="crm")), customer=customer)  # fmt: skip
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
        envelope(kind="request", source_topic=source_topic, body=body, customer_id=customer)
    )
    with pytest.raises(Poison):
        parse(record, NUMBERS)


def test_the_router_copies_what_concerns_a_customer() -> None:
    assert list(copies("calls.events", ended())) != []
    answered = CallEvent.model_validate(envelope(kind="answered", call_id="x"))
    assert list(copies("calls.events", answered)) == []
    assert list(copies("dialogue.turns", turn(customer_id=None))) == []
    with pytest.raises(Poison):
        list(copies("tasks.requested", asked(customer_id=None)))
    event = turn()
    first, second = (list(copies("dialogue.turns", event)) for _ in range(2))
    assert first == second


EVENTS = st.one_of(
    st.builds(
        listed,
        st.sampled_from(["opted_out", "opted_in"]),
        scope=st.sampled_from(["global", "tenant", "campaign"]),
        campaign_id=st.sampled_from(["k", None]),
    ),
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
        record = parse(inbox(event), NUMBERS)
        before, plain = plain, evolve(plain, record)
        said += decide(before, plain, record)
        assert plain.version - before.version in (0, 1)
    rough, again = Customer(), list[Output]()
    for event in events:
        record = parse(inbox(event), NUMBERS)
        for _ in range(data.draw(st.integers(1, 2))):
            before, rough = rough, evolve(rough, record)
            again += decide(before, rough, record)
        rough = from_text(to_text(rough))
    assert rough == plain
    assert again == said
    assert len({e.event_id for _, e in said}) == len(said)


def test_the_law_is_told_when_they_last_talked_and_last_refused() -> None:
    refused = turn(intent="no", meaning="reject", occurred_at=5_000)
    customer, out = live(asked(), turn(), refused, ended(occurred_at=9_000))
    profile = [event for name, event in out if name == "customers.profiles"][-1]
    assert isinstance(profile, Profile)
    assert profile.attributes == {"refused_at": "5000", "talked_at": "9000"}
    assert from_text(to_text(customer)) == customer
    silent, _ = live(asked(), ended(occurred_at=9_000, disposition="no_answer"))
    assert silent.talked_at is None


def test_a_customer_who_calls_us_is_known_to_the_robot_by_their_newest_profile() -> None:
    customer, _ = live(change(name="李雷", level="vip"))

    def came() -> CallEvent:
        return ended(kind="answered", direction="inbound", call_id="in-1", disposition=None)

    customer, out = live(came(), customer=customer)
    assert topics(out) == ["calls.events"]
    told = out[0][1]
    assert isinstance(told, CallEvent)
    assert (told.kind, told.call_id, told.profile_version) == ("profile_changed", "in-1", 1)
    assert json.loads(told.profile or "")["level"] == "vip"
    _, out = live(change(level="gold"), customer=customer)
    assert "calls.events" in topics(out), "a change during the call reaches it"
    customer, _ = live(ended("in-1"), customer=customer)
    assert live(came(), customer=customer)[1] == [], "after its end nobody is told"


@pytest.mark.parametrize("direction", ["outbound", "foreign", None])
def test_the_answer_of_a_call_that_we_or_others_placed_concerns_no_profile(
    direction: str | None,
) -> None:
    answered = ended(kind="answered", direction=direction, disposition=None)
    assert list(copies("calls.events", answered)) == []
