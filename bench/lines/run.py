"""Delays that the far end hears through a real Asterisk, and the floor beside them."""

import asyncio
import socket
from collections.abc import Mapping

from bench.lines import floor, meter
from bench.lines.caller import Heard
from bench.lines.flush import KINDS, flushes
from bench.lines.ringlog_calls import conversations, stack_on
from bench.measure import Measure, Outcome, Skipped
from demo.asterisk import system
from demo.asterisk.instance import Asterisk, free_port
from demo.asterisk.page import TrunkAddress
from demo.sip.carrier import SipCarrier
from ringlog.settings import Settings

CALLS = 32
TOGETHER = 4
"""Calls side by side: thirty take few minutes, and two cores are not full."""

CLEARS = 40
FLUSH_BUDGET_MS = 100.0
_CARRIER = TrunkAddress("carrier-a", "127.0.0.11", 0)

Flushed = Mapping[str, list[float | None]]
"""Delays from a clear to silence by kind of media, ms."""


def run(quick: bool) -> Outcome:
    """The delays of the product against their budgets, and those of applications that do nothing
    else, by the same Asterisk and the same far end at the same time. Raises Skipped where there is
    no Asterisk."""
    if (why := system.reason_absent()) is not None:
        raise Skipped(f"asterisk: {why}")
    calls, clears = (4, 4) if quick else (CALLS, CLEARS)
    port = free_port(_CARRIER.host, socket.SOCK_DGRAM)
    trunk = TrunkAddress(_CARRIER.name, _CARRIER.host, port)
    media_port = free_port("127.0.0.1", socket.SOCK_STREAM)
    applications = floor.Floor()
    asterisk = Asterisk(
        [trunk], f"ws://127.0.0.1:{media_port}/media/asterisk",
        {"extensions.conf": applications.extensions},
    )  # fmt: skip
    try:
        asterisk.start()
        with stack_on(asterisk, trunk.name, "bench-lines") as config:
            ours, contrary, echoes = asyncio.run(
                _measure(config, asterisk, trunk, applications, calls)
            )
        flushed = asyncio.run(_flushed(asterisk, trunk, media_port, clears))
    finally:
        asterisk.close()
    return outcome_of(ours, contrary, echoes, flushed)


async def _measure(
    config: Settings, asterisk: Asterisk, trunk: TrunkAddress, applications: floor.Floor, calls: int
) -> tuple[list[Heard], list[Heard], list[float]]:
    """Conversations with the product; meanwhile, one at a time, calls to the two applications."""
    carrier = SipCarrier(trunk.name, trunk.host, trunk.port)
    await carrier.start()
    try:
        await conversations(config, carrier, 1, 1)  # the first one warms everything up
        async with applications.listening(), asyncio.TaskGroup() as group:
            product = group.create_task(conversations(config, carrier, calls, TOGETHER))
            floors = group.create_task(_floor(asterisk, carrier, calls))
        return product.result(), *floors.result()
    finally:
        await carrier.stop()


async def _floor(
    asterisk: Asterisk, carrier: SipCarrier, calls: int
) -> tuple[list[Heard], list[float]]:
    contrary: list[Heard] = []
    echoes: list[float] = []
    for _ in range(calls):
        contrary += await floor.contrary(asterisk, carrier, 1)
        echoes += await floor.echoes(asterisk, carrier, 1)
    return contrary, echoes


async def _flushed(
    asterisk: Asterisk, trunk: TrunkAddress, media_port: int, clears: int
) -> Flushed:
    """Clears of every kind of media, without the rest of the product, whose clock is not ours."""
    carrier = SipCarrier(trunk.name, trunk.host, trunk.port)
    await carrier.start()
    try:
        return {
            media: await flushes(asterisk, carrier, media, media_port, clears) for media in KINDS
        }
    finally:
        await carrier.stop()


BUDGETS = (
    ("answer to the robot's first voice", "answer_to_voice", 0.95, 1_000.0),
    ("voice onset to the robot's silence", "onset_to_silence", 0.95, 300.0),
    ("end of speech to the robot's answer", "end_to_voice", 0.50, 500.0),
    ("end of speech to the robot's answer", "end_to_voice", 0.95, 800.0),
)
"""What, the field of `Heard`, the share of calls, and the longest it may be, ms."""


def outcome_of(
    ours: list[Heard], contrary: list[Heard], echoes: list[float], flushed: Flushed
) -> Outcome:
    """The figures of a run."""
    measures, notes = [], []
    for what, field, share, budget in BUDGETS:
        every, least = _delays(ours, field), _known(_delays(contrary, field))
        values = _known(every)
        name = f"{what}, {'median' if share == 0.5 else f'p{share * 100:.0f}'}"
        notes += _missing(name, every)
        if not values or not least:
            continue
        measures.append(
            _in_ms(name, meter.percentile(values, share), budget,
                   f"{len(values)} times, worst {max(values):.0f} ms; floor "
                   f"{meter.percentile(least, share):.0f} ms")
        )  # fmt: skip
    for media, delays in flushed.items():
        name, values = f"the edge's clear to silence by {media}, p95", _known(delays)
        notes += _missing(name, delays)
        if values:
            note = f"{len(values)} times, median {meter.percentile(values, 0.5):.0f} ms, worst "
            note += f"{max(values):.0f} ms"
            measures.append(_in_ms(name, meter.percentile(values, 0.95), FLUSH_BUDGET_MS, note))
    if echoes:
        notes.append(
            f"AudioSocket echo there and back, in the same run: median "
            f"{meter.percentile(echoes, 0.5):.1f} ms, p95 {meter.percentile(echoes, 0.95):.1f} ms "
            f"of {len(echoes)} calls"
        )
    notes += [
        "heard by a SIP far end at a real Asterisk, external media over RTP, A-law; "
        f"{TOGETHER} calls side by side, and beside them one to an AudioSocket application: an "
        "echo, or one that speaks while the far end is silent, by each frame's loudness alone "
        "(the floor)",
        "a clear is that of the edge's session and driver, of calls without robot and log",
    ]
    return Outcome(measures=measures, notes=notes)


def _in_ms(what: str, ours: float, budget: float, note: str) -> Measure:
    return Measure(
        what=what, unit="ms", ours=ours, against="budget", theirs=budget, budget=1.0,
        bound="at most", note=note,
    )  # fmt: skip


def _missing(name: str, delays: list[float | None]) -> list[str]:
    lacking = delays.count(None)
    return [f"{name}: {lacking} of {len(delays)} times it never came"] if lacking else []


def _delays(calls: list[Heard], field: str) -> list[float | None]:
    """All values of one field of the calls."""
    values = [getattr(call, field) for call in calls]
    return [v for value in values for v in (value if isinstance(value, list) else [value])]


def _known(delays: list[float | None]) -> list[float]:
    return [delay for delay in delays if delay is not None]
