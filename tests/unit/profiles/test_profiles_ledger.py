"""Orders, payments and promises to pay: what of them a profile shows."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.envelope import Event
from schemas.events import CallEvent, CustomerChange, DispatchInbox, Profile, Turn
from streams.profiles.state import Customer, from_text, to_text
from tests.unit.profiles.build import asked, change, live, turn

HOUR, DAY = 3_600_000, 86_400_000
MONDAY = round(datetime(2026, 3, 23, 2, tzinfo=UTC).timestamp() * 1000)
"""2026-03-23, ten in the morning in China."""

DUE = round(datetime(2026, 3, 25, 16, tzinfo=UTC).timestamp() * 1000) - 1
"""The end of 2026-03-25 there."""


def promise(at: int = MONDAY, day: str = "2026-03-25 15:00", amount: str = "800", **v: Any) -> Turn:
    slots = {"promise_to_pay": day, "date": day[:10]} | ({"amount": amount} if amount else {})
    return turn(meaning="promise_to_pay", slots=slots, occurred_at=at, **{"call_id": f"c{at}"} | v)


def paid(record: str, at: int, fen: int | None = 80_000, **values: Any) -> CustomerChange:
    return change(
        **{
            "kind": "payment", "source": "erp", "record_id": record, "amount_minor": fen,
            "currency": "CNY", "made_at": at, "occurred_at": at, **values,
        }
    )  # fmt: skip


def newest(*events: Event) -> Profile:
    """The profile after these events, as a request of the far end of time carries it."""
    customer, out = live(*events)
    assert from_text(to_text(customer)) == customer
    (profile,) = [e for _, e in out if isinstance(e, Profile)]
    return profile


def states(*events: Event, at: int = MONDAY) -> list[str]:
    customer, _ = live(*events, asked(occurred_at=at))
    return [state for _, state in customer.promised]


def test_a_promise_has_its_amount_and_the_end_of_its_day_where_the_customer_is() -> None:
    (found,) = newest(promise()).payment_promises
    assert (found.amount_minor, found.due_at, found.state) == (80_000, DUE, "open")
    (there,) = newest(promise(), change(attributes={"zone": "Europe/Paris"})).payment_promises
    assert there.due_at - DUE == 7 * HOUR
    for broken in ("", "tomorrow", "0000-01-01", "2200-01-01"):
        assert newest(promise(day=broken, intent="p")).payment_promises == []
    assert newest(turn(meaning="affirm", intent="y", slots={"promise_to_pay": "2026-03-25"})
                  ).payment_promises == []  # fmt: skip


@pytest.mark.parametrize(
    ("payments", "at", "state"),
    [
        ([], MONDAY, "open"),
        ([], DUE, "open"),
        ([], DUE + 1, "broken"),
        ([paid("1", DUE)], DUE + DAY, "kept"),
        ([paid("1", DUE + 1)], DUE + DAY, "broken"),
        ([paid("1", MONDAY - 1)], MONDAY, "open"),
        ([paid("1", MONDAY + HOUR, 79_999)], MONDAY + DAY, "open"),
        ([paid("1", MONDAY + HOUR, 40_000), paid("2", DUE, 40_000)], DUE, "kept"),
        ([paid("1", DUE, currency="USD")], DUE + DAY, "broken"),
        ([paid("1", DUE), paid("1", DUE, status="void", occurred_at=DUE + 9)], DUE + DAY, "broken"),
        ([paid("1", DUE), paid("1", DUE, 5, occurred_at=DUE + 9)], DUE + DAY, "broken"),
    ],
)
def test_payments_keep_a_promise_or_it_is_broken(
    payments: list[CustomerChange], at: int, state: str
) -> None:
    assert states(promise(), *payments, at=at) == [state]
    assert states(*reversed(payments), promise(), at=at) == [state], "in any order"


@pytest.mark.parametrize("amount", ["800", ""])
def test_a_promise_stays_kept_when_newer_payments_crowd_out_those_that_kept_it(amount: str) -> None:
    halves = [paid("1", MONDAY + 1, 40_000), paid("2", MONDAY + 2, 40_000)]
    later = [paid(f"x{n}", DUE + DAY + n, 1) for n in range(12)]
    assert states(promise(amount=amount), *halves, *later, at=DUE + 2 * DAY) == ["kept"]
    void = paid("1", MONDAY + 1, 40_000, status="void")
    dear = promise(amount="801")
    assert states(dear, void, *halves[1:], *later, at=DUE + 2 * DAY) == ["broken"]
    # What is told again after it was crowded out does not count twice.
    again = [paid("1", MONDAY + 1, 40_000, occurred_at=DUE + 3 * DAY)] * 3
    assert states(dear, *halves, *later, *again, at=DUE + 4 * DAY) == ["broken"]


def test_many_small_payments_keep_a_promise_together() -> None:
    small = [paid(f"{n}", MONDAY + n, 5_000) for n in range(16)]
    assert states(promise(), *small, at=DUE + 1) == ["kept"]
    assert states(promise(), *small[1:], at=DUE + 1) == ["broken"]


def test_any_payment_keeps_a_promise_without_an_amount() -> None:
    assert states(promise(amount=""), paid("1", MONDAY + 1, 1)) == ["kept"]
    assert states(promise(amount=""), paid("1", MONDAY + 1, 0)) == ["open"]
    assert states(promise(amount=""), paid("1", MONDAY + 1, None)) == ["open"]


def test_a_new_promise_replaces_one_that_is_open() -> None:
    later = promise(MONDAY + DAY, day="2026-03-30")
    assert states(promise(), later, at=DUE + 1) == ["replaced", "open"]
    assert states(promise(), paid("1", MONDAY + HOUR), later, at=DUE + 1) == ["kept", "open"]
    again = promise(DUE + DAY, day="2026-03-30")
    assert states(promise(), again, at=DUE + 2 * DAY) == ["broken", "open"]
    # Of one call the last word counts.
    said = (
        promise(MONDAY, amount="800", call_id="c"),
        promise(MONDAY + 9, amount="500", call_id="c"),
    )
    customer, _ = live(*said)
    assert [p.amount_minor for p in customer.pledges] == [50_000]


def test_playbooks_see_it_in_tags() -> None:
    assert "promise_open" in newest(promise()).tags
    kept = newest(promise(), paid("1", MONDAY + 1))
    assert {"promise_kept", "just_paid"} <= set(kept.tags)
    customer, out = live(promise(), paid("1", MONDAY + 1), asked(occurred_at=MONDAY + 2 * DAY))
    assert "just_paid" not in customer.tags and "promise_kept" in customer.tags
    broken = newest(promise(), asked(occurred_at=DUE + 1))
    assert "promise_broken" in broken.tags, "the request that follows brings it"


def test_other_tasks_hear_of_a_promise_that_a_later_request_finds_broken() -> None:
    customer, _ = live(asked(task_id="t1", occurred_at=MONDAY), promise())
    _, out = live(asked(task_id="t2", occurred_at=DUE + 1), customer=customer)
    told = [(e.kind, '"broken"' in (e.body or "")) for _, e in out if isinstance(e, DispatchInbox)]
    assert told == [("profile", True), ("request", True)]


def test_a_payment_reaches_the_call_that_the_debtor_is_on() -> None:
    _, out = live(promise(call_id="call-1"), paid("1", MONDAY + 1))
    (news,) = [e for _, e in out if isinstance(e, CallEvent)]
    assert (news.kind, news.call_id) == ("profile_changed", "call-1")
    assert '"just_paid"' in (news.profile or "") and '"state":"kept"' in (news.profile or "")


def test_an_order_has_its_amount_dates_and_state() -> None:
    order = change(
        kind="order", source="erp", record_id="o1", amount_minor=129_900, currency="cny",
        made_at=5, due_at=9, status="shipped", level="vip",
    )  # fmt: skip
    profile = newest(order)
    (found,) = profile.orders
    assert (found.amount_minor, found.currency, found.made_at, found.due_at, found.status) == (
        129_900, "CNY", 5, 9, "shipped",
    )  # fmt: skip
    assert profile.level == "vip", "an order's row may tell of its customer, too"
    assert newest(change(kind="order", name="a")).orders == [], "one without an id is none"
    many, _ = live(*(paid(f"{n}", MONDAY + n) for n in range(50)))
    assert [p.record_id for p in many.payments] == [f"{n}" for n in range(42, 50)]


LEDGER = st.lists(
    st.one_of(
        st.builds(
            lambda record, at, fen, status, told: paid(
                record, MONDAY + at * HOUR, fen, status=status, occurred_at=MONDAY + told
            ),
            st.sampled_from("xyz"), st.integers(0, 90), st.integers(0, 90_000),
            st.sampled_from([None, "void"]), st.integers(0, 10**9),
        ),
        st.builds(
            lambda at, amount: promise(MONDAY + at * HOUR, amount=amount),
            st.integers(0, 90), st.sampled_from(["", "1", "800"]),
        ),
    ),
    max_size=7,
    unique_by=lambda e: e.occurred_at,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(events=LEDGER, data=st.data())
def test_any_order_of_payments_and_promises_gives_the_same(
    events: list[Event], data: st.DataObject
) -> None:
    in_order, _ = live(*events)
    shuffled, _ = live(*data.draw(st.permutations(events)))

    def told(customer: Customer) -> tuple[Any, ...]:
        return customer.payments, customer.pledges, customer.promised, customer.tags

    assert told(shuffled) == told(in_order)
