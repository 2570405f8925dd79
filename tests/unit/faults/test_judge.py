"""What people noticed of a fault, and what they would have noticed anyway."""

from collections import Counter

from demo.measure import SpokenLine
from schemas import ids
from schemas.events import TaskEvent
from tests.faults.judge import Answer, Done, late_ms, turns_taken, unanswered, unfair


def answer(said_ms: int, directive_ms: int | None) -> Answer:
    return Answer(SpokenLine("c", "你好", "greet", said_ms), directive_ms)


KILL = Done(10_000, 10_500, "killed asr", "asr")


def test_an_answer_is_late_by_what_came_after_the_fault_and_the_words() -> None:
    assert late_ms([answer(9_000, 10_800)], KILL) == [800]
    assert late_ms([answer(11_000, 11_400)], KILL) == [400]
    assert late_ms([answer(8_000, 9_900), answer(30_000, 30_400)], KILL) == []


def test_what_waited_for_the_broker_is_the_brokers() -> None:
    broker = Done(12_000, 26_000, "killed kafka", "kafka")
    given = [answer(11_000, 27_000), answer(9_500, 10_600)]
    assert late_ms(given, KILL, [broker]) == [600]
    assert late_ms(given, broker, [broker]) == [15_000]


def test_a_line_without_an_answer_is_excused_only_where_no_edge_heard_it() -> None:
    edge = Done(10_000, 11_000, "killed edge", "edge")
    for said_ms, excused in ((9_900, False), (10_100, True), (13_900, True), (14_100, False)):
        lost = answer(said_ms, None)
        assert unanswered([lost], [edge]) == ([] if excused else [lost])
    assert unanswered([answer(9_000, None)], []) != []


def step(task: str, kind: str, at_ms: int, priority: str) -> TaskEvent:
    return TaskEvent.model_validate(
        {"event_id": ids.root_id(task, kind), "kind": kind, "occurred_at": at_ms,
         "producer": "dispatch", "task_id": task, "priority": priority}
    )  # fmt: skip


def test_turns_are_counted_while_all_priorities_wait() -> None:
    turns = ("high", "medium", "high", "low", "medium", "high") * 15
    tasks = [
        [step(f"t{n}", "queued", 1, name), step(f"t{n}", "assigned", 10 + n, name)]
        for n, name in enumerate(turns)
    ]
    served = turns_taken(tasks)
    assert sum(served.values()) >= 85, "only the last few had no rivals"
    assert unfair(served) == []
    assert unfair(Counter(high=60, medium=5, low=5)) != []
    assert unfair(Counter(high=5)) != [], "too few to tell"
