"""What the demo through Asterisk makes of the far ends' log."""

from demo.asterisk.campaign import interrupted, rang_twice, told, with_calls
from demo.observer import Observer
from demo.people import Person
from schemas import ids
from schemas.events import CallEvent


def entry(
    event: str, phone: str, carrier: str = "carrier-a", wall_ms: int = 0
) -> dict[str, object]:
    return {"event": event, "phone": phone, "carrier": carrier, "wall_ms": wall_ms}


def call(call_id: str, customer_id: str, kind: str, **fields: object) -> CallEvent:
    return CallEvent.model_validate(
        {
            "event_id": ids.root_id("test", call_id, kind), "kind": kind, "occurred_at": 5_000,
            "producer": "edge", "call_id": call_id, "customer_id": customer_id,
            "campaign_id": "demo-1", **fields,
        }
    )  # fmt: skip


LOG = [
    entry("rings", "+1"), entry("answered", "+1"), entry("over", "+1"),
    entry("rings", "+2"), entry("answered", "+2"),
    entry("rings", "+3"),
    entry("rings", "+4", "carrier-b", 3_000), entry("answered", "+4", "carrier-b"),
    {"event": "agent", "phone": "agents", "carrier": "carrier-b", "wall_ms": 1},
]  # fmt: skip


def test_who_was_on_the_line_when_the_carrier_died() -> None:
    assert interrupted(LOG, "carrier-a") == {"+2", "+3"}
    assert interrupted(LOG, "carrier-b") == {"+4"}


def test_a_telephone_that_rings_at_both_carriers_rang_twice() -> None:
    assert rang_twice(LOG) == []
    assert rang_twice([*LOG, entry("rings", "+3", "carrier-b")]) == ["+3"]


def test_entries_get_their_calls_and_the_end_is_told() -> None:
    person = Person.model_validate({"name": "n", "voice": "v", "expects": {"disposition": "x"}})
    cast = {f"+{n}": person for n in range(1, 5)}
    seen = Observer("demo-1")
    for n in range(1, 5):
        customer, call_id = f"demo-1-c{n - 1:03d}", f"call-{n}"
        seen.calls[call_id] = [
            call(call_id, customer, "dialing"),
            call(call_id, customer, "ended", disposition="half_closed"),
        ]
    log = with_calls(LOG, seen, "demo-1", cast)
    assert {e["phone"]: e["call_id"] for e in log} == {f"+{n}": f"call-{n}" for n in range(1, 5)}
    lines = " / ".join(told(seen, log, {"+2", "+3"}, 2_000))
    assert "carrier-a 3, carrier-b 1" in lines
    assert "with 2 calls on it; they ended as half_closed (2), the last 3 s later" in lines
    assert "1 people were called after that" in lines
