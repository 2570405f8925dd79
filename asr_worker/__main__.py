"""`python -m asr_worker`: the service `asr`, or with `--spare` the service `asr-b`.

A spare has its models loaded and waits for the seat of its instance. As the same static member of
the group it gets the dead worker's partitions at once, without the group's session time-out.
"""

import signal
import sys
import threading

import click

from asr_worker.core import SERVICE, Core
from asr_worker.detector import DetectorMissing, Silero
from asr_worker.host import Host
from asr_worker.recogniser import DefaultUnusable, Recognisers
from asr_worker.trial import trial_of
from ringlog import log
from ringlog.asr_models import AsrModelsError, load
from ringlog.health import Health, serve_health_in_thread
from ringlog.kafka.codec import codec_of, learn
from ringlog.metrics import ASR_PROFILES_SUBSTITUTED
from ringlog.seat import Seat
from ringlog.settings import Settings, settings

logger = log.logger("asr_worker")

LOOK_AGAIN_S = 5.0
"""Interval of looking for models that cannot serve yet."""

MAX_NAMED = 1_000
"""Limit of profiles warned about by name; a stranger may send any name."""


@click.command()
@click.option(
    "--instance",
    default="asr-0",
    show_default=True,
    help="Name in the consumer group, unique among the workers and kept over restarts",
)
@click.option(
    "--metrics-port",
    type=int,
    help="Where /metrics, /healthz and /readyz are; a second worker needs its own",
)
@click.option("--spare", is_flag=True, help="Wait until the worker of this instance is gone")
def main(instance: str, metrics_port: int | None, spare: bool) -> None:
    """Transcribe `media.audio` to `asr.transcripts` until told to stop."""
    config = settings()
    service = f"{SERVICE}-b" if spare else SERVICE
    log.configure(service, config.log_level)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    health = Health(service)
    port = metrics_port or config.metrics_port_of(service)
    serve_health_in_thread(health, config.bind_host, port)
    try:
        core = _core(config, health, stopping)
        if core is None:
            return
        codec = codec_of(config)
        health.blocked = lambda: codec.waiting_for
        if not learn(codec, health.set_waiting, stopping.is_set):
            return
        seat = Seat(config.home / SERVICE / f"{instance}.seat", service)
        if not seat.take():
            health.detail["role"] = "spare"
            health.set_ready()
            if not seat.wait(stopping.is_set):
                return
        health.detail["role"] = "works"
        health.set_waiting("partitions")
        host = Host(config, core, codec, health, instance)
        host.run(stopping.is_set)
    except Exception as error:
        logger.exception("failed", error=f"{type(error).__name__}: {error}")
        sys.exit(1)


def _core(config: Settings, health: Health, stopping: threading.Event) -> Core | None:
    """The core with all models in memory; None when told to stop first.

    While the registry cannot be read, or the site's default profile cannot serve, it waits and
    says why; somebody may be fetching the model.
    """
    health.set_waiting("models")
    why = ""
    while not stopping.is_set():
        try:
            registry = load(config.home)
            trial = trial_of(registry, config.home)
            recognisers = Recognisers(registry, config.asr_profile, trial)
            core = Core(recognisers, Silero(), _Substitutions())
        except (DefaultUnusable, DetectorMissing, AsrModelsError, OSError) as error:
            if str(error) != why:
                why = str(error)
                logger.error("waiting for models", why=why)
                health.set_waiting(f"models: {why}")
            stopping.wait(LOOK_AGAIN_S)
            continue
        health.detail["profiles_left_out"] = recognisers.left_out
        for profile, reason in recognisers.left_out.items():
            logger.warning("profile left out", profile=profile, why=reason)
        if config.asr_profile not in ("", recognisers.default):
            logger.warning(
                "RINGLOG_ASR_PROFILE names no profile",
                profile=config.asr_profile,
                instead=recognisers.default,
            )
        return core
    return None


class _Substitutions:
    """Counts the legs that get the site's default instead of what they ask for, and warns once
    for each name."""

    def __init__(self) -> None:
        self._named: set[str] = set()

    def __call__(self, asked: str, given: str) -> None:
        ASR_PROFILES_SUBSTITUTED.inc()
        if asked not in self._named and len(self._named) < MAX_NAMED:
            self._named.add(asked)
            logger.warning("no such profile here", asked=asked[:200], instead=given)


if __name__ == "__main__":
    main()
