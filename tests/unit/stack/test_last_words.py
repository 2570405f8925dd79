"""What the supervisor says of a robot worker that was killed."""

import pytest

from ringlog.settings import Settings
from schemas.registry import RegistryError
from stack import last_words
from stack.services import build
from streams.robots.leases import LeaseState, evolve_lease
from streams.robots.worker import SHARD


def test_it_releases_the_lease_of_that_process_only() -> None:
    record = last_words.exited("robots-a", 41, 1_000)
    held = LeaseState(epoch=3, worker="robots-a.41.18f", last=9)
    assert record.shard == SHARD
    assert evolve_lease(held, 10, record)[1] == "released"
    for other in ("robots-a.411.18f", "robots-b.41.18f"):
        assert evolve_lease(LeaseState(3, other, 9), 10, record)[1] == "stale"


def test_each_death_has_its_own_record() -> None:
    ids = {last_words.exited("robots-a", 41, at).event_id for at in (1_000, 1_000, 2_000)}
    assert len(ids) == 2


def test_robot_workers_and_nobody_else_are_told_of() -> None:
    told = {part.name for part in build(Settings()) if part.on_exit is not None}
    assert told == {"robots-a", "robots-b"}


def test_without_a_registry_it_fails_soon() -> None:
    nowhere = Settings(registry="http://127.0.0.1:9", kafka="127.0.0.1:9", registry_timeout_s=0.2)
    with pytest.raises(RegistryError):
        last_words.tell(nowhere, "robots-a", 1)
