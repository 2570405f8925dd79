"""Something is done while a block runs, and not after it."""

import threading

import pytest

from ringlog.meanwhile import meanwhile


def test_it_is_repeated_while_the_block_runs() -> None:
    before, thrice, done = threading.active_count(), threading.Event(), 0

    def do() -> None:
        nonlocal done
        done += 1
        if done == 3:
            thrice.set()

    with meanwhile(do, 0.001):
        assert thrice.wait(10)
    assert threading.active_count() == before


def test_a_block_that_raises_ends_it_at_once() -> None:
    before = threading.active_count()
    with pytest.raises(KeyError), meanwhile(lambda: None, 3_600):
        raise KeyError("block")
    assert threading.active_count() == before
