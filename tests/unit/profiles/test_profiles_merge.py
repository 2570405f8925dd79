"""Two customers who are one person: one profile, and both ids lead to it."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.envelope import Event
from schemas.events import DispatchInbox, OptOut, Profile, ProfileInbox
from schemas.wire import Poison
from streams.dispatch.inputs import ProfileChanged, Request
from streams.dispatch.inputs import parse as parse_dispatch
from streams.profiles.fold import Output, decide, evolve, parse
from streams.profiles.state import Customer, from_text, to_text
from tests.unit.dispatch.build import Desk, request, robot
from tests.unit.profiles.build import NUMBERS, PHONE, asked, change, ended, envelope, inbox, turn
from tests.unit.profiles.test_profiles_ledger import DAY, DUE, MONDAY, paid, promise

OTHER = "+8613999999999"


@dataclass
class Town:
    """Rows by customer, and an inbox that what follows from a record comes back to."""

    rows: dict[str, Customer] = field(default_factory=dict)
    said: list[Output] = field(default_factory=list)
    log: list[ProfileInbox] = field(default_factory=list)
    waiting: deque[ProfileInbox] = field(default_factory=deque)

    def tell(self, *events: Event) -> list[Output]:
        """What follows from the events and from all that comes back."""
        before = len(self.said)
        for event in events:
            self.waiting.append(inbox(event))
            self.settle()
        return self.said[before:]

    def settle(self) -> None:
        while self.waiting:
            self.work(self.waiting.popleft())

    def work(self, record: ProfileInbox) -> None:
        self.log.append(record)
        assert len(self.log) < 500, "a record goes round"
        given = parse(record, NUMBERS)
        before = self.rows.get(given.customer_id, Customer())
        after = evolve(before, given)
        out = decide(before, after, given)
        self.rows[given.customer_id] = from_text(to_text(after))
        self.said += out
        self.waiting += [event for _, event in out if isinstance(event, ProfileInbox)]

    def profile(self, customer_id: str) -> Profile:
        """The newest one, by way of merges, as the API finds it."""
        newest = {e.customer_id: e for _, e in self.said if isinstance(e, Profile)}
        found = newest[customer_id]
        return found if found.merged_into is None else self.profile(found.merged_into)


def merge(old: str, into: str, **values: Any) -> Event:
    return change(kind="merged", customer_id=old, merged_into=into, **values)


def test_a_merged_customer_is_one_profile_under_both_ids() -> None:
    town = Town()
    town.tell(
        change(customer_id="a", occurred_at=5, name="李雷", level="vip", attributes={"zone": "x"}),
        change(customer_id="b", occurred_at=9, level="gold", tags=["t"]),
        turn(customer_id="a", call_id="1", intent="hm", occurred_at=10),
        ended("1", customer_id="a"), ended("2", customer_id="b"),
        merge("a", "b", occurred_at=20),
    )  # fmt: skip
    profile = town.profile("a")
    assert profile == town.profile("b")
    assert (profile.customer_id, profile.absorbed) == ("b", ["a"])
    assert (profile.name, profile.level, profile.last_intent) == ("李雷", "gold", "hm")
    assert (profile.calls, profile.attributes["zone"]) == (2, "x")
    assert town.rows["a"].facts() == Customer(merged_into="b").facts(), "nothing stays behind"
    # What comes to the old id goes on, and what is older than the merge still counts for little.
    town.tell(
        change(customer_id="a", occurred_at=30, name="韩梅梅"),
        change(customer_id="a", occurred_at=7, level="old"), ended("3", customer_id="a"),
    )  # fmt: skip
    profile = town.profile("a")
    assert (profile.name, profile.level, profile.calls) == ("韩梅梅", "gold", 3)
    # A CRM deletes the row that it has merged: that is nobody gone.
    town.tell(change(kind="deleted", customer_id="a", occurred_at=40))
    assert town.profile("a").name == "韩梅梅"
    town.tell(change(kind="deleted", customer_id="b", occurred_at=41))
    assert town.profile("a").name is None


def test_the_opt_out_of_either_bars_the_numbers_of_both() -> None:
    for barred in "ab":
        town = Town()
        town.tell(
            asked(customer_id="a", phone=PHONE), asked(customer_id="b", phone=OTHER),
            turn(customer_id=barred, meaning="opt_out"), merge("a", "b"),
        )  # fmt: skip
        listed = {e.phone_hash for _, e in town.said if isinstance(e, OptOut)}
        assert listed == {NUMBERS.hash(PHONE), NUMBERS.hash(OTHER)}
        assert town.profile("a").opted_out


def test_an_opt_out_that_a_merge_brings_says_so() -> None:
    town = Town()
    town.tell(
        asked(customer_id="b", phone=OTHER),
        change(customer_id="a", phone=PHONE, attributes={"opted_out": "true"}),
    )
    barred = [e for _, e in town.tell(merge("a", "b")) if isinstance(e, OptOut)]
    assert [(e.reason, e.source, e.actor) for e in barred] == [
        ("opted out as customer a", "profiles", None)
    ] * 2


def test_a_promise_stays_kept_when_the_payments_of_both_are_too_many() -> None:
    for old, into in ("ab", "ba"):
        town = Town()
        town.tell(
            promise(customer_id="a"), paid("1", MONDAY + 1, customer_id="a"),
            *(paid(f"x{n}", DUE + DAY + n, 1, customer_id="b") for n in range(8)),
            merge(old, into), asked(customer_id=into, occurred_at=DUE + 2 * DAY),
        )  # fmt: skip
        profile = town.profile("a")
        assert "1" not in {p.record_id for p in profile.payments}
        assert [p.state for p in profile.payment_promises] == ["kept"]


@pytest.mark.parametrize(("merged_at", "name"), [(20, None), (40, "x")])
def test_a_deletion_that_overtakes_the_merge_before_it_forgets_both(
    merged_at: int, name: str | None
) -> None:
    town = Town()
    town.tell(change(customer_id="a", name="x", attributes={"k": "v"}, occurred_at=5))
    town.work(inbox(merge("a", "b", occurred_at=merged_at)))
    town.work(inbox(change(kind="deleted", customer_id="b", occurred_at=30)))
    town.settle()
    profile = town.profile("a")
    assert (profile.customer_id, profile.name) == ("b", name)
    assert profile.attributes == ({"k": "v"} if name else {})


def test_merges_do_not_pile_up_the_times_of_emptied_attributes() -> None:
    town = Town()
    for customer_id in "abc":
        cleared = [f"{customer_id}{n}" for n in range(16)]
        town.tell(change(customer_id=customer_id, cleared=cleared))
    town.tell(merge("a", "c"), merge("b", "c"))
    assert len(town.rows["c"].told) == 16


def test_two_who_are_merged_into_each_other_at_once_become_the_first() -> None:
    town = Town()
    town.tell(change(customer_id="a", name="x"), change(customer_id="b", tags=["t"]))
    town.waiting += [inbox(merge("a", "b")), inbox(merge("b", "a"))]
    town.settle()
    profile = town.profile("b")
    assert (profile.customer_id, profile.absorbed) == ("a", ["b"])
    assert (profile.name, "t" in profile.tags) == ("x", True)


def test_queued_tasks_of_both_go_on_with_the_merged_profile() -> None:
    desk, town = Desk(), Town()
    desk.open(robot("r1", slots=1))
    desk.give(request("t0"))  # takes the only robot: the others wait

    def to_dispatch(out: list[Output]) -> None:
        for _, event in out:
            if isinstance(event, DispatchInbox):
                parsed = parse_dispatch(event, NUMBERS)
                assert isinstance(parsed, Request | ProfileChanged)
                desk.give(parsed)

    to_dispatch(town.tell(
        *(change(customer_id="a", purchases=n) for n in range(1, 5)),
        asked(customer_id="a", task_id="t1", phone=PHONE),
        asked(customer_id="b", task_id="t2", phone=OTHER),
    ))  # fmt: skip
    to_dispatch(town.tell(merge("a", "b")))
    tasks = {t: task for t, task in desk.pool.tasks.items() if t != "t0"}
    assert {t: tasks[t].profile_version for t in tasks} == dict.fromkeys(("t1", "t2"), 6)
    to_dispatch(town.tell(change(customer_id="b", level="vip")))
    assert {orjson.loads(t.profile)["level"] for t in tasks.values()} == {"vip"}
    # A new request for the old id is one for the merged customer.
    to_dispatch(town.tell(asked(customer_id="a", task_id="t3", phone=PHONE)))
    assert orjson.loads(desk.pool.tasks["t3"].profile)["level"] == "vip"


def test_a_running_call_of_the_old_id_hears_of_the_merge_and_of_later_changes() -> None:
    town = Town()
    out = town.tell(turn(customer_id="a", call_id="1"), merge("a", "b"))
    out += town.tell(change(customer_id="b", level="vip"))
    told = [e for name, e in out if name == "calls.events"]
    assert [(e.call_id, e.customer_id) for e in told] == [("1", "a"), ("1", "a")]


def test_chains_of_merges_lead_to_the_last() -> None:
    town = Town()
    town.tell(*(change(customer_id=c, purchases=1, attributes={c: "1"}) for c in "abc"))
    town.tell(merge("a", "b"), merge("b", "c"), merge("a", "c"), merge("b", "c"))
    profile = town.profile("a")
    assert (profile.customer_id, sorted(profile.absorbed)) == ("c", ["a", "b"])
    assert profile.attributes == {"a": "1", "b": "1", "c": "1"}
    version = profile.version
    town.tell(merge("c", "a"), merge("c", "c"))
    assert (town.profile("a").version, town.profile("a").customer_id) == (version, "c")


def test_an_unreadable_state_is_poison() -> None:
    for body in ("", "[]", '{"customer_id":"a"}', '{"customer_id":"a","known":"{}x"}',
                 '{"customer_id":"a","known":"{\\"unheard\\":1}"}'):  # fmt: skip
        record = ProfileInbox.model_validate(
            envelope(kind="absorbed", source_topic="profiles.inbox", body=body)
        )
        with pytest.raises(Poison):
            parse(record, NUMBERS)


STEPS = st.one_of(
    st.tuples(st.just("merge"), st.sampled_from("abcd"), st.sampled_from("abcd")),
    st.tuples(st.just("tell"), st.sampled_from("abcd"), st.just("")),
    st.tuples(st.just("work"), st.integers(0, 9), st.just("")),
)


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(STEPS, max_size=14))
def test_whatever_is_merged_and_whenever_it_arrives_nothing_is_lost_or_goes_round(
    steps: list[tuple[str, Any, str]],
) -> None:
    """Each customer's inbox is in order; between two customers, anything goes."""
    town, told = Town(), 0
    for what, first, second in steps:
        if what == "merge":
            town.waiting.append(inbox(merge(first, second, occurred_at=5)))
        elif what == "tell":
            told += 1
            town.waiting.append(inbox(ended(f"call-{told}", customer_id=first)))
        elif town.waiting:
            chosen = town.waiting[first % len(town.waiting)].customer_id
            record = next(r for r in town.waiting if r.customer_id == chosen)
            town.waiting.remove(record)
            town.work(record)
    town.settle()
    rows = town.rows.values()
    assert sum(row.calls for row in rows) == told
    assert all(row.calls == 0 for row in rows if row.merged_into is not None)
    for customer_id in {e.customer_id or "" for _, e in town.said if isinstance(e, Profile)}:
        town.profile(customer_id)
    refolded: dict[str, Customer] = {}
    for record in town.log:
        given_ = parse(record, NUMBERS)
        refolded[given_.customer_id] = evolve(refolded.get(given_.customer_id, Customer()), given_)
    assert refolded == town.rows
