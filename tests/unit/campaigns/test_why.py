"""Why a task was called or not, in words, as of any time."""

from typing import Any

from cli.why import Evidence, explained
from schemas.events import CallEvent, Campaign, TaskEvent, TaskRequested

T = 1_795_771_200_000  # 2026-11-27T09:20:00Z


def task(kind: str, at: int, **more: Any) -> TaskEvent:
    return TaskEvent.model_validate(
        {"event_id": f"{kind}{at:>030}"[:36].ljust(36, "0"), "kind": kind, "occurred_at": T + at,
         "producer": "dispatch", "task_id": "t", "customer_id": "k"} | more
    )  # fmt: skip


def request(**more: Any) -> TaskRequested:
    return TaskRequested.model_validate(
        {"event_id": "r" * 36, "kind": "requested", "occurred_at": T, "producer": "campaigns",
         "task_id": "t", "body_sha256": "", "campaign_id": "spring"} | more
    )  # fmt: skip


def version(n: int, at: int, state: str, action: str) -> Campaign:
    return Campaign.model_validate(
        {"event_id": f"{n:0>36}", "occurred_at": T + at, "producer": "api", "name": "S",
         "campaign_id": "spring", "state": state, "version": n, "action": action, "actor": "ada",
         "reason": "complaints"}
    )  # fmt: skip


def test_a_rule_is_told_with_its_statute_and_the_last_line_sums_up() -> None:
    reason = "cn-marketing-hours: it is 21:30 on Friday where the customer is"
    found = Evidence(
        [request()], [task("queued", 10, reason=reason, retry_at=T + 3_600_000)], [], []
    )
    lines = list(explained(found, "Asia/Shanghai"))
    assert "the campaign spring asked for the call" in lines[0]
    assert "it is 21:30 on Friday where the customer is (cn-marketing-hours; 《" in lines[1]
    assert lines[-1].startswith("So: it waits until 2026-11-27 18:20:00 CST, since it is 21:30")


def test_a_call_that_failed_and_a_refusal() -> None:
    events = [task("queued", 1), task("assigned", 2, robot_id="r1", attempt=1), task("dialing", 3),
              task("failed", 9, reason="busy")]  # fmt: skip
    call = CallEvent(event_id="c" * 36, kind="ended", occurred_at=T + 8, producer="edge",
                     call_id="c", disposition="busy")  # fmt: skip
    lines = list(explained(Evidence([request()], [*events, events[1]], [call], []), ""))
    assert sum("robot r1 is to call" in line for line in lines) == 1, "a repeat is told once"
    assert lines[-1] == "So: it was dialled 1 time, and is failed, since the line was busy."
    assert any(line.endswith("the call ended: busy") for line in lines)
    barred = Evidence([request()], [task("refused", 1, reason="opted_out")], [], [])
    assert list(explained(barred, ""))[-1] == (
        "So: it was not called, and is refused, since the number is on the do-not-call list."
    )


def test_what_the_law_forbade_at_the_dial_is_told_with_its_statute() -> None:
    reason = "it is 21:00 on Friday where the customer is"
    call = CallEvent(event_id="c" * 36, kind="ended", occurred_at=T + 8, producer="edge",
                     call_id="c", disposition="unlawful", rule="cn-other-hours", reason=reason,
                     lawful_at=T + 3_600_000)  # fmt: skip
    events = [task("assigned", 2, robot_id="r1", attempt=1),
              task("retry_scheduled", 9, reason=f"cn-other-hours: {reason}",
                   retry_at=T + 3_600_000)]  # fmt: skip
    lines = list(explained(Evidence([request()], events, [call], []), ""))
    assert any(f"the edge did not dial: {reason} (cn-other-hours; " in line for line in lines)
    assert lines[-1].startswith("So: it waits until 2026-11-27 10:20:00 UTC, since it is 21:00")


def test_at_any_time_in_the_past() -> None:
    events = [task("queued", 10), task("assigned", 2_000, robot_id="r1", attempt=1)]
    campaign = [version(2, -5, "running", "started"), version(3, 1_000, "paused", "paused"),
                version(4, 1_500, "running", "resumed")]  # fmt: skip
    found = Evidence([request()], events, [], campaign)
    assert list(explained(found, "", T + 5))[-1] == "So: dispatch has not decided yet."
    assert list(explained(found, "", T + 500))[-1] == "So: it waits for its turn and a robot."
    paused = list(explained(found, "", T + 1_200))
    assert paused[-1] == "So: it waits, since the campaign is paused (by ada)."
    assert any("was paused by ada: complaints" in line for line in paused)
    assert list(explained(found, ""))[-1] == "So: it is being called."
