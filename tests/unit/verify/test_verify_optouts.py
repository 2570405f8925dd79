"""The check of opt-outs: every spelling of a line, and for whom an opt-out holds."""

from typing import Any

import pytest

from schemas.phone import Numbers
from verify.check import Context
from verify.checks.optouts import OptOuts
from verify.record import LogRecord

NUMBERS = Numbers("CN", b"k" * 32)
PHONE = "+8613800000007"
CONTEXT = Context(
    judged_ms=1, read_ms=2, idle=False, reached=frozenset(), begins={}, judged={}, kept={}
)

DIAL = {
    "kind": "dialing", "direction": "outbound", "edge_id": "edge", "source": "edge",
    "call_id": "c", "task_id": "t", "phone": PHONE, "tenant_id": "acme", "campaign_id": "spring",
}  # fmt: skip


def judged(*wishes: dict[str, Any], tenant: str = "acme", campaign: str = "spring") -> int:
    """Violations of one dial after these records of the list."""
    check = OptOuts(NUMBERS)
    for offset, wish in enumerate(wishes):
        event = {"event_id": "0" * 36, "kind": "opted_out", "occurred_at": 1, "producer": "test",
                 "phone_hash": NUMBERS.hash(PHONE), "tenant_id": "acme", "reason": "x"}  # fmt: skip
        check.feed(LogRecord("compliance.optouts", 0, offset, 1, None, event | wish))
    dial = DIAL | {"optout_offset": len(wishes), "tenant_id": tenant, "campaign_id": campaign}
    check.feed(LogRecord("calls.events", 0, 0, 1, None, dial))
    result = check.finish(CONTEXT)
    assert result.looked_at == 1
    return result.total


def test_an_older_hash_still_protects() -> None:
    assert all(judged({"phone_hash": old}) == 1 for old in NUMBERS.hashes(PHONE))
    assert judged({"phone_hash": NUMBERS.hash("+8613800000008")}) == 0


@pytest.mark.parametrize(
    ("scope", "tenant", "campaign", "barred"),
    [
        ("global", "other", "autumn", True),
        ("tenant", "acme", "autumn", True),
        ("tenant", "other", "spring", False),
        ("campaign", "acme", "spring", True),
        ("campaign", "acme", "autumn", False),
    ],
)
def test_an_opt_out_holds_in_its_scope(
    scope: str, tenant: str, campaign: str, barred: bool
) -> None:
    wish = {"scope": scope, "campaign_id": "spring"}
    assert judged(wish, tenant=tenant, campaign=campaign) == barred
    assert judged(wish, wish | {"kind": "opted_in"}, tenant=tenant, campaign=campaign) == 0


def test_an_undo_of_one_scope_leaves_the_others() -> None:
    tenant = {"scope": "tenant"}
    assert judged({"scope": "global"}, tenant, tenant | {"kind": "opted_in"}) == 1


def test_an_undo_reaches_every_spelling() -> None:
    old = NUMBERS.hashes(PHONE)[2]
    assert judged({"phone_hash": old}, {"kind": "opted_in"}) == 0
    assert judged({"kind": "opted_in"}, {"phone_hash": old}) == 1


def test_an_undo_that_compaction_may_hide_blames_nobody() -> None:
    def total(*offsets: int) -> int:
        check = OptOuts(NUMBERS)
        old, new = NUMBERS.hashes(PHONE)[1], NUMBERS.hash(PHONE)
        for offset, hashed in zip(offsets, (old, "other", new), strict=False):
            event = {"event_id": "0" * 36, "kind": "opted_out", "occurred_at": 1,
                     "producer": "test", "phone_hash": hashed, "tenant_id": "acme",
                     "reason": "x"}  # fmt: skip
            check.feed(LogRecord("compliance.optouts", 0, offset, 1, None, event))
        check.feed(LogRecord("calls.events", 0, 0, 1, None, DIAL | {"optout_offset": 7}))
        return check.finish(CONTEXT).total

    assert total(5, 6, 20) == 1, "nothing is hidden between 5 and 7"
    assert total(4, 6, 20) == 0, "an undo under the new hash may have been at 5"
    assert total(4, 6) == 1
