"""Which calls are due, and which offset may be committed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringlog.audio.recording import MAX_CALL_MS
from streams.archive.ledger import GRACE_MS, NEVER_ENDED_MS, SETTLE_MS, Ledger, Open, choose

T = 1_760_000_000_000


def test_a_call_is_due_a_little_after_its_end_by_our_clock() -> None:
    ledger = Ledger(0)
    ledger.see(0, T, "a", "dialing", T, T + 5)
    ledger.see(1, T + 9_000, "a", "answered", T, T + 9_005)
    assert ledger.due(T + 100_000) == []
    ledger.see(2, T - 7_000_000, "a", "ended", T, T + 20_000)  # a producer whose clock is wrong
    assert ledger.due(T + 20_000 + SETTLE_MS - 1) == []
    (call,) = ledger.due(T + 20_000 + SETTLE_MS)
    assert call.answered
    assert not call.given_up(T + 20_000 + GRACE_MS - 1)
    assert call.given_up(T + 20_000 + GRACE_MS)
    ledger.see(3, T + 30_000, "a", "ended", T, T + 90_000)  # the first one counts
    assert ledger.due(T + 20_000 + SETTLE_MS) == [call]


def test_a_call_that_nobody_ends_is_due_at_last() -> None:
    ledger = Ledger(0)
    ledger.see(0, T, "a", "dialing", T, T)
    assert ledger.due(T + NEVER_ENDED_MS - 1) == []
    (call,) = ledger.due(T + NEVER_ENDED_MS)
    assert call.given_up(T + NEVER_ENDED_MS)


def test_what_is_done_stays_done() -> None:
    ledger = Ledger(0)
    ledger.know("before", T)
    ledger.see(5, T, "before", "ended", T, T)
    ledger.see(6, T, "a", "ended", T, T)
    (call,) = ledger.due(T + SETTLE_MS)
    assert call.call_id == "a"
    ledger.done(call)
    ledger.see(7, T + 1, "a", "ended", T, T)
    assert ledger.due(T + 10**9) == []
    assert ledger.safe(8) == 8
    ledger.forget(T + 1)
    ledger.see(8, T + 2, "before", "ended", T, T)
    assert [c.call_id for c in ledger.due(T + 10**9)] == ["before"]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_crash_at_any_moment_forgets_no_call(data: st.DataObject) -> None:
    """Whatever was committed, a new ledger that reads on from there finds every call that was not
    archived, and no other."""
    calls = data.draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=30))
    kinds = data.draw(
        st.lists(st.sampled_from(["dialing", "ended"]), min_size=len(calls), max_size=len(calls))
    )
    log = list(zip(calls, kinds, strict=True))
    ledger = Ledger(0)
    done: set[str] = set()
    for offset, (call_id, kind) in enumerate(log):
        ledger.see(offset, T + offset, call_id, kind, T, T)
        for call in ledger.due(T + SETTLE_MS):
            if data.draw(st.booleans()):
                ledger.done(call)
                done.add(call.call_id)
    committed = ledger.safe(len(log))
    after = Ledger(0)
    for call_id, _ in log[:committed]:
        after.know(call_id, T)
    for offset, (call_id, kind) in enumerate(log[committed:], committed):
        after.see(offset, T + offset, call_id, kind, T, T)
    again = {call.call_id for call in after.due(T + SETTLE_MS)}
    ended = {call_id for call_id, kind in log if kind == "ended"}
    assert ended - done <= again
    first = {call_id: calls.index(call_id) for call_id in set(calls)}
    assert all(first[call_id] >= committed for call_id in again)


def opened(call_id: str, first_ms: int, length_ms: int) -> Open:
    return Open(call_id, 0, 0, first_ms, first_ms, ended_ms=first_ms + length_ms)


def test_the_oldest_calls_are_read_together_within_a_bound() -> None:
    due = [opened("new", T + 50_000, 1_000), opened("long", T, 3_600_000),
           opened("old", T - 9_000, 1_000)]  # fmt: skip
    assert [c.call_id for c in choose(due, 10**9)] == ["old", "long", "new"]
    assert [c.call_id for c in choose(due, 1_000_000)] == ["old"]
    assert [c.call_id for c in choose(due[1:2], 1)] == ["long"]
    assert choose([], 1) == []


@pytest.mark.parametrize("length_ms", [-5_000, 10**15])
def test_absurd_times_do_not_matter(length_ms: int) -> None:
    assert 0 <= opened("a", T, length_ms).bytes <= MAX_CALL_MS * 16
