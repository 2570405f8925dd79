"""Who calls us back: the campaign that called them last from the number that they ring."""

import random
from typing import Any, cast

import pytest

from ingest.call.actor import CallActor
from ingest.inbound import NO_CAMPAIGN, answer
from ingest.ring_backs import OF_NUMBER, LastCall, RingBacks
from ingest.sessions import SessionSpec
from ingest.trunks.driver import IncomingCall, NotTaken
from ingest.trunks.plan import Inbound
from ringlog.kafka.reader import Received
from schemas.events import CallEvent
from schemas.phone import Numbers
from tests.unit.ingest.test_following import NOW, event, following
from tests.unit.ingest.test_sessions import site

NUMBERS = Numbers("CN", b"key")
CUSTOMER, OURS, OTHER = "+8613800138000", "+861060000001", "+861060000002"


def dialing(call: str, at_ms: int, **fields: Any) -> CallEvent:
    base: dict[str, Any] = {
        "phone": CUSTOMER, "customer_id": "c1", "campaign_id": "spring", "playbook": "loan",
        "pool": "sales", "asr_profile": "zh", "occurred_at": at_ms, "tenant_id": "acme",
    }  # fmt: skip
    return event(call, "dialing", **base | fields)


def tried(call: str, shown: str | None, at_ms: int = NOW) -> CallEvent:
    return event(call, "tried", caller_id=shown, trunk="west", try_no=1, occurred_at=at_ms)


def folded(*events: CallEvent, kept: int = 100) -> RingBacks:
    found = RingBacks(kept)
    for one in events:
        found.evolve(one, NUMBERS.hash(one.phone) if one.phone else None)
    return found


def campaign(found: RingBacks, called: str = OURS, of: str | None = None) -> str | None:
    last = found.of(NUMBERS.hash(CUSTOMER), called, of)
    return None if last is None else last.campaign_id


def test_of_campaigns_with_one_number_it_is_the_one_that_called_last_in_any_order() -> None:
    events = [
        dialing("a", 1_000, campaign_id="spring"), tried("a", OURS),
        dialing("b", 3_000, campaign_id="autumn"), tried("b", OURS),
        dialing("c", 2_000, campaign_id="winter"), tried("c", OURS),
        dialing("d", 9_000, campaign_id="other"), tried("d", OTHER),
    ]  # fmt: skip
    for order in (events, [*events[4:], *events[:4]], [*events, *events]):
        found = folded(*order)
        assert campaign(found) == "autumn"
        assert campaign(found, OTHER) == "other"
        assert campaign(found, "+861069999999") is None


def test_the_number_that_the_trunk_showed_counts_not_the_one_that_was_wanted() -> None:
    found = folded(dialing("a", 1_000, caller_id=OURS), tried("a", OTHER))
    assert campaign(found) is None and campaign(found, OTHER) == "spring"
    assert campaign(folded(dialing("a", 1_000, caller_id=OURS))) == "spring"


def test_where_no_number_is_known_it_is_the_last_call_of_the_numbers_campaign() -> None:
    found = folded(
        dialing("a", 1_000, campaign_id="spring"), tried("a", None),
        dialing("b", 2_000, campaign_id="autumn"), tried("b", None),
    )  # fmt: skip
    assert campaign(found) == "autumn"
    assert campaign(found, of="spring") == "spring"
    assert campaign(found, of="winter") is None


def test_only_outbound_calls_count_and_few_are_kept() -> None:
    assert campaign(folded(dialing("a", 1_000, direction="foreign", caller_id=OURS))) is None
    found = RingBacks(kept=10)
    for n in range(60):
        found.evolve(dialing(f"c{n}", n, caller_id=OURS), f"hash-{n % 30}")
    assert found.of("hash-29", OURS, None) is not None
    assert sum(found.of(f"hash-{n}", OURS, None) is not None for n in range(30)) <= 11
    for n in range(100, 100 + 3 * OF_NUMBER):
        found.evolve(dialing(f"c{n}", n, caller_id=f"+8610{n}"), "hash-29")
    assert found.of("hash-29", "+8610100", None) is None


def test_those_that_were_called_longest_ago_are_forgotten_first_whatever_came_first() -> None:
    kept, last = 50, dict[str, int]()
    found, rng = RingBacks(kept), random.Random(1)
    for n in range(2_000):
        hashed, at_ms = f"hash-{rng.randrange(80)}", rng.randrange(1_000_000)
        known = hashed in last
        found.evolve(dialing(f"c{n}", at_ms, caller_id=OURS), hashed)
        last[hashed] = max(at_ms, last.get(hashed, 0))
        if not known and len(last) > kept:
            del last[min(last, key=lambda name: last[name])]
    for n in range(80):
        call = found.of(f"hash-{n}", OURS, None)
        assert (call and call.at_ms) == last.get(f"hash-{n}")


def test_forgetting_costs_little_at_a_time_and_numbers_stay_bounded() -> None:
    """All numbers were called again since they came: none of the oldest entries is right."""
    found = RingBacks(kept=1_000)
    for n in range(2_000):
        found.evolve(dialing(f"c{n}", n, caller_id=OURS), f"hash-{n % 1_000}")
    for n in range(2_000, 4_000):
        found.evolve(dialing(f"c{n}", n, caller_id=OURS), f"hash-{n}")
    remembered = [n for n in range(4_000) if found.of(f"hash-{n}", OURS, None) is not None]
    assert remembered == list(range(3_000, 4_000))


def test_an_edge_folds_what_is_written_and_what_was_before_it_began() -> None:
    edge = following()
    for n, one in enumerate((dialing("new", NOW), tried("new", OURS))):
        edge.take(Received("calls.events", 0, n, NOW, one))
    for n, one in enumerate((dialing("old", 1, campaign_id="old"), tried("old", OTHER))):
        edge.take_past(Received("calls.events", 0, n, 1, one))
    assert campaign(edge.ring_backs) == "spring"
    assert campaign(edge.ring_backs, OTHER) == "old"


class Edge:
    """Opens what comes in; `entry` is that of every number."""

    def __init__(self, entry: Inbound, last: LastCall | None) -> None:
        self.site, self.draining = site(), False
        self.entry, self.last = entry, last
        self.opened: list[SessionSpec] = []

    def knows(self, call_id: str) -> bool:
        return False

    def of_called(self, number: str) -> tuple[str, Inbound] | None:
        return "west", self.entry

    def last_call(self, phone: str, called: str, campaign_id: str | None) -> LastCall | None:
        assert (phone, called) == (CUSTOMER, OURS)
        return self.last

    def customer_of(self, phone: str) -> str:
        return "caller-x"

    async def open_external(self, spec: SessionSpec, medium: Any = "rtp") -> CallActor:
        raise AssertionError

    async def open_incoming(self, spec: SessionSpec, came: IncomingCall, trunk: str) -> CallActor:
        self.opened.append(spec)
        return cast(CallActor, None)


async def opened(entry: Inbound, last: LastCall | None, caller: str = CUSTOMER) -> SessionSpec:
    edge = Edge(entry, last)
    await answer(edge, IncomingCall("in-1", "west", OURS, caller, "socket"))
    return edge.opened[0]


def last_call(**fields: Any) -> LastCall:
    base: dict[str, Any] = {"at_ms": 1, "shown": OURS, "tenant_id": "acme", "customer_id": "c1",
            "campaign_id": "spring", "pool": "sales", "playbook": "loan", "asr_profile": "zh",
            "variant": "gift"}  # fmt: skip
    return LastCall(**base | fields)


async def test_a_ring_back_finds_customer_campaign_playbook_and_all_that_the_call_had() -> None:
    who = (await opened(Inbound(), last_call())).identity
    assert (who.direction, who.customer_id, who.campaign_id) == ("inbound", "c1", "spring")
    assert (who.playbook, who.pool, who.tenant_id) == ("loan", "sales", "acme")
    assert (who.asr_profile, who.variant, who.phone) == ("zh", "gift", CUSTOMER)


async def test_what_the_number_says_goes_first_but_for_the_campaign() -> None:
    entry = Inbound(playbook="loan", campaign_id="desk")
    last = last_call(playbook="gone", asr_profile="gone")
    who = (await opened(entry, last)).identity
    assert (who.playbook, who.campaign_id, who.customer_id) == ("loan", "spring", "c1")
    assert who.asr_profile != "gone"


async def test_who_was_never_called_is_served_as_the_number_says() -> None:
    who = (await opened(Inbound(playbook="loan"), None)).identity
    assert (who.customer_id, who.campaign_id, who.variant) == ("caller-x", NO_CAMPAIGN, None)
    with pytest.raises(NotTaken, match="no playbook"):
        await opened(Inbound(), None)


async def test_an_id_that_no_session_may_have_is_no_ring_back() -> None:
    who = (await opened(Inbound(playbook="loan"), last_call(customer_id="a b/c"))).identity
    assert who.customer_id == "caller-x"
