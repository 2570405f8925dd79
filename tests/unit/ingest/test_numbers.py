"""Whom the edge may dial: the do-not-call list by line and scope, and one call at a time."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.call.numbers import LONGEST_MS, NumbersInCalls
from schemas.donotcall import DoNotCall
from schemas.events import OptOut
from schemas.phone import Numbers

NUMBERS = Numbers("CN", b"k" * 32)
PHONE = "+8613800000007"


def wish(kind: str = "opted_out", text: str = PHONE, **fields: Any) -> OptOut:
    event = OptOut.model_validate(
        {
            "event_id": "0" * 36, "kind": kind, "occurred_at": 1, "producer": "test",
            "tenant_id": "acme", "campaign_id": fields.pop("campaign_id", None),
            "phone_hash": fields.pop("phone_hash", None) or NUMBERS.hash(text), "reason": "x",
        }
    )  # fmt: skip
    return event.model_copy(update=fields)


def bars(listed: DoNotCall, tenant: str = "acme", campaign: str | None = "spring") -> bool:
    return listed.barred(NUMBERS.hashes(PHONE), tenant, campaign)


def test_the_list_is_a_fold() -> None:
    listed = DoNotCall()
    for event in (wish(), wish(text="+8613800000008"), wish("opted_in")):
        listed.evolve(event)
    assert not bars(listed) and len(listed) == 1
    assert listed.barred(NUMBERS.hashes("138 0000 0008"), "acme", None)


@pytest.mark.parametrize(
    "text",
    ["13800000007", "+86 138 0000 0007", "0086-138-0000-0007", "８６１３８０００００００７",
     "tel:+8613800000007", "(138) 0000 0007"],
)  # fmt: skip
def test_every_spelling_is_the_same_line(text: str) -> None:
    """The field reports' spellings of one number reach the same opt-out."""
    listed = DoNotCall()
    listed.evolve(wish())
    assert listed.barred(NUMBERS.hashes(text), "acme", None)


def test_an_opt_out_of_an_old_log_still_protects() -> None:
    for old in NUMBERS.hashes(PHONE):
        listed = DoNotCall()
        listed.evolve(wish(phone_hash=old))
        assert bars(listed)


@pytest.mark.parametrize(
    ("scope", "tenant", "campaign", "barred"),
    [
        ("global", "other", "autumn", True),
        ("tenant", "acme", None, True),
        ("tenant", "other", "spring", False),
        ("campaign", "acme", "spring", True),
        ("campaign", "acme", "autumn", False),
        ("campaign", "acme", None, False),
    ],
)
def test_an_opt_out_holds_in_its_scope(
    scope: str, tenant: str, campaign: str | None, barred: bool
) -> None:
    listed = DoNotCall()
    listed.evolve(wish(scope=scope, campaign_id="spring"))
    assert bars(listed, tenant, campaign) == barred
    listed.evolve(wish("opted_in", scope=scope, campaign_id="spring"))
    assert not bars(listed, tenant, campaign) and len(listed) == 0


def test_an_undo_takes_back_its_own_scope_only() -> None:
    listed = DoNotCall()
    listed.evolve(wish(scope="tenant"))
    listed.evolve(wish(scope="global"))
    listed.evolve(wish("opted_in", scope="global"))
    assert bars(listed) and not bars(listed, "other")


def test_a_number_is_in_one_call_at_a_time() -> None:
    numbers = NumbersInCalls()
    assert numbers.claim("h", "a", 0)
    assert numbers.claim("h", "a", 5)  # the second look of the same call
    assert not numbers.claim("h", "b", 5) and numbers.claim("other", "b", 5)
    numbers.ended("a")
    numbers.ended("a")
    assert numbers.claim("h", "c", 6)


def test_a_call_of_another_edge_counts_until_its_end() -> None:
    numbers = NumbersInCalls()
    numbers.began("h", "far", 1000)
    assert not numbers.claim("h", "here", 2000)
    numbers.ended("far")
    assert numbers.claim("h", "here", 2000)


def test_a_call_whose_end_was_lost_does_not_bar_for_ever() -> None:
    numbers = NumbersInCalls()
    numbers.began("h", "lost", 0)
    assert not numbers.claim("h", "b", LONGEST_MS)
    assert numbers.claim("h", "b", LONGEST_MS + 1)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.booleans())))
def test_no_two_calls_ever_hold_one_number(steps: list[tuple[str, str, bool]]) -> None:
    numbers = NumbersInCalls()
    holder: dict[str, str] = {}
    for phone_hash, letter, ends in steps:
        call_id = f"{letter}-{phone_hash}"  # a call has one number
        if ends:
            numbers.ended(call_id)
            holder = {h: c for h, c in holder.items() if c != call_id}
        else:
            free = numbers.claim(phone_hash, call_id, 0)
            assert free == (holder.get(phone_hash, call_id) == call_id)
            if free:
                holder[phone_hash] = call_id
    assert len(numbers) == len(holder)
