"""An edge acts only while no other can have taken its calls."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.failover.fence import Fence


def test_a_heartbeat_proves_by_when_it_was_sent_and_only_once_it_is_back() -> None:
    fence = Fence("edge-1", 1_000)
    fence.sent(0, 0)
    assert not fence.holds(1), "acknowledged or not"
    fence.came_back("edge-2", 0)
    fence.came_back("edge-1", 7)
    assert not fence.holds(1), "another process's"
    fence.came_back("edge-1", 0)
    assert fence.holds(749_999) and not fence.holds(750_000)
    fence.sent(1, 900_000)
    assert not fence.holds(900_001)
    fence.came_back("edge-1", 1)
    assert fence.holds(1_600_000)


@given(st.lists(st.tuples(st.integers(1, 900), st.integers(0, 3_000)), max_size=20))
def test_it_never_holds_when_another_may_have_claimed(beats: list[tuple[int, int]]) -> None:
    """However late heartbeats come back: a claim comes no sooner than 1 s after the broker has
    stamped the last one, which is after it was sent."""
    fence, at_ms, sent = Fence("e", 1_000), 0, list[int]()
    back: list[tuple[int, int]] = []
    for n, (gap_ms, late_ms) in enumerate(beats):
        at_ms += gap_ms
        sent.append(at_ms)
        back.append((at_ms + late_ms, n))
    for now_ms in range(0, at_ms + 5_000, 50):
        for n, one in enumerate(sent):
            if now_ms - 50 < one <= now_ms:
                fence.sent(n, one * 1_000)
        for due_ms, n in sorted(back):
            if now_ms - 50 < due_ms <= now_ms:
                fence.came_back("e", n)
        if fence.holds(now_ms * 1_000):
            stamped = max(one for one in sent if one <= now_ms)
            assert now_ms < stamped + 1_000
