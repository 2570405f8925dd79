"""The clock that follows the broker's."""

from hypothesis import given
from hypothesis import strategies as st

from ringlog.clock import LogClock

_MS = 1_000_000


class World:
    """A broker and a process whose clock is wrong by `wrong_ms`."""

    def __init__(self, wrong_ms: int) -> None:
        self.wrong_ms = wrong_ms
        self.elapsed_ns = 0
        self.clock = LogClock(
            lambda: (self.broker_ms + self.wrong_ms) * _MS, lambda: 5 * _MS + self.elapsed_ns
        )

    @property
    def broker_ms(self) -> int:
        return 1_700_000_000_000 + self.elapsed_ns // _MS

    def send(self, there_ms: int, back_ms: int) -> int:
        """A record that is appended after `there_ms`; returns by how much the clock was moved."""
        sent_ns = 5 * _MS + self.elapsed_ns
        self.elapsed_ns += there_ms * _MS
        appended_ms = self.broker_ms
        self.elapsed_ns += back_ms * _MS
        return self.clock.appended(appended_ms, sent_ns)

    def off_ms(self) -> int:
        return self.clock.now_ms() - self.broker_ms


def test_a_clock_that_agrees_is_left_alone() -> None:
    world = World(0)
    assert [world.send(3, 2), world.send(0, 0), world.send(40, 1)] == [0, 0, 0]
    assert world.off_ms() == 0


def test_a_step_of_the_machines_clock_is_not_noticed() -> None:
    world = World(0)
    world.wrong_ms = 3_600_000
    world.elapsed_ns += 7 * _MS
    assert world.off_ms() == 0


@given(
    st.integers(-10_000_000, 10_000_000),
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=8),
)
def test_after_an_answer_it_is_off_by_no_more_than_the_way_there_or_back(
    wrong_ms: int, ways: list[tuple[int, int]]
) -> None:
    world = World(wrong_ms)
    for way in ways:
        world.send(*way)
        assert -way[1] - 1 <= world.off_ms() <= way[0] + 1
