"""The switches of an edge, which of them holds which call, and by which trunk the next one goes."""

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from ingest.call.types import Call, LineFound, NoLine
from ingest.trunks.driver import IncomingCall, LineEvent, Listener, MediaAddress, Order, Switch
from ingest.trunks.plan import SitePlan, SwitchPlan, TrunkPlan
from ingest.trunks.router import Ask, TrunkRouter
from ingest.trunks.switches import NoSwitch
from ingest.trunks.tries import Try
from ringlog import log

logger = log.logger("ringlog.ingest.trunks")

Make = Callable[[str, SwitchPlan, Mapping[str, TrunkPlan]], Switch]
Spawn = Callable[[Coroutine[Any, Any, None], str], None]


class Switchboard:
    """All ways out of one edge. The router decides; this carries it out."""

    def __init__(self, edge_id: str, router: TrunkRouter, spawn: Spawn, make: Make) -> None:
        self.router = router
        self._edge_id = edge_id
        self._spawn = spawn
        self._make = make
        self._switches: dict[str, Switch] = {}
        self._made_of: dict[str, object] = {}  # what a driver was made of
        self._of_call: dict[str, str] = {}  # call -> its switch
        self._listener: Listener | None = None
        self._none = NoSwitch()
        self._apply()

    @property
    def no_response_ms(self) -> int | None:
        """How long a carrier may keep silent."""
        seconds = self.router.plan.routing.no_response_s
        return None if seconds is None else int(seconds * 1_000)

    @property
    def names(self) -> list[str]:
        """The switches in use."""
        return list(self._switches)

    async def start(self, listener: Listener) -> None:
        """Starts all switches; from now on the plan's changes start and end switches, too."""
        self._listener = listener
        for name, switch in self._switches.items():
            await switch.start(_Ear(self, name, listener))

    async def follow(self, plan: SitePlan) -> list[str]:
        """The plan has changed; calls go on. Gives the names of the switches that are new, whose
        calls they have yet to adopt."""
        before, self.router.plan = self.router.plan, plan
        closed, made = self._apply()
        for switch in closed:
            await switch.close()
        if self._listener is not None:
            # What an earlier driver said of its trunks is void; a new one says what is so now.
            anew = {*made, *(switch.name for switch in closed)}
            trunks = (*before.trunks.items(), *plan.trunks.items())
            for name in sorted({name for name, trunk in trunks if trunk.switch in anew}):
                self._listener.on_reachable(name, True)
            for name in made:
                await self._switches[name].start(_Ear(self, name, self._listener))
        return made

    def find(self, call: Call, edges: Iterable[str], now_ms: int) -> LineFound | NoLine:
        """The trunk of the call's next try; it counts as running from now on."""
        who = call.identity
        ask = Ask(
            who.call_id, who.task_id or who.call_id, who.phone or "", self._edge_id,
            tuple(sorted({*edges, self._edge_id})), who.caller_id,
        )  # fmt: skip
        found = self.router.choose(ask, now_ms)
        for way in found.ways:
            name = self.router.plan.trunks[way.trunk].switch
            if name not in self._switches:
                continue  # it has no driver, which is logged
            self._of_call[who.call_id] = name
            self.router.begin(
                Try(
                    who.call_id, found.n, ask.contact, way.trunk, way.caller_id, self._edge_id,
                    now_ms,
                )
            )  # fmt: skip
            return LineFound(found.n, way.trunk, way.caller_id)
        why = ", ".join(f"{trunk}: {reason}" for trunk, reason in found.refusals.items())
        logger.info("no trunk", call_id=who.call_id, try_no=found.n,
                    why="tries used up" if found.out_of_tries else why)  # fmt: skip
        return NoLine(found.wait_ms, spent=found.out_of_tries)

    def order(
        self, call: Call, phone: str, codec: str, ours: MediaAddress | None, ring_timeout_ms: int
    ) -> Order:
        """What the switch is asked for."""
        trunk = self.router.plan.trunks.get(call.trunk)
        endpoint = "" if trunk is None else trunk.dialled(phone)
        return Order(
            call.identity.call_id, phone, call.trunk, codec, ours, call.caller_id,
            ring_timeout_ms, endpoint, call.tries,
        )  # fmt: skip

    def holds(self, call_id: str, trunk: str) -> None:
        """A call goes over a trunk, as the log tells or as it has come in."""
        if (plan := self.router.plan.trunks.get(trunk)) is not None:
            self._of_call[call_id] = plan.switch

    def of(self, call_id: str) -> Switch:
        """The switch that holds a call; for a call of none, the first one, which does not know
        it."""
        switch = self._switches.get(self._of_call.get(call_id, ""))
        return switch or next(iter(self._switches.values()), self._none)

    def by_trunk(self, trunk: str) -> Switch:
        """The switch that a trunk goes by."""
        plan = self.router.plan.trunks.get(trunk)
        return self._none if plan is None else self._switches.get(plan.switch, self._none)

    def calls_of(self, switch: str) -> list[str]:
        """The calls that a switch holds."""
        return [call_id for call_id, name in self._of_call.items() if name == switch]

    def forget(self, call_id: str) -> None:
        """The call is over."""
        self._of_call.pop(call_id, None)

    async def close(self) -> None:
        """Leaves all switches."""
        for switch in self._switches.values():
            await switch.close()

    def told(self, switch: str, call_id: str, progress: LineEvent) -> bool:
        """Whether a switch tells of a call that it holds. A call that was given up there and rings
        there after all is ended: it goes over another switch by now."""
        holder = self._of_call.get(call_id)
        if holder is None or holder == switch:
            return True
        if progress.kind in ("ringing", "early_media", "answered"):
            logger.warning("a try that was given up rings", call_id=call_id, switch=switch)
            self._spawn(self._switches[switch].hang_up(call_id), "hang-up")
        return False

    def _apply(self) -> tuple[list[Switch], list[str]]:
        """Makes what is new in the plan; gives the switches that are no longer used, and the names
        of new ones."""
        plan = self.router.plan
        closed: list[Switch] = []
        made: list[str] = []
        for name, switch in plan.switches.items():
            trunks = {n: trunk for n, trunk in plan.trunks.items() if trunk.switch == name}
            made_of = switch, {n: (trunk.endpoint, trunk.inbound) for n, trunk in trunks.items()}
            if self._made_of.get(name) == made_of:
                continue  # weights, costs and caps are the router's alone
            if (old := self._switches.pop(name, None)) is not None:
                closed.append(old)
            self._made_of[name] = made_of
            try:
                self._switches[name] = self._make(name, switch, trunks)
                made.append(name)
            except ValueError as error:
                logger.error("a switch cannot be used", switch=name, reason=str(error))
        for name in self._switches.keys() - plan.switches.keys():
            if not self.calls_of(name):
                closed.append(self._switches.pop(name))
                self._made_of.pop(name, None)
        return closed, made


class _Ear:
    """What one switch tells, less what concerns calls that another one holds by now."""

    def __init__(self, board: Switchboard, switch: str, listener: Listener) -> None:
        self._board = board
        self._switch = switch
        self._listener = listener

    def on_progress(self, call_id: str, progress: LineEvent) -> None:
        if self._board.told(self._switch, call_id, progress):
            self._listener.on_progress(call_id, progress)

    def on_media(self, call_id: str, theirs: MediaAddress) -> None:
        if self._board.of(call_id).name == self._switch:
            self._listener.on_media(call_id, theirs)

    async def came_in(self, call: IncomingCall) -> MediaAddress | None:
        return await self._listener.came_in(call)

    def on_reachable(self, trunk: str, reachable: bool) -> None:
        self._listener.on_reachable(trunk, reachable)

    def calls_on(self, switch: str) -> dict[str, str]:
        return self._listener.calls_on(switch)
