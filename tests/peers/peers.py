"""The real peers: how each is set up, and whether it is here."""

from collections.abc import Callable
from dataclasses import dataclass

from demo.asterisk import packages, system
from demo.asterisk.packages import Report, Unobtainable
from ringlog.jvm import pins
from stack import jvm, rabbitmq
from tests.peers import voice


@dataclass(frozen=True, slots=True)
class Peer:
    """Something real that tests need. `absent` says why it is not here, None when it is."""

    name: str
    absent: Callable[[], str | None]
    provide: Callable[[Report], None]


PACKAGES = ("debootstrap", "sip-tester", "baresip-core", "sox", "chromium", "chromium-driver")
"""Debian's packages, without those that are in Asterisk's own folder."""


def _of_packages(name: str, *wanted: str) -> Peer:
    def absent() -> str | None:
        lacking = packages.missing(wanted)
        return (
            f"not installed: {', '.join(lacking)}; `make test-peers` does it" if lacking else None
        )

    def provide(report: Report) -> None:
        if failed := packages.install(wanted, report):
            raise Unobtainable("; ".join(f"{p}: {why}" for p, why in failed.items()))

    return Peer(name, absent, provide)


def _asterisk(report: Report) -> None:
    system.provide(report)
    report(f"Asterisk {system.version()} in {system.root_dir()}")


def _rabbitmq_absent() -> str | None:
    return None if rabbitmq.is_here() else "not unpacked; `make test-peers` does it"


def _rabbitmq(report: Report) -> None:
    try:
        rabbitmq.install(report)
    except rabbitmq.NoRabbitMQ as error:
        raise Unobtainable(str(error)) from None


def _debezium_absent() -> str | None:
    lacking = jvm.missing(pins("debezium"))
    return f"{len(lacking)} jars are missing; `make install` brings them" if lacking else None


def _debezium(report: Report) -> None:
    try:
        jvm.install(report, {"debezium"})
    except jvm.InstallError as error:
        raise Unobtainable(str(error)) from None


PEERS = {
    peer.name: peer
    for peer in (
        Peer("asterisk", system.reason_absent, _asterisk),
        _of_packages("sipp", "sip-tester"),
        _of_packages("baresip", "baresip-core"),
        _of_packages("sox", "sox"),
        _of_packages("chromium", "chromium", "chromium-driver"),
        Peer("rabbitmq", _rabbitmq_absent, _rabbitmq),
        Peer("debezium", _debezium_absent, _debezium),
        Peer("piper-voice", voice.reason_absent, voice.provide),
    )
}
"""All by name: what a test may name in `@pytest.mark.needs(...)`."""


def set_up(report: Report = print) -> dict[str, str]:
    """Brings every peer that can be had. Returns the others, each with the reason."""
    packages.install(PACKAGES, report)  # at one go; who lacks what is told below
    failed = {}
    for peer in PEERS.values():
        try:
            peer.provide(report)
        except Unobtainable as error:
            failed[peer.name] = str(error)
    return failed
