"""The fold of the do-not-call list: scopes, undo, several hashes of one line, compaction."""

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.catalogue import topic
from schemas.donotcall import DoNotCall, entry_of
from schemas.events import OptOut
from schemas.ids import root_id

_n = itertools.count()


def optout(phone_hash: str = "h", kind: str = "opted_out", **fields: Any) -> OptOut:
    values = {
        "event_id": root_id("optout", next(_n)), "kind": kind, "occurred_at": 1,
        "producer": "test", "phone_hash": phone_hash, "reason": "test",
    }  # fmt: skip
    return OptOut.model_validate(values | fields)


def folded(*events: OptOut) -> DoNotCall:
    found = DoNotCall()
    for event in events:
        found.evolve(event)
    return found


def test_a_global_optout_holds_everywhere_until_it_is_taken_back() -> None:
    out, back = optout(), optout(kind="opted_in")
    assert folded(out).scope(["h"], "t", "c") == "global"
    assert not folded(out).barred(["other"], "t", "c")
    assert not folded(out, back).barred(["h"], "t", "c")
    assert folded(out, back, out).barred(["h"], "t", None)


def test_a_scope_bars_nobody_else() -> None:
    tenant = folded(optout(scope="tenant", tenant_id="t"))
    assert tenant.scope(["h"], "t", None) == "tenant"
    assert not tenant.barred(["h"], "u", None)
    campaign = folded(optout(scope="campaign", tenant_id="t", campaign_id="c"))
    assert campaign.scope(["h"], "t", "c") == "campaign"
    assert not campaign.barred(["h"], "t", "d")
    assert not campaign.barred(["h"], "t", None)


def test_an_undo_lifts_its_own_scope_only() -> None:
    both = [optout(), optout(scope="campaign", campaign_id="c")]
    lifted = folded(*both, optout(kind="opted_in", scope="campaign", campaign_id="c"))
    assert lifted.scope(["h"], "default", "c") == "global"
    lifted = folded(*both, optout(kind="opted_in"))
    assert lifted.scope(["h"], "default", "c") == "campaign"
    assert lifted.standing(["h"]) == ["h#campaign:c"]


def test_a_campaigns_optout_without_a_campaign_holds_for_the_tenant() -> None:
    assert folded(optout(scope="campaign", tenant_id="t")).scope(["h"], "t", "c") == "tenant"


def test_an_older_hash_of_the_line_protects_and_its_undo_may_name_the_newer_one() -> None:
    assert folded(optout("old")).barred(["new", "old"], "t", None)
    assert folded(optout("old")).standing(["new", "old"]) == ["old"]
    assert not folded(optout("old"), optout("new", "opted_in")).barred(["new", "old"], "t", None)
    again = folded(optout("old"), optout("new", "opted_in"), optout("old"))
    assert again.barred(["new", "old"], "t", None)


EVENTS = st.lists(
    st.builds(
        lambda h, kind, scope, c: optout(h, kind, scope=scope, campaign_id=c, tenant_id="t"),
        st.sampled_from(["h", "g"]),
        st.sampled_from(["opted_out", "opted_in"]),
        st.sampled_from(["global", "tenant", "campaign"]),
        st.sampled_from(["c", "d"]),
    ),
    max_size=12,
)


@given(EVENTS)
def test_compaction_changes_no_answer(events: list[OptOut]) -> None:
    """Of each key of the topic only the newest record is left."""
    key = topic("compliance.optouts").key
    newest = {key(event): event for event in events}
    left = [event for event in events if newest[entry_of(event)] is event]
    for hashes, campaign in itertools.product((["h"], ["g", "h"]), ("c", "d", None)):
        whole, compacted = folded(*events), folded(*left)
        assert whole.scope(hashes, "t", campaign) == compacted.scope(hashes, "t", campaign)
        assert whole.standing(hashes) == compacted.standing(hashes)
