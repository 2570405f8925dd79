"""No record of a partition is left out, whatever a consumer throws away."""

import random

import pytest

from streams.offset_order import OffsetOrder
from streams.progress import Stuck


def test_records_are_taken_once_and_in_order_whatever_is_thrown_away() -> None:
    for seed in range(100):
        chance, order = random.Random(seed), OffsetOrder()
        worked: list[int] = []
        read, now_s, begun, end = 5, 0.0, 5, 60
        while len(worked) < end - begun:
            now_s += chance.random()
            offset, read = read, read + 1
            if offset >= end:
                offset, read = end - 1, end  # the last comes again and again
            if chance.random() < 0.1:
                continue  # thrown away
            match order.take("p", offset, begun):
                case "next":
                    worked.append(offset)
                case "ahead":
                    expected = order.expected("p", begun)
                    assert expected == begun + len(worked)
                    if order.asks("p", expected, now_s):
                        read = expected
        assert worked == list(range(begun, end))


def test_the_first_of_all_is_missed_too() -> None:
    order = OffsetOrder()
    assert order.take("p", 7, 6) == "ahead"
    assert order.asks("p", 6, 0.0) and not order.asks("p", 6, 0.5)
    assert [order.take("p", n, 6) for n in (6, 7, 7)] == ["next", "next", "seen"]


def test_what_retention_has_deleted_is_not_waited_for() -> None:
    order = OffsetOrder()
    assert order.take("p", 100, 6) == "ahead"
    order.begins("p", 100)
    assert order.take("p", 100, 6) == "next"


def test_a_record_that_never_comes_ends_the_process() -> None:
    order = OffsetOrder()
    for n in range(5):
        assert order.asks("p", 3, 10.0 * n)
    with pytest.raises(Stuck, match="p: the record at 3"):
        order.asks("p", 3, 100.0)
    assert order.asks("p", 4, 100.0)
