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
from asr_worker.recogniser import ModelMissing, Recognisers
from asr_worker.registry import RegistryError, load
from ringlog import log
from ringlog.health import Health, serve_health_in_thread
from ringlog.kafka.codec import codec_of, learn
from ringlog.seat import Seat
from ringlog.settings import settings

logger = log.logger("asr_worker")


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
        health.set_waiting("models")
        registry = load(config.home)
        recognisers = Recognisers(registry)
        recognisers.get(registry.resolve(config.asr_profile))
        core = Core(registry, Silero(), recognisers.get)
        codec = codec_of(config)
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
    except (ModelMissing, DetectorMissing, RegistryError) as error:
        logger.error("cannot start", error=str(error))
        sys.exit(1)
    except Exception as error:
        logger.exception("failed", error=f"{type(error).__name__}: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()
