"""Goes on with calls that an earlier process served: this edge's own after a restart, and those of
a lost edge. Tells, too, whether a call is still this edge's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable
from typing import Any, Final, Protocol

from aiokafka.errors import KafkaError

from ingest.call.actor import CallActor
from ingest.call.types import (
    Q850_TEMPORARY_FAILURE,
    RING_TIMEOUT_MS,
    Call,
    Directed,
    HungUp,
    LineAwaited,
    Phase,
    RingTimedOut,
)
from ingest.failover.fence import Fence
from ingest.failover.journal import Entry, Journal
from ingest.failover.last_sound import LastSound, last_sound
from ingest.failover.running import Survivor
from ingest.following import Following, Listener
from ingest.rtp.socket import NoPort
from ingest.sound.clock import monotonic_us
from ingest.sound.types import PCMU, Format
from ingest.trunks.switchboard import Switchboard
from ringlog import log
from ringlog.clock import now_ms
from ringlog.kafka.producer import EventProducer
from ringlog.settings import Settings

logger = log.logger("ringlog.ingest.edge")

LOOK_S: Final = 0.05
"""How often an edge that hears nothing of itself looks whether it does again."""

DOWN_MS: Final = 30_000
"""How far back sound is looked for of a call that the journal does not have."""


class Resumed(Listener, Protocol):
    """What going on with calls needs from the edge."""

    config: Settings
    producer: EventProducer
    edge_id: str
    following: Following
    journal: Journal
    switchboard: Switchboard
    actors: dict[str, CallActor]
    stopping: bool

    def add(self, call: Call, sound: Format) -> CallActor:
        """From now on records of the call reach its actor."""
        ...

    async def work(self, actor: CallActor) -> None:
        """Works until the call is over."""
        ...

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Runs work whose failure concerns one call, not the service."""
        ...


class Resuming:
    """Works for one edge process. It is the heir of lost edges (`ingest.failover.inheritance`)."""

    def __init__(
        self, edge: Resumed, fence: Fence, to_the_end: Callable[[], Awaitable[None]]
    ) -> None:
        """`to_the_end` reads everything that the log has of calls."""
        self._edge = edge
        self._fence = fence
        self._read = to_the_end
        self._anew: set[str] = set()  # calls whose sound goes to an edge that is lost

    # Our own -------------------------------------------------------------------------------------

    async def resume(self) -> None:
        """Goes on with the calls that ran when this edge died; raises KafkaError."""
        edge = self._edge
        entries = {entry.call_id: entry for entry in edge.journal.entries()}
        survivors = edge.following.serve(edge)
        for call_id in entries.keys() - {call.identity.call_id for call, _ in survivors}:
            edge.journal.remove(call_id)
        # From here on records reach the actors, which begin once their media is open.
        actors = [
            self._take_up(found, entries.get(found.call.identity.call_id)) for found in survivors
        ]
        # A call that has no entry was taken over right before this edge died.
        unknown = {
            actor.call_id for actor in actors
            if actor.call_id not in entries and edge.switchboard.of(actor.call_id).keeps_calls
        }  # fmt: skip
        self._anew |= unknown
        heard = LastSound()
        if unknown:
            heard = await last_sound(edge.config, edge.producer, unknown, now_ms() - DOWN_MS)
        for actor in actors:
            entry = entries.get(actor.call_id)
            if actor.call_id in unknown:
                entry = self._entry_of(actor, heard)
            await self._open(actor, entry)

    def adopt_on(self, switches: Collection[str]) -> None:
        """Switches that have just been started take up our calls on them."""
        for actor in self._edge.actors.values():
            on = self._edge.switchboard.of(actor.call_id).name
            if actor.session is not None and on in switches:
                self._edge.spawn(self._adopt(actor), "adopt")

    async def may_act(self, call: Call) -> bool:
        """Whether the call is still ours. Where other edges may have taken us for dead, what they
        wrote is read first."""
        edge, call_id = self._edge, call.identity.call_id
        fleet = edge.following.fleet.all()
        others = any(one.edge_id != edge.edge_id and not one.gone for one in fleet)
        if not others or self._fence.holds(monotonic_us()):
            return True
        logger.warning("no heartbeat of ours came back lately", call_id=call_id)
        while True:
            if self._fence.holds(monotonic_us()) and await self._has_read():
                break
            await asyncio.sleep(LOOK_S)
        edge_id = edge.following.running.edge_of(call_id)
        # A call whose first record is not written yet is ours; one that is over is nobody's.
        unwritten = edge_id is None and call.tries == 0 and call.phase <= Phase.DIALING
        return unwritten or edge_id == edge.edge_id

    async def _has_read(self) -> bool:
        try:
            await self._read()
        except KafkaError as error:
            logger.warning("the log's end is not known", error=type(error).__name__)
            return False
        return True

    # Those of a lost edge ------------------------------------------------------------------------

    async def to_the_end(self) -> None:
        """Reads everything that the log has of calls; raises KafkaError."""
        await self._read()

    def calls_of(self, edge_id: str) -> list[Call]:
        """The running calls of an edge."""
        return self._edge.following.running.of(edge_id)

    def can_take_over(self, call: Call) -> bool:
        """Whether a switch of ours holds the call, whatever became of its edge."""
        switch = self._edge.switchboard.by_trunk(call.trunk)
        held = call.identity.direction != "foreign" and switch.keeps_calls
        return held and switch.connected and not self._edge.stopping

    def unserved(self) -> list[str]:
        """Calls that are ours by the log, and that nobody serves."""
        ours = (call.identity.call_id for call in self.calls_of(self._edge.edge_id))
        return [call_id for call_id in ours if call_id not in self._edge.actors]

    async def take_over(self, calls: Iterable[str], heard: LastSound) -> None:
        """Goes on with calls, where they are ours by now."""
        actors: list[CallActor] = []
        for call_id in calls:
            if call_id in self._edge.actors:
                continue
            found = self._edge.following.take_up(call_id)
            if found is not None:
                self._anew.add(call_id)
                actors.append(self._take_up(found, None, heard.sound_of(call_id)))
        # All at once, so that the switch is asked once what it holds.
        await asyncio.gather(*(self._open(a, self._entry_of(a, heard)) for a in actors))
        for actor in actors:
            self._edge.spawn(self._adopt(actor), "adopt")

    async def hang_up_inherited(self, call: Call) -> None:
        """Tells the switch that a lost edge's call is over, where the switch is one of ours."""
        if call.identity.direction == "outbound" and call.phase >= Phase.DIALING:
            call_id = call.identity.call_id
            await self._edge.switchboard.of(call_id).hang_up(call_id)

    # Both ----------------------------------------------------------------------------------------

    def _take_up(self, found: Survivor, entry: Entry | None, sound: Format = PCMU) -> CallActor:
        actor = self._edge.add(found.call, sound if entry is None else entry.sound)
        self._edge.switchboard.holds(actor.call_id, found.call.trunk)
        for directive in found.directives:
            actor.put(Directed(directive))
        return actor

    def _entry_of(self, actor: CallActor, heard: LastSound) -> Entry:
        began_ms = self._edge.following.running.began_ms(actor.call_id)
        return heard.entry_of(actor.call_id, now_ms() if began_ms is None else began_ms)

    async def _open(self, actor: CallActor, entry: Entry | None) -> None:
        """Opens the call's media, and lets it work."""
        phase, call_id = actor.call.phase, actor.call_id
        medium = self._edge.switchboard.of(call_id).medium
        try:
            if entry is None:
                raise OSError("its port is not known")
            await actor.open_media(
                entry.remote, entry, medium=medium, elsewhere=call_id in self._anew
            )
        except (NoPort, OSError) as error:
            logger.error("call lost", call_id=call_id, reason=str(error))
            actor.put(HungUp("failed", Q850_TEMPORARY_FAILURE))
        else:
            if actor.call.between and actor.call.refusal is not None:
                actor.put(LineAwaited())  # its last try has failed, so nobody rings: another begins
            elif phase < Phase.ANSWERED:
                actor.after(RING_TIMEOUT_MS, RingTimedOut())
            logger.info("call resumed", call_id=call_id, phase=phase.name)
        self._edge.spawn(self._edge.work(actor), call_id)

    async def _adopt(self, actor: CallActor) -> None:
        """The switch takes the call up."""
        call, call_id = actor.call, actor.call_id
        anew = call_id in self._anew
        self._anew.discard(call_id)
        if call.identity.direction == "foreign" or call.phase < Phase.PLACED or call.between:
            return
        if actor.session is None:
            return  # it could not be opened, and ends
        switch = self._edge.switchboard.of(call_id)
        placed_by = call.owner_on_switch if call.owner_on_switch != self._edge.edge_id else ""
        if not await switch.adopt(
            call_id,
            actor.our_address() if switch.medium == "rtp" else None,
            max(1, call.tries),
            answered=call.phase >= Phase.ANSWERED,
            placed_by=placed_by,
            anew=anew,
        ):
            actor.put(HungUp("failed", Q850_TEMPORARY_FAILURE))
