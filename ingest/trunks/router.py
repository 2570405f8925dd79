"""Chooses the trunk of a call's next try. Pure: a fold of `calls.events`, and one question.

No clock, chance or network: the time is an input, a draw is a hash of the call's id. The same
records and the same questions give the same answers.

Several edges share a trunk's caps by two rules. Each edge takes no more than its share, the cap
divided by the number of live edges, so that edges that decide at the same time never exceed it
together. No edge begins a try while all edges' tries on the log are at the cap, so that calls of an
edge that died, or that began under a larger share, count until they end.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from ingest.trunks.breaker import Breaker, BreakerLimits, BreakerState
from ingest.trunks.causes import is_carrier_fault, reached_the_line
from ingest.trunks.health import TrunkHealth, TryOutcome
from ingest.trunks.plan import CallerId, SitePlan, TrunkPlan
from ingest.trunks.tries import SECOND_MS, Tries, Try
from ringlog.dispositions import NOT_DIALLED, ONE_WAY_AUDIO
from schemas.events import CallEvent

Why = Literal["paused", "prefix", "tried", "breaker", "calls", "rate", "caller_id"]
"""Why a trunk cannot take a try: it is paused, takes no such number, was tried in this call, rests,
is at its cap of calls or of tries in a second, or has no number left to show."""

POLL_MS: Final = 250
"""How soon a call that found every trunk full asks again."""

FORGET_EVERY_MS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Ask:
    """A call that wants a way out. `edges` are those that serve now, this one among them."""

    call_id: str
    contact: str
    phone: str
    edge_id: str
    edges: tuple[str, ...]
    caller_id: str | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """A trunk that can take the try, and the number that it shows."""

    trunk: str
    caller_id: str | None
    cost: float


@dataclass(frozen=True, slots=True)
class NextTry:
    """The answer: try number `n` goes by the first of `ways`.

    Without any, `refusals` say why each trunk cannot, and `wait_ms` when to ask again; None: asking
    again is of no use.
    """

    n: int
    ways: tuple[Way, ...] = ()
    refusals: Mapping[str, Why] = field(default_factory=dict)
    wait_ms: int | None = None
    out_of_tries: bool = False


@dataclass(frozen=True, slots=True)
class TrunkFigures:
    """How a trunk stands, for people and for `trunks.status`."""

    state: BreakerState
    calls: int
    tries: int
    failures: int
    answer_ratio: float | None
    pdd_ms: int | None
    reason: str | None


class TrunkRouter:
    """All trunks of the site, as the log tells."""

    def __init__(self, plan: SitePlan) -> None:
        self.plan = plan
        self.tries = Tries()
        self._breakers: dict[str, Breaker] = {}
        self._health: dict[str, TrunkHealth] = {}
        self._forgot_ms = 0

    # Fold ------------------------------------------------------------------------------------

    def evolve(self, event: CallEvent) -> None:
        """One record of `calls.events`; a repeated one changes nothing."""
        if event.call_id is None:
            return
        call_id, at_ms = event.call_id, event.occurred_at
        match event.kind:
            case "tried":
                if event.trunk is not None and event.try_no is not None:
                    self.begin(
                        Try(
                            call_id, event.try_no, event.task_id or call_id, event.trunk,
                            event.caller_id, event.edge_id or "", at_ms,
                        )
                    )  # fmt: skip
            case "refused":
                self._over(self.tries.refused(call_id, event.try_no), event)
            case "ringing" | "early_media" | "answered":
                self._responded(call_id, at_ms, answered=event.kind == "answered")
            case "ended":
                self._over(self.tries.close(call_id, at_ms), event)
            case _:
                pass

    def begin(self, one: Try) -> None:
        """A try begins; the edge tells its own at once, so that they count before it reads them."""
        if self.tries.begin(one):
            trunk = one.trunk
            self._breakers[trunk] = self._breaker(trunk).tried(one.call_id, one.began_ms)

    def told(self, trunk: str, reachable: bool, now_ms: int) -> bool:
        """A switch has tried a trunk by itself (SIP OPTIONS); gives whether that is news."""
        before = self._breaker(trunk)
        self._breakers[trunk] = after = before.told(reachable, now_ms, self._limits)
        return after != before

    def _responded(self, call_id: str, at_ms: int, answered: bool) -> None:
        one = self.tries.running.get(call_id)
        if one is None:
            return
        one.answered |= answered
        if one.responded_ms is None:
            one.responded_ms = at_ms
            self._health_of(one.trunk).responded(max(0, at_ms - one.began_ms))
            self._breakers[one.trunk] = Breaker()

    def _over(self, one: Try | None, event: CallEvent) -> None:
        if one is None:
            return
        cause, sip = event.cause_q850, event.cause_sip
        # A call that the carrier has carried ends for reasons of its own.
        failed = one.responded_ms is None and is_carrier_fault(cause, sip)
        one_way = event.disposition == ONE_WAY_AUDIO
        self._health_of(one.trunk).ended(TryOutcome(one.answered, failed, one_way))
        breaker = self._breaker(one.trunk)
        if failed:
            reason = f"SIP {sip}" if sip is not None else f"cause {cause}"
            breaker = breaker.failed(event.occurred_at, reason, self._limits)
        elif reached_the_line(cause, sip) and event.disposition not in NOT_DIALLED:
            breaker = Breaker()
        self._breakers[one.trunk] = breaker.gave_up(one.call_id)

    # Question ----------------------------------------------------------------------------------

    def choose(self, ask: Ask, now_ms: int) -> NextTry:
        """The ways of a call's next try, best first."""
        if now_ms - self._forgot_ms > FORGET_EVERY_MS:
            self._forgot_ms = now_ms
            self.tries.forget(now_ms)
        n = self.tries.last_try(ask.call_id) + 1
        if self.tries.of_contact(ask.contact, now_ms) >= self.plan.routing.tries:
            return NextTry(n, out_of_tries=True)
        ways: list[Way] = []
        refusals: dict[str, Why] = {}
        waits: list[int] = []
        for name, trunk in sorted(self.plan.trunks.items()):
            found = self._way(name, trunk, ask, now_ms, waits)
            if isinstance(found, Way):
                ways.append(found)
            else:
                refusals[name] = found
        best = max((self._health_of(way.trunk).answer_ratio or 0.0 for way in ways), default=0.0)
        keys = {way.trunk: self._race(way, ask, n, best) for way in ways}
        ways.sort(key=lambda way: keys[way.trunk])
        return NextTry(n, tuple(ways), refusals, min(waits, default=None))

    def _way(
        self, name: str, trunk: TrunkPlan, ask: Ask, now_ms: int, waits: list[int]
    ) -> Way | Why:
        """The way by a trunk, or why there is none; `waits` gets when to ask again, ms."""
        if trunk.state == "paused":
            return "paused"
        if (cost := trunk.cost_of(ask.phone)) is None:
            return "prefix"
        if name in self.tries.trunks_of(ask.call_id):
            return "tried"
        breaker = self._breaker(name)
        if not breaker.lets_through(now_ms):
            if breaker.state(now_ms) == "half_open":
                waits.append(POLL_MS)  # the probe will soon tell
            return "breaker"
        own, total = self.tries.on_trunk_of_edge[name, ask.edge_id], self.tries.on_trunk[name]
        if not _has_room(trunk.calls, own, total, ask):
            waits.append(POLL_MS)
            return "calls"
        begun = self.tries.begun(name, now_ms)
        own = sum(edge == ask.edge_id for _, edge in begun)
        if not _has_room(trunk.calls_per_second, own, len(begun), ask):
            waits.append(max(1, begun[0][0] + SECOND_MS - now_ms) if begun else POLL_MS)
            return "rate"
        if trunk.caller_ids is None:
            return Way(name, ask.caller_id, cost)
        number = self._caller_id(self.plan.caller_ids.get(trunk.caller_ids, ()), ask, now_ms)
        if number is None:
            waits.append(POLL_MS)
            return "caller_id"
        return Way(name, number, cost)

    def _caller_id(self, pool: Iterable[CallerId], ask: Ask, now_ms: int) -> str | None:
        """The most local number of a pool that is under its caps; the same contact sees the same
        one of several."""
        tries = self.tries

        def free(one: CallerId) -> bool:
            number, edge = one.number, ask.edge_id
            own, total = tries.by_caller_id_of_edge[number, edge], tries.by_caller_id[number]
            if not _has_room(one.calls, own, total, ask):
                return False
            shown = tries.shown(number, now_ms)
            own = sum(by == edge for _, by in shown)
            return _has_room(one.calls_per_hour, own, len(shown), ask)

        def rank(one: CallerId) -> tuple[int, bool, float]:
            near = max((len(p) for p in one.near if ask.phone.startswith(p)), default=0)
            return -near, one.number != ask.caller_id, _draw(ask.contact, one.number)

        best = min(filter(free, pool), key=rank, default=None)
        return None if best is None else best.number

    def _race(self, way: Way, ask: Ask, n: int, best: float) -> tuple[float, float]:
        """Sorts ways. Exponential draws with the weights as rates: the first of them is a trunk
        with a chance in proportion to its weight, and so is the second among the others."""
        weight = self.plan.trunks[way.trunk].weight * self._health_of(way.trunk).factor(best)
        draw = -math.log(_draw(ask.call_id, n, way.trunk)) / weight
        return (way.cost if self.plan.routing.order == "cost" else 0.0), draw

    # Figures -----------------------------------------------------------------------------------

    def figures(self, trunk: str, now_ms: int) -> TrunkFigures:
        """How a trunk stands."""
        breaker, health = self._breaker(trunk), self._health_of(trunk)
        return TrunkFigures(
            breaker.state(now_ms),
            self.tries.on_trunk[trunk],
            len(health.outcomes),
            health.failures,
            health.answer_ratio,
            None if health.pdd_ms is None else round(health.pdd_ms),
            breaker.reason,
        )

    @property
    def _limits(self) -> BreakerLimits:
        plan = self.plan.routing.breaker
        return BreakerLimits(plan.failures, int(plan.open_s * 1_000), int(plan.longest_s * 1_000))

    def _breaker(self, trunk: str) -> Breaker:
        return self._breakers.get(trunk) or Breaker()

    def _health_of(self, trunk: str) -> TrunkHealth:
        return self._health.setdefault(trunk, TrunkHealth())


def share(cap: int, edge_id: str, edges: Iterable[str]) -> int:
    """An edge's part of a cap; the parts of all edges add up to it. An edge that is not among the
    live ones has none."""
    there = sorted(set(edges))
    if edge_id not in there:
        return 0
    each, rest = divmod(cap, len(there))
    return each + (there.index(edge_id) < rest)


def _has_room(cap: int | None, own: int, total: int, ask: Ask) -> bool:
    return cap is None or (total < cap and own < share(cap, ask.edge_id, ask.edges))


def _draw(*parts: str | int) -> float:
    """A number in (0, 1) by SHA-256 of what it is drawn for."""
    digest = hashlib.sha256("|".join(str(part) for part in parts).encode()).digest()
    return (int.from_bytes(digest[:7], "big") + 0.5) / 2**56
