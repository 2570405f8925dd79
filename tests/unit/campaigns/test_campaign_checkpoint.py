"""The service's checkpoint: the same state from it and what came since as from the whole log."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas import ids
from schemas.events import TaskRequested
from streams.campaigns.callbacks import Callbacks
from streams.campaigns.checkpoint import Changes, ListCheckpoint
from streams.campaigns.host import _opened
from streams.campaigns.release import ListRelease
from tests.unit.campaigns.test_campaign_callbacks import LATE, SAID, step, turn
from tests.unit.campaigns.test_campaign_release import campaign, contact, ended

PLACE = TopicPartition("campaigns.contacts", 3)


class World:
    """The two folds of the service."""

    def __init__(self) -> None:
        self.release = ListRelease()
        self.release.evolve(campaign(ahead=4))
        self.callbacks = Callbacks(self.release)

    def fold(self, event: Any) -> None:
        self.release.evolve(event)
        self.callbacks.evolve(event, SAID)

    def save(
        self, checkpoint: ListCheckpoint, places: dict[TopicPartition, tuple[int, int]]
    ) -> None:
        changes = self.release.changes()
        changes.notes = self.callbacks.changes()
        checkpoint.save(changes, places)

    @classmethod
    def of(cls, checkpoint: ListCheckpoint) -> "World":
        self = cls()
        self.release.restore(checkpoint.contacts())
        self.callbacks.restore(checkpoint.notes())
        return self

    def state(self) -> tuple[Any, ...]:
        waiting = {
            name: [
                uncalled for uncalled in found.waiting
                if not self.release._stage.get(
                    ids.contact_task_id("default", name, uncalled.contact_id), 0
                ) & 1
            ]
            for name, found in self.release.progress.items()
        }  # fmt: skip
        found = self.release.progress.items()
        counts = {name: (progress.open, progress.contacts) for name, progress in found}
        return (waiting, counts, self.release._stage, self.callbacks._calls, self.callbacks._kept,
                self.callbacks._ended)  # fmt: skip


def log() -> Iterator[Any]:
    """All kinds of records, in an order that the topics allow."""
    contacts = [contact(n) for n in range(6)]
    yield from contacts
    asking = World()
    for one in contacts:
        asking.fold(one)
    requests = asking.release.decide(7, 4)
    yield from requests
    for n, request in enumerate(requests):
        task = request.task_id or ""
        more = {"call_id": f"call{n}", "task_id": task, "event_id": f"{n:0>36}"}
        yield step("dialing", **more)
        yield turn("半小时后").model_copy(update=more)
        yield step("ended", **more, disposition="completed")
        yield ended(task)
        yield contact(n)
    callback = TaskRequested(
        event_id="9" * 36, kind="requested", occurred_at=LATE, producer="campaigns",
        task_id="back", campaign_id="spring", body_sha256="", tags=["callback"], dials=2,
    )  # fmt: skip
    yield callback
    yield ended("back")
    yield requests[0].model_copy(update={"kind": "cancel"})


LOG = list(log())


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.permutations(range(len(LOG))), st.sets(st.integers(0, len(LOG))), st.data())
def test_a_checkpoint_at_any_time_gives_the_state_of_the_whole_log(
    tmp_path: Path, order: list[int], saves: set[int], data: st.DataObject
) -> None:
    """Contacts lead, as the host reads them; the rest comes in any order."""
    events = sorted((LOG[n] for n in order), key=lambda e: not hasattr(e, "contact_id"))
    crash = data.draw(st.integers(0, len(events)))
    path = tmp_path / "checkpoint.db"
    path.unlink(missing_ok=True)
    with closing(ListCheckpoint(path)) as checkpoint:
        live = World()
        for n, event in enumerate(events[:crash]):
            live.fold(event)
            if n in saves:
                live.save(checkpoint, {PLACE: (n + 1, 5)})
    with closing(ListCheckpoint(path)) as checkpoint:
        at, _ = checkpoint.places().get(PLACE, (0, 0))
        again = World.of(checkpoint)
    whole = World()
    for event in events[at:]:
        again.fold(event)
    for event in events:
        whole.fold(event)
    assert again.state() == whole.state()
    assert again.release.decide(9, 99) == whole.release.decide(9, 99)
    found, wanted = again.callbacks.decide(LATE), whole.callbacks.decide(LATE)
    assert {r.event_id: r for r in found} == {r.event_id: r for r in wanted}


def test_a_checkpoint_counts_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    with closing(ListCheckpoint(tmp_path / "c.db")) as checkpoint:
        row = ("t", 0, "spring", "c", "k", "+861", "high", "[]", "[]")
        checkpoint.save(Changes([row]), {PLACE: (1, 1)})
        with pytest.raises(sqlite3.Error):
            checkpoint.save(Changes([("u", *row[1:]), row]), {PLACE: (2, 2)})
        assert [task for task, *_ in checkpoint.contacts()] == ["t"]
        assert checkpoint.places() == {PLACE: (1, 1)}
    assert (tmp_path / "c.db").stat().st_mode & 0o077 == 0, "it holds telephone numbers"


def test_a_damaged_file_is_made_anew_and_one_in_use_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "home" / "c.db"
    path.parent.mkdir()
    path.write_bytes(b"nothing of the kind" * 1_000)
    checkpoint = _opened(path)
    assert checkpoint is not None and checkpoint.places() == {}
    checkpoint.save(Changes(), {PLACE: (1, 1)})
    assert _opened(path) is None, "another process has it"
    checkpoint.close()
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 99")
    later = _opened(path)
    assert later is not None and later.places() == {}, "of another format"
    later.close()
