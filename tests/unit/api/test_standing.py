"""The do-not-call list as the API shows it bars whom dialling bars."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.donotcall import DoNotCall
from schemas.events import OptOut
from streams.api.standing import OptOuts

NAMES = st.sampled_from(["a", "b"])

records = st.builds(
    lambda n, kind, scope, tenant, campaign, hashed: OptOut.model_validate(
        {"event_id": f"{n:0>36}", "kind": kind, "occurred_at": 1, "producer": "t",
         "tenant_id": tenant, "campaign_id": campaign if scope == "campaign" else None,
         "phone_hash": hashed, "scope": scope, "reason": "r"}
    ),
    st.integers(0, 9_999), st.sampled_from(["opted_out", "opted_in"]),
    st.sampled_from(["global", "tenant", "campaign"]), NAMES, NAMES,
    st.sampled_from(["x", "y", "z"]),
)  # fmt: skip


@given(st.lists(records, max_size=30, unique_by=lambda e: e.event_id), NAMES, NAMES)
def test_a_dry_run_bars_whom_dialling_bars(
    events: list[OptOut], tenant: str, campaign: str
) -> None:
    shown, dialled = OptOuts(), DoNotCall()
    for event in events:
        shown.evolve(event)
        dialled.evolve(event)
    for hashes in (["x"], ["y", "x"], ["z"], []):
        assert shown.scope(hashes, tenant, campaign) == dialled.scope(hashes, tenant, campaign)
