"""Times at the doors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.entry import entered
from schemas.times import FIRST_MS, LAST_MS, checked_ms

NOW_S = 1_795_780_250


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        (NOW_S, "seconds"),
        (NOW_S * 1_000_000, "microseconds"),
        (NOW_S * 1_000_000_000, "nanoseconds"),
        (2**63, "milliseconds"),
        (253_402_300_800_000, "milliseconds"),
        (-1, "milliseconds"),
        (10**400, "milliseconds"),
        ("2026-11-27 17:00:00", "zone"),
        ("tomorrow", "ISO 8601"),
        (True, "milliseconds"),
        (1.5, "milliseconds"),
    ],
)
def test_R5_a_time_of_another_unit_is_refused_by_name(value: object, unit: str) -> None:
    with pytest.raises(ValueError, match=unit):
        checked_ms(value)


def test_R5_a_site_may_name_the_zone_of_times_without_one() -> None:
    assert checked_ms("2026-11-27 17:00:00", "Asia/Shanghai") == checked_ms("2026-11-27T09:00:00Z")
    with pytest.raises(ValueError, match="RINGLOG_ZONE"):
        checked_ms("2026-11-27 17:00:00", "Nowhere/AtAll")


@given(st.one_of(st.integers(), st.text(), st.floats(), st.none(), st.binary()))
def test_any_value_is_a_time_in_range_or_refused(value: object) -> None:
    try:
        assert FIRST_MS <= checked_ms(value, "Asia/Shanghai") <= LAST_MS
    except ValueError:
        pass


def test_R1_a_produced_number_is_e164_and_R5_its_times_are_checked() -> None:
    line = {"event_id": "0" * 36, "kind": "requested", "producer": "t", "body_sha256": "",
            "occurred_at": "2026-01-01T00:00:00Z", "phone": "0086 138-0013-8000"}  # fmt: skip
    assert entered("tasks.requested", line, "CN").model_dump()["phone"] == "+8613800138000"
    with pytest.raises(ValueError, match="phone: an emergency"):
        entered("tasks.requested", line | {"phone": "110"}, "CN")
    with pytest.raises(ValueError, match="occurred_at: this looks like seconds"):
        entered("tasks.requested", line | {"occurred_at": NOW_S}, "CN")
    with pytest.raises(ValueError, match="call_id: no spaces"):
        entered("tasks.requested", line | {"call_id": "a/b"}, "CN")
    merge = {"event_id": "0" * 36, "kind": "merged", "producer": "t", "source": "s",
             "occurred_at": "2026-01-01T00:00:00Z", "customer_id": "a"}  # fmt: skip
    assert entered("customers.changes", merge | {"merged_into": "b"}, "CN").kind == "merged"
    with pytest.raises(ValueError, match="merged_into: no spaces"):
        entered("customers.changes", merge | {"merged_into": "a/b"}, "CN")
