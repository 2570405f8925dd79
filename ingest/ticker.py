"""The shared clock of an edge's calls: 20 ms for their sound, a second for their health."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from ingest.call.actor import CallActor
from ingest.call.types import Q850_TEMPORARY_FAILURE, HungUp
from ingest.sound.clock import monotonic_us
from ingest.sound.pacer import Pacer
from ingest.sound.session import Session
from ringlog import log
from ringlog.metrics import PLAYOUT_TICKS_SKIPPED

logger = log.logger("ringlog.ingest.ticker")

COUNT_TICKS: Final = 50

STALL_US: Final = 60_000
"""A tick this late means that the process stood still."""

STALL_READS: Final = 4
"""Turns of the loop before a late tick; each reads 32 packets of every socket (libuv)."""

WS_GRACE_US: Final = 15_000_000
"""How long an external call without a media connection waits for the next one."""


async def tick(
    pacer: Pacer,
    sessions: dict[str, Session],
    actors: Mapping[str, CallActor],
    drain_is_over: Callable[[], bool],
) -> None:
    """Ticks all sessions until it is cancelled. `drain_is_over`: no call may last longer."""
    skipped = 0
    while True:
        if pacer.late_us(monotonic_us()) > STALL_US:
            # What came while we stood still waits in the sockets: it is no silence.
            for _ in range(STALL_READS):
                await asyncio.sleep(0)
        at_us = monotonic_us()
        if pacer.due(at_us):
            number = pacer.tick - 1
            if pacer.skipped > skipped:
                PLAYOUT_TICKS_SKIPPED.inc(pacer.skipped - skipped)
                skipped = pacer.skipped
            for call_id, session in list(sessions.items()):
                try:
                    session.tick(number, at_us)
                except Exception as error:  # one call's failure must not stop the others
                    logger.exception("tick failed", call_id=call_id, error=str(error))
                    if (actor := actors.get(call_id)) is not None:
                        actor.put(HungUp("failed", Q850_TEMPORARY_FAILURE))
                    sessions.pop(call_id, None)
            if number % COUNT_TICKS == 0:
                over = drain_is_over()
                for actor in list(actors.values()):
                    look_after(actor, over, at_us)
        await asyncio.sleep(pacer.wait_us(monotonic_us()) / 1e6)


def look_after(actor: CallActor, over: bool, at_us: int) -> None:
    """Once a second: counts, and ends a call whose media is gone; any, when the drain is over."""
    session = actor.session
    if over:
        actor.put(HungUp("failed", Q850_TEMPORARY_FAILURE))
    if actor.rtp is not None:
        actor.rtp.count()
    if session is None:
        return
    external = actor.call.identity.direction == "foreign"
    lost = external and session.transport is None and session.quiet_us(at_us) > WS_GRACE_US
    fault = "failed" if lost else session.fault(at_us, actor.call.handed_over)
    if fault is not None and not actor.call.closing:
        logger.warning("media is gone", call_id=actor.call_id, disposition=fault)
        actor.put(HungUp(fault, Q850_TEMPORARY_FAILURE))
