"""The cost of safety: acknowledgements, and a standby for the speaking robot worker.

Answers: eight calls with a question every 0.8 s, from the final's sending to the first directive as
another client reads it, with one robot worker and with two. Records: our producer, idempotent and
waited for batch by batch, against one without acknowledgements.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

import numpy as np
from aiokafka import AIOKafkaProducer

from bench import transcripts
from bench.measure import Measure, Outcome
from bench.own_stack import own_stack
from ringlog.kafka.producer import EventProducer
from ringlog.settings import Settings
from schemas.events import Transcript
from schemas.partition import partition_of
from tests.integration.robots.scene import open_site
from tests.integration.robots.standby_run import Run, Workers

TOPIC = "asr.transcripts"
CALLS = 8
BATCH = 500
_ROUNDS = 3


async def answers_ms(config: Settings, workers: tuple[str, ...], seconds: float) -> list[float]:
    """How long each question waited for its answer."""
    with tempfile.TemporaryDirectory() as logs:
        processes = Workers(config, Path(logs))
        async with open_site(config, "bench-robots") as site:
            run = Run(site, processes)
            following = asyncio.create_task(run.follow())
            try:
                for name in workers:
                    processes.start(name)
                await run.speaks()
                await run.begin(CALLS)
                warmed = time.monotonic()
                run.keep_asking(1)
                await asyncio.sleep(seconds)
                await run.stop_asking()
                run.check()
            finally:
                run.close()
                following.cancel()
                await asyncio.to_thread(processes.stop_all)
    return [
        (asked.first - asked.at) * 1000
        for asked in run.asked.values()
        if asked.first is not None and asked.at > warmed
    ]


async def records_per_s(config: Settings, events: list[Transcript]) -> tuple[float, float]:
    """(acknowledged, on trust) records per second of wall time, in alternate rounds."""
    safe, trusting = list[float](), list[float]()
    async with EventProducer(config, "bench-safe") as producer:
        careless = AIOKafkaProducer(bootstrap_servers=config.kafka_bootstrap, acks=0, linger_ms=0)
        await careless.start()

        async def acknowledged() -> None:
            for at in range(0, len(events), BATCH):
                await producer.send_all([(TOPIC, e) for e in events[at : at + BATCH]])

        async def on_trust() -> None:
            for event in events:
                key = event.call_id or ""
                value = producer.codec.encode(TOPIC, event)
                partition = partition_of(key, 8)
                await careless.send(TOPIC, value, key=key.encode(), partition=partition)
            await careless.flush()

        try:
            for turn in range(_ROUNDS + 1):
                for rates, work in ((safe, acknowledged), (trusting, on_trust)):
                    rate = await _rate(work, len(events))
                    if turn:
                        rates.append(rate)
        finally:
            await careless.stop()
    return median(safe), median(trusting)


async def _rate(work: Callable[[], Awaitable[None]], count: int) -> float:
    began = time.monotonic()
    await work()
    return count / (time.monotonic() - began)


def run(quick: bool) -> Outcome:
    """Answers with and without a standby, records with and without acknowledgements."""
    seconds, count = (4.0, 2_000) if quick else (40.0, 40_000)
    events = [Transcript.model_validate(record) for record in transcripts.records(count)]
    with own_stack({"publish"}) as config:
        alone = asyncio.run(answers_ms(config, ("a",), seconds))
        pair = asyncio.run(answers_ms(config, ("a", "b"), seconds))
        safe, trusting = asyncio.run(records_per_s(config, events))
    measures = [
        Measure(
            what=f"answer with a standby, {name}", unit="ms",
            ours=float(np.percentile(pair, share)),
            against="one worker alone", theirs=float(np.percentile(alone, share)),
            bound="at most",
        )
        for name, share in (("median", 50), ("p95", 95))
    ]  # fmt: skip
    measures.append(
        Measure(
            what=f"records acknowledged in batches of {BATCH}", unit="records/s", ours=safe,
            against="sent on trust, acks=0", theirs=trusting,
        )
    )  # fmt: skip
    return Outcome(
        measures=measures,
        notes=[
            f"{len(alone)} and {len(pair)} answers of {CALLS} calls; {count} transcripts a round"
        ],
    )
