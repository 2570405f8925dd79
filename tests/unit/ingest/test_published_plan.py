"""The plan on the log: what is published is what is read, in an order that never misleads."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.trunks.plan import SitePlan, load_plan
from ingest.trunks.published import PublishedPlan, changes
from ringlog.settings import root

EXAMPLE = load_plan(root() / "examples" / "trunks.yaml")


def plan(switches: set[str], trunks: dict[str, int]) -> SitePlan:
    there = sorted(switches)
    return SitePlan.model_validate(
        {
            "switches": {name: {"type": "sim", "url": "http://x"} for name in there},
            "trunks": {
                name: {"switch": there[weight % len(there)], "weight": weight}
                for name, weight in trunks.items()
            },
        }
    )


PLANS = st.builds(
    plan,
    st.sets(st.sampled_from("stuv"), min_size=1),
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 9)),
)


def test_the_example_comes_back_and_carries_no_secret() -> None:
    fold = PublishedPlan()
    new = changes(fold, EXAMPLE, "default", 1)
    for event in new:
        fold.evolve(event)
    assert fold.plan() == EXAMPLE
    assert changes(fold, EXAMPLE, "default", 2) == []
    assert len({event.event_id for event in new}) == len(new)
    assert all("password" not in e.settings or "PASSWORD" in e.settings for e in new)


@given(st.lists(PLANS, min_size=1, max_size=5))
def test_any_change_is_read_as_the_old_or_the_new_names(plans: list[SitePlan]) -> None:
    """No step in between names what is not there, and going back is a change again."""
    fold, ids = PublishedPlan(), list[str]()
    assert fold.plan() is None
    for n, wanted in enumerate(plans):
        first = not fold.parts
        for event in changes(fold, wanted, "default", n):
            fold.evolve(event)
            ids.append(event.event_id)
            assert first or fold.plan() is not None
        assert fold.plan() == wanted
    assert len(set(ids)) == len(ids)


def test_what_this_release_cannot_read_is_named() -> None:
    fold = PublishedPlan()
    for event in changes(fold, EXAMPLE, "default", 1):
        other = {"settings": json.dumps({"switch": "pbx", "new": 1})}
        fold.evolve(event.model_copy(update=other if event.kind == "trunk" else {}))
    with pytest.raises(ValueError, match="trunks.carrier-a.new"):
        fold.plan()
