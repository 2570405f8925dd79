"""Delays that the far end hears through a real Asterisk, and the floor beside them."""

import asyncio
import socket

from bench.lines import floor, meter
from bench.lines.caller import Heard
from bench.lines.ringlog_calls import conversations, stack_on
from bench.measure import Measure, Outcome, Skipped
from demo.asterisk import system
from demo.asterisk.instance import Asterisk, free_port
from demo.asterisk.page import TrunkAddress
from demo.sip.carrier import SipCarrier
from ringlog.settings import Settings

CALLS = 30
_CARRIER = TrunkAddress("carrier-a", "127.0.0.11", 0)


def run(quick: bool) -> Outcome:
    """The three delays of the product against their budgets, and of an application that reacts to
    each frame. Raises Skipped where there is no Asterisk."""
    if (why := system.reason_absent()) is not None:
        raise Skipped(f"asterisk: {why}")
    calls = 3 if quick else CALLS
    port = free_port(_CARRIER.host, socket.SOCK_DGRAM)
    trunk = TrunkAddress(_CARRIER.name, _CARRIER.host, port)
    echoes, contrary = asyncio.run(_floor(trunk, calls))
    asterisk = Asterisk([trunk])
    try:
        asterisk.start()
        with stack_on(asterisk, trunk.name, "bench-lines") as config:
            ours = asyncio.run(_product(config, trunk, calls))
    finally:
        asterisk.close()
    return outcome_of(ours, contrary, echoes)


async def _floor(trunk: TrunkAddress, calls: int) -> tuple[list[float], list[Heard]]:
    applications = floor.Floor()
    async with applications.listening() as extensions:
        asterisk = Asterisk([trunk], extra={"extensions.conf": extensions})
        carrier = SipCarrier(trunk.name, trunk.host, trunk.port)
        try:
            asterisk.start()
            await carrier.start()
            echoes = await floor.echoes(asterisk, carrier, calls)
            return echoes, await floor.contrary(asterisk, carrier, calls)
        finally:
            await carrier.stop()
            asterisk.close()


async def _product(config: Settings, trunk: TrunkAddress, calls: int) -> list[Heard]:
    carrier = SipCarrier(trunk.name, trunk.host, trunk.port)
    await carrier.start()
    try:
        await conversations(config, carrier, 1)  # the first one warms everything up
        return await conversations(config, carrier, calls)
    finally:
        await carrier.stop()


BUDGETS = (
    ("answer to the robot's first voice", "answer_to_voice", 0.95, 1_000.0),
    ("voice onset to the robot's silence", "onset_to_silence", 0.95, 300.0),
    ("end of speech to the robot's answer", "end_to_voice", 0.50, 500.0),
    ("end of speech to the robot's answer", "end_to_voice", 0.95, 800.0),
)
"""What, the field of `Heard`, the share of calls, and the longest it may be, ms."""


def outcome_of(ours: list[Heard], contrary: list[Heard], echoes: list[float]) -> Outcome:
    """The figures of a run."""
    measures, notes = [], []
    for what, field, share, budget in BUDGETS:
        every, least = _delays(ours, field), _known(_delays(contrary, field))
        values = _known(every)
        name = f"{what}, {'median' if share == 0.5 else f'p{share * 100:.0f}'}"
        if len(values) < len(every):
            notes.append(f"{name}: {len(every) - len(values)} of {len(every)} times it never came")
        if not values or not least:
            continue
        measures.append(
            Measure(
                what=name, unit="ms", ours=meter.percentile(values, share), against="budget",
                theirs=budget, budget=1.0, bound="at most",
                note=f"{len(values)} times, worst {max(values):.0f} ms; floor "
                f"{meter.percentile(least, share):.0f} ms",
            )
        )  # fmt: skip
    if echoes:
        notes.append(
            f"AudioSocket echo there and back: median {meter.percentile(echoes, 0.5):.1f} ms, "
            f"p95 {meter.percentile(echoes, 0.95):.1f} ms of {len(echoes)} calls"
        )
    notes.append(
        "heard by a SIP far end at a real Asterisk, external media over RTP, A-law; the floor is "
        "an AudioSocket application that speaks while the far end is silent, by each frame's "
        "loudness alone"
    )
    return Outcome(measures=measures, notes=notes)


def _delays(calls: list[Heard], field: str) -> list[float | None]:
    """All values of one field of the calls."""
    values = [getattr(call, field) for call in calls]
    return [v for value in values for v in (value if isinstance(value, list) else [value])]


def _known(delays: list[float | None]) -> list[float]:
    return [delay for delay in delays if delay is not None]
