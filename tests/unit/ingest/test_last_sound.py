"""What the log's sound tells of a call whose edge is lost: its clock, and the caller's leg."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.call.types import Identity
from ingest.failover.last_sound import LastSound
from ingest.sound.log import Stamp, media_event
from ingest.sound.types import PCMU, Chunk, Format, Leg, Silent

OPENED_MS = 1_700_000_000_000
STAMP = Stamp(Identity("c1", "a", "outbound"), 500)


def heard(leg: Leg, ms: int, late_ms: int = 0, silent: bool = False) -> LastSound:
    """100 ms of a leg, complete at that call time and written some time later."""
    return fold(LastSound(), leg, ms, late_ms, silent)


def fold(into: LastSound, leg: Leg, ms: int, late_ms: int = 0, silent: bool = False) -> LastSound:
    from_ms = ms if silent else ms - 100
    ts = leg.start_ts + (from_ms - leg.start_ms) * leg.rate_hz // 1000
    seq = 7 + (from_ms - leg.start_ms) // 20
    logged = (
        Silent(leg, ts, seq) if silent else Chunk(leg, seq, ts, bytes(leg.rate_hz // 10), "pcmu", 0)
    )
    into.take(media_event(STAMP, logged, OPENED_MS + ms + late_ms))
    return into


@given(
    start_ms=st.integers(0, 3_000_000), start_ts=st.integers(0, 2**33), into_ms=st.integers(5, 900),
    late_ms=st.lists(st.integers(0, 250), min_size=1, max_size=30),
)  # fmt: skip
def test_the_clock_is_the_lost_edges_within_what_writing_takes(
    start_ms: int, start_ts: int, into_ms: int, late_ms: list[int]
) -> None:
    leg, found = Leg("customer", 9, start_ts, start_ms, 8_000), LastSound()
    for n, late in enumerate(late_ms):
        fold(found, leg, start_ms + 20 * into_ms + 100 * (n + 1), late)
    entry = found.entry_of("c1", 0)
    assert entry.opened_ms - OPENED_MS == min(late_ms)
    [last] = entry.legs
    assert (last.leg, last.first_seq) == (leg, 7)
    assert last.at_ms == entry.opened_ms + start_ms


def test_the_latest_leg_counts_and_the_robot_tells_the_clock_alone() -> None:
    first, second = Leg("customer", 1, 0, 100, 8_000), Leg("customer", 2, 800, 5_000, 8_000)
    found = heard(first, 2_000)
    fold(found, second, 6_000, silent=True)
    fold(found, first, 2_100)
    assert [heard_leg.leg for heard_leg in found.entry_of("c1", 0).legs] == [second]
    robot = heard(Leg("robot", 3, 0, 0, 8_000), 9_000)
    assert robot.entry_of("c1", 0).opened_ms == OPENED_MS and robot.entry_of("c1", 0).legs == []


def test_a_call_without_any_sound_began_with_its_first_record() -> None:
    entry = LastSound().entry_of("c1", 42)
    assert (entry.opened_ms, entry.port, entry.sound, entry.legs) == (42, 0, PCMU, [])
    wide = heard(Leg("customer", 1, 0, 0, 16_000), 1_000)
    assert wide.sound_of("c1") == Format("pcmu", 16_000)
