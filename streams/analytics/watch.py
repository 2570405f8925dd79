"""Watches the running job: Flink's REST interface, and the offsets that it has committed."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from ringlog import log
from ringlog.kafka.sync import ISOLATION
from ringlog.metrics import CONSUMER_LAG
from ringlog.settings import Settings
from schemas.catalogue import topic
from streams.analytics.records import SOURCE
from streams.analytics.statements import GROUP

_LAG_EVERY_S = 5.0
_ANSWER_WITHIN_S = 5.0


class JobEnded(RuntimeError):
    """The job has ended, which it never does by itself; the text says why."""


@dataclass(frozen=True, slots=True)
class JobState:
    """Flink's name of the state, and what is missing until all tasks run (empty: nothing)."""

    state: str
    waiting_for: str

    @property
    def over(self) -> bool:
        """Whether it will never run again."""
        return self.state in ("FAILED", "CANCELED", "FINISHED")


def judge(job: dict[str, Any]) -> JobState:
    """The state of a job, from the answer of `/jobs/<id>`."""
    state = str(job.get("state", "unknown"))
    vertices = job.get("vertices") or []
    idle = sum(v.get("status") != "RUNNING" for v in vertices)
    if state == "RUNNING" and vertices and not idle:
        return JobState(state, "")
    return JobState(state, f"Flink's job: {state}, {idle} of {len(vertices)} tasks do not run")


async def watch(
    rest_url: str, job_id: str, tell: Callable[[JobState], None], every_s: float = 0.5
) -> None:
    """Reports the job's state regularly; raises JobEnded when it has ended."""
    timeout = aiohttp.ClientTimeout(total=_ANSWER_WITHIN_S)
    async with aiohttp.ClientSession(rest_url, timeout=timeout) as http:
        while True:
            try:
                state = judge(await _get(http, f"/jobs/{job_id}"))
            except (aiohttp.ClientError, TimeoutError) as error:
                state = JobState("unknown", f"Flink's REST interface: {type(error).__name__}")
            if state.over:
                raise JobEnded(f"Flink's job is {state.state}: {await _cause(http, job_id)}")
            tell(state)
            await asyncio.sleep(every_s)


async def measure_lag(config: Settings) -> None:
    """Keeps the lag metric of the turns, as of the job's last checkpoint, for ever."""
    logger = log.logger("streams.analytics.lag")
    # This consumer only asks what others committed; on a new broker that takes a few attempts.
    logging.getLogger("aiokafka.consumer.group_coordinator").setLevel(logging.CRITICAL)
    tps = [TopicPartition(SOURCE, p) for p in range(topic(SOURCE).partitions)]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=config.kafka_bootstrap,
        group_id=GROUP,
        enable_auto_commit=False,
        isolation_level=ISOLATION,
    )
    consumer.assign(tps)
    await consumer.start()
    try:
        while True:
            try:
                ends = await consumer.end_offsets(tps)
                done = [await consumer.committed(tp) or 0 for tp in tps]
                lag = sum(ends[tp] - at for tp, at in zip(tps, done, strict=True))
                CONSUMER_LAG.labels(SOURCE, GROUP).set(max(lag, 0))
            except KafkaError as error:
                logger.warning("lag not measured", error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(_LAG_EVERY_S)
    finally:
        with suppress(KafkaError):
            await consumer.stop()


async def _get(http: aiohttp.ClientSession, path: str) -> dict[str, Any]:
    async with http.get(path) as answer:
        answer.raise_for_status()
        body: dict[str, Any] = await answer.json()
        return body


async def _cause(http: aiohttp.ClientSession, job_id: str) -> str:
    """First line that Flink gives for a failure, or that it gives none."""
    try:
        history = (await _get(http, f"/jobs/{job_id}/exceptions"))["exceptionHistory"]
        text = "\n".join(str(entry["stacktrace"]) for entry in history["entries"])
    except (aiohttp.ClientError, TimeoutError, KeyError):
        text = ""
    causes = [line for line in text.splitlines() if line.startswith("Caused by: ")]
    return (causes or text.splitlines() or ["no cause given"])[-1][:500]
