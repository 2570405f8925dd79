"""The stack's two robot workers under its supervisor, which tells the follower of a death."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ringlog.kafka.codec import codec_of
from ringlog.kafka.sync import read
from ringlog.settings import Settings
from schemas.events import Lease
from stack import control
from stack.runner import ServiceStatus
from tests.integration.robots.standby_run import spread

_WITHIN_S = 60.0


@pytest.fixture
def robots(tmp_path: Path, port_shift: int) -> Iterator[Settings]:
    config = Settings(home=tmp_path, port_shift=port_shift)
    control.up(config, only={"robots-a", "robots-b"}, detach=True, tied=True)
    try:
        yield config
    finally:
        control.down(config)


def with_role(config: Settings, role: str) -> ServiceStatus | None:
    return next((s for s in control.status(config) if s.detail == role), None)


def eventually(what: Callable[[], bool], why: str) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while not what():
        assert time.monotonic() < deadline, why
        time.sleep(0.01)


@pytest.mark.heavy
@pytest.mark.timeout(400)
def test_the_follower_speaks_at_once_when_the_speaker_is_killed(robots: Settings) -> None:
    gaps, killed = list[float](), list[str]()
    for _ in range(4):
        eventually(lambda: with_role(robots, "follows") is not None, "one follows")
        speaker = with_role(robots, "speaks")
        assert speaker is not None and speaker.pid is not None
        os.kill(speaker.pid, signal.SIGKILL)
        died = time.monotonic()
        killed.append(f"{speaker.service}.{speaker.pid}")

        def another(old: ServiceStatus = speaker) -> bool:
            new = with_role(robots, "speaks")
            return new is not None and new.service != old.service

        eventually(another, "the other speaks")
        gaps.append(time.monotonic() - died)
    print(f"\nfrom death to a speaker, as status shows it: {spread(gaps)}")
    assert max(gaps) <= 3.0
    assert exits(robots) == killed


def exits(config: Settings) -> list[str]:
    codec = codec_of(config)
    events = [codec.decode("robots.leases", r.value) for r in read(config, "robots.leases")]
    return [e.worker for e in events if isinstance(e, Lease) and e.kind == "exited"]
