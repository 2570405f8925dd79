"""Connections are counted, in all and by address."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.ws.admission import Admission

ADDRESSES = ["127.0.0.1", "::1", "198.51.100.1", "198.51.100.2", ""]


@given(st.lists(st.tuples(st.sampled_from(ADDRESSES), st.booleans()), max_size=60))
def test_no_more_than_the_limits_are_held(steps: list[tuple[str, bool]]) -> None:
    admission, held = Admission(total=8, per_address=3), list[str]()
    for address, comes in steps:
        if comes:
            local = address in ("127.0.0.1", "::1")
            free = len(held) < 8 and (local or held.count(address) < 3)
            assert admission.admit(address) is free
            held += [address] if free else []
        elif address in held:
            held.remove(address)
            admission.release(address)
        assert admission.count == len(held)
