"""The schedule of faults, without a stack."""

from tests.faults import schedule


def test_a_schedule_is_its_seeds() -> None:
    assert schedule.mixed(5, 3) == schedule.mixed(5, 3) != schedule.mixed(5, 4)


def test_every_fault_comes_before_any_comes_again() -> None:
    faults = schedule.mixed(30, 7)
    deck = {(f.kind, f.target) for f in faults}
    first = faults[: len(deck)]
    assert len({(f.kind, f.target) for f in first}) == len(deck)
    assert {t for k, t in deck if k == "kill"} == set(schedule.KILLED)
    assert all(a.at_s < b.at_s for a, b in zip(faults, faults[1:], strict=False))
    assert faults[-1].at_s < 30 * 60


def test_kills_are_evenly_dealt() -> None:
    faults = schedule.kills(20, 1)
    assert {t: sum(f.target == t for f in faults) for t in schedule.KILLED} == dict.fromkeys(
        schedule.KILLED, 20
    )
