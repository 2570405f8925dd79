"""How long an edge's takeover by its spare takes, with a log of any length.

    python -m tests.integration.ingest.takeover --records 200000

Starts a broker and a registry of its own, writes that many records of ended calls, lets a call
run, and kills the serving edge again and again. Prints the time from the kill to the spare's being
ready, and to the first customer's sound on the log that came after the kill.
"""

import argparse
import asyncio
import os
import signal
import statistics
import tempfile
import time
from pathlib import Path

from ringlog.kafka.producer import EventProducer
from ringlog.settings import Settings, settings
from schemas.envelope import Event
from schemas.events import CallEvent
from schemas.ids import root_id
from stack import control
from tests.integration.conftest import free_port_shift
from tests.integration.ingest.edge_world import World, now_ms

KINDS = ("dialing", "answered", "playout_started", "playout_ended", "ended")
AT_ONCE = 2_000


async def fill(config: Settings, records: int) -> None:
    """Writes calls that have ended."""
    async with EventProducer(config, "fill") as producer:
        batch: list[tuple[str, Event]] = []
        for n in range(records):
            call = root_id("old", n // len(KINDS))
            kind = KINDS[n % len(KINDS)]
            event = CallEvent.model_validate(
                {"event_id": root_id(call, kind), "kind": kind, "occurred_at": now_ms(),
                 "producer": "edge", "call_id": call, "source": "edge", "edge_id": "edge",
                 "direction": "outbound", "phone": "+8613700000000", "pool": "sales"}
            )  # fmt: skip
            batch.append(("calls.events", event))
            if len(batch) == AT_ONCE:
                await producer.send_all(batch)
                batch.clear()
        await producer.send_all(batch)


async def measure(config: Settings, folder: Path, times: int) -> list[tuple[float, float]]:
    """(s to ready, s to sound) of each takeover."""
    found: list[tuple[float, float]] = []
    async with World(config, folder) as world:
        await world.spare.start()
        await asyncio.sleep(3)
        call, _ = await world.answered_call()
        serving, spare = world.edge, world.spare
        for _ in range(times):
            await asyncio.sleep(2)
            began, began_ms = time.monotonic(), now_ms()
            await serving.end(signal.SIGKILL)
            await spare.until_ready("serves")
            ready_s = time.monotonic() - began
            await world.log.until(
                lambda at=began_ms: any(  # type: ignore[misc]
                    c.occurred_at > at + 100 for c in world.log.chunks(call, "customer")[-20:]
                ),
                "sound",
            )
            found.append((ready_s, time.monotonic() - began))
            serving, spare = spare, serving
            await spare.start()
            await asyncio.sleep(3)
    return found


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        config = Settings(home=Path(home), port_shift=free_port_shift(), law="off")
        os.environ["RINGLOG_HOME"] = home
        os.environ["RINGLOG_PORT_SHIFT"] = str(config.port_shift)
        settings.cache_clear()
        control.up(config, only={"contract"}, detach=True, tied=True)
        try:
            asyncio.run(fill(config, options.records))
            found = asyncio.run(measure(config, Path(home), options.times))
        finally:
            control.down(config)
    for name, values in zip(("ready", "sound"), zip(*found, strict=True), strict=True):
        print(f"{name}: median {statistics.median(values):.2f} s, worst {max(values):.2f} s,"
              f" of {len(values)}, {options.records} records on the log")  # fmt: skip


if __name__ == "__main__":
    main()
