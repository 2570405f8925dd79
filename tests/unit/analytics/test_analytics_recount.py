"""The recount that the job is judged by."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import IntentWindow, Turn
from schemas.ids import root_id, window_id
from streams.analytics import records
from streams.analytics.recount import Count, Window, event_id_of, latest, recount


def turn(n: int, at_ms: int, call: str = "c", **changes: object) -> Turn:
    fields: dict[str, object] = {
        "event_id": root_id(n),
        "occurred_at": at_ms,
        "producer": "test",
        "campaign_id": "spring",
        "call_id": call,
        "input_kind": "final",
        "input_event_id": "x",
        "intent": "yes",
        "node": "n",
    }
    return Turn.model_validate(fields | changes)


def test_windows_are_aligned_and_half_open() -> None:
    turns = [turn(1, 9_999), turn(2, 10_000), turn(3, 59_999), turn(4, 60_000)]

    counts = recount(turns)

    tens = {w.start_ms: c.turns for w, c in counts.items() if w.size_s == 10}
    minutes = {w.start_ms: c.turns for w, c in counts.items() if w.size_s == 60}
    assert tens == {0: 1, 10_000: 1, 50_000: 1, 60_000: 1}
    assert minutes == {0: 3, 60_000: 1}


def test_the_first_record_of_an_id_counts_even_if_it_is_none_that_is_counted() -> None:
    turns = [turn(1, 0, input_kind="dtmf"), turn(1, 0), turn(2, 0, "a"), turn(2, 0, "b")]

    assert recount(turns, [10]) == {Window("default", "spring", "yes", 10, 0): Count(1, 1)}


def test_only_finals_with_an_intent_count() -> None:
    assert recount([turn(1, 0, input_kind="silence"), turn(2, 0, intent="")]) == {}


def test_calls_are_counted_once_each() -> None:
    turns = [turn(1, 0, "a"), turn(2, 1, "a"), turn(3, 2, "b")]

    assert recount(turns, [10]) == {Window("default", "spring", "yes", 10, 0): Count(3, 2)}


def test_tenants_campaigns_and_intents_are_apart() -> None:
    turns = [
        turn(1, 0),
        turn(2, 0, tenant_id="acme"),
        turn(3, 0, campaign_id=None),
        turn(4, 0, intent="no"),
    ]

    assert all(c == Count(1, 1) for c in recount(turns, [10]).values())
    assert len(recount(turns, [10])) == 4


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 200_000)), unique_by=lambda t: t[0]),
    st.randoms(use_true_random=False),
)
def test_order_does_not_matter_where_ids_are_unique(
    made: list[tuple[int, int]], chance: random.Random
) -> None:
    turns = [turn(n, at_ms, f"call-{n % 3}") for n, at_ms in made]
    shuffled = turns[:]
    chance.shuffle(shuffled)

    assert recount(shuffled) == recount(turns)
    assert sum(c.turns for w, c in recount(turns).items() if w.size_s == 60) == len(turns)


def test_the_highest_revision_counts_and_of_one_revision_the_first() -> None:
    def event(revision: int, count: int) -> IntentWindow:
        return records.intent_window(
            root_id(revision), "default", "spring", "yes", 10, 0, count, 1, revision
        )

    events = [event(0, 1), event(2, 3), event(1, 2), event(2, 99)]

    (chosen,) = latest(events).values()

    assert (chosen.revision, chosen.count) == (2, 3)


def test_ids_name_tenant_job_and_window() -> None:
    window = Window("acme", "spring", "yes", 60, 120_000)

    assert event_id_of(window, 4) == window_id(
        "acme/intent_windows", "spring", "yes", 60, 120_000, 4
    )
