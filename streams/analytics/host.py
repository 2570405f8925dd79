"""The service: Flink's mini cluster with the job in it, and the ticks that keep its time moving."""

import asyncio
import contextlib
import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from ringlog import log
from ringlog.kafka.codec import codec_of
from ringlog.kafka.producer import EventProducer
from ringlog.lifecycle import Lifecycle
from ringlog.settings import Settings
from streams.analytics import checkpoints, options
from streams.analytics.savepoint import NoSavepoint, stop_with_savepoint
from streams.analytics.ticks import write_ticks
from streams.analytics.watch import JobState, measure_lag, watch

SERVICE = "analytics"
_STOP_WITHIN_S = 10.0
_SAVEPOINT_WITHIN_S = 10.0


@dataclass(frozen=True)
class Running:
    """A submitted job and the JVM that it runs in."""

    job_id: str
    jvm: psutil.Process
    kept: Path
    restored: Path | None


async def main(life: Lifecycle) -> None:
    """Runs until told to stop; raises when the job is over or its JVM is gone."""
    config, logger = life.settings, log.logger("streams.analytics.host")
    codec = codec_of(config)
    await life.learn(codec)
    life.health.set_waiting("Flink's mini cluster")
    begun = time.monotonic()
    running = await asyncio.to_thread(start, config)
    logger.info(
        "job submitted",
        job_id=running.job_id,
        restored=str(running.restored),
        seconds=round(time.monotonic() - begun, 1),
    )

    def tell(state: JobState) -> None:
        if life.stopping.is_set():
            return
        if not running.jvm.is_running() or running.jvm.status() == psutil.STATUS_ZOMBIE:
            raise RuntimeError("Flink's JVM is gone; see flink/log below the home")
        if not state.waiting_for and not life.health.ready:
            logger.info("job running", seconds=round(time.monotonic() - begun, 1))
            life.health.set_ready()
        elif state.waiting_for and state.waiting_for != life.health.waiting_for:
            say = logger.warning if life.health.ready else logger.info
            say("job not running", why=state.waiting_for)
            life.health.set_waiting(state.waiting_for)

    rest_url = f"http://127.0.0.1:{config.port(config.flink_ui_port)}"
    try:
        async with EventProducer(config, SERVICE, codec) as producer:
            await producer.announce()
            life.spawn(write_ticks(producer), "ticks")
            life.spawn(measure_lag(config), "lag")
            life.spawn(watch(rest_url, running.job_id, tell), "watch")
            await life.until_stopped()
            await life.close()
            await _save(rest_url, running)
    finally:
        await asyncio.to_thread(stop, running)


async def _save(rest_url: str, running: Running) -> None:
    logger = log.logger("streams.analytics.host")
    begun = time.monotonic()
    try:
        await stop_with_savepoint(rest_url, running.job_id, running.kept, _SAVEPOINT_WITHIN_S)
    except NoSavepoint as error:
        logger.warning("no savepoint; the last checkpoint is used", why=str(error))
    else:
        logger.info("savepoint made", seconds=round(time.monotonic() - begun, 1))


async def only_ticks(life: Lifecycle) -> None:
    """Writes ticks for a job on a session cluster."""
    codec = codec_of(life.settings)
    await life.learn(codec)
    async with EventProducer(life.settings, SERVICE, codec) as producer:
        await producer.announce()
        life.spawn(write_ticks(producer), "ticks")
        life.spawn(measure_lag(life.settings), "lag")
        life.health.set_ready()
        await life.until_stopped()
        await life.close()


def start(config: Settings) -> Running:
    """Starts the JVM and submits the job from its last checkpoint. Takes some ten seconds."""
    options.prepare_process(config)
    level = logging.getLogger().level
    # After the environment is set, and not before it is needed: PyFlink takes a while to import.
    from streams.analytics import job, statements

    logging.getLogger("apache_beam").setLevel(logging.WARNING)  # reports what it cannot import
    shutil.rmtree(options.folder(config) / "tmp", ignore_errors=True)
    (options.folder(config) / "tmp").mkdir(parents=True)
    sql = statements.statements(config)
    kept = options.folder(config) / "checkpoints" / job.fingerprint(sql)
    kept.mkdir(parents=True, exist_ok=True)
    restore = checkpoints.newest(kept, time.time())
    checkpoints.prune(kept, restore)
    tables = job.build(config, sql, options.local(config, kept, restore))
    client = job.start(tables, sql)
    logging.getLogger().setLevel(level)  # which PyFlink raises to WARNING
    return Running(str(client.get_job_id()), _gateway_jvm(), kept, restore)


def stop(running: Running) -> None:
    """Ends the JVM; unsaved work is repeated at the next start."""
    from pyflink.java_gateway import get_gateway

    with contextlib.suppress(Exception):  # the JVM may be gone already
        get_gateway().shutdown()
    with contextlib.suppress(psutil.NoSuchProcess):
        running.jvm.terminate()
        try:
            running.jvm.wait(_STOP_WITHIN_S)
        except psutil.TimeoutExpired:
            running.jvm.kill()


def _gateway_jvm() -> psutil.Process:
    """The JVM that PyFlink started."""
    found = [
        p for p in psutil.Process().children() if "PythonGatewayServer" in " ".join(p.cmdline())
    ]
    if len(found) != 1:
        raise RuntimeError(f"{len(found)} JVMs of PyFlink below this process, expected one")
    return found[0]
