"""Order per key, whatever part of a group fails and is sent again."""

import random

from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from streams.crm.waves import waves


@effort(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=40), st.randoms(use_true_random=False))
def test_first_records_are_in_order_however_sends_fail(
    keys: list[int], chance: random.Random
) -> None:
    items = list(enumerate(keys))
    log: list[tuple[int, int]] = []
    for wave in waves(items, lambda item: item[1]):
        while True:  # a send that fails may have stored some, in any order
            stored = [item for item in wave if chance.random() < 0.7]
            chance.shuffle(stored)
            log += stored
            if len(stored) == len(wave):
                break
    first = list(dict.fromkeys(log))
    assert sorted(first) == items
    for key in set(keys):
        assert [i for i in first if i[1] == key] == [i for i in items if i[1] == key]
