"""No record of a partition is left out, whatever a consumer throws away."""

import random

import pytest

from streams.progress import Stuck
from streams.turns import Turns


def test_records_are_taken_once_and_in_order_whatever_is_thrown_away() -> None:
    for seed in range(100):
        chance, turns = random.Random(seed), Turns()
        worked: list[int] = []
        read, now_s, begun, end = 5, 0.0, 5, 60
        while len(worked) < end - begun:
            now_s += chance.random()
            offset, read = read, read + 1
            if offset >= end:
                offset, read = end - 1, end  # the last comes again and again
            if chance.random() < 0.1:
                continue  # thrown away
            match turns.take("p", offset, begun):
                case "next":
                    worked.append(offset)
                case "ahead":
                    expected = turns.expected("p", begun)
                    assert expected == begun + len(worked)
                    if turns.asks("p", expected, now_s):
                        read = expected
        assert worked == list(range(begun, end))


def test_the_first_of_all_is_missed_too() -> None:
    turns = Turns()
    assert turns.take("p", 7, 6) == "ahead"
    assert turns.asks("p", 6, 0.0) and not turns.asks("p", 6, 0.5)
    assert [turns.take("p", n, 6) for n in (6, 7, 7)] == ["next", "next", "seen"]


def test_what_retention_has_deleted_is_not_waited_for() -> None:
    turns = Turns()
    assert turns.take("p", 100, 6) == "ahead"
    turns.begins("p", 100)
    assert turns.take("p", 100, 6) == "next"


def test_a_record_that_never_comes_ends_the_process() -> None:
    turns = Turns()
    for n in range(5):
        assert turns.asks("p", 3, 10.0 * n)
    with pytest.raises(Stuck, match="p: the record at 3"):
        turns.asks("p", 3, 100.0)
    assert turns.asks("p", 4, 100.0)
