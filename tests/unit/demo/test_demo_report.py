"""What the demo's report passes over."""

from demo.observer import Observer
from demo.report import call_backs
from schemas import ids
from schemas.events import CallEvent


def test_a_call_back_is_no_task_of_the_demo() -> None:
    """It waits for the time that the customer asked for."""
    seen = Observer("demo-1")
    call = CallEvent(
        event_id=ids.root_id("e"), kind="dialing", occurred_at=0, producer="edge", call_id="c1"
    )
    seen.calls["c1"].append(call)
    assert call_backs(seen) == {ids.task_id("default", "callbacks", "c1")}
