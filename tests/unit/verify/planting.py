"""Faults that are planted in a good history, each with the rules that must find it."""

from collections.abc import Callable

from schemas import ids
from schemas.envelope import Event
from tests.unit.verify.world import World

Plant = Callable[[World], None]
CASES: list[tuple[Plant, set[str]]] = []


def plants(*rules: str) -> Callable[[Plant], Plant]:
    """Notes what a test plants, and the rules that find it."""

    def note(plant: Plant) -> Plant:
        CASES.append((plant, set(rules)))
        return plant

    return note


def drop(world: World, topic: str, which: Callable[[Event], bool]) -> None:
    """Records that never come to be."""
    world.drops = lambda name, event: name == topic and which(event)


def last(world: World, topic: str, kind: str | None = None) -> Event:
    """The newest record of a topic, of a kind."""
    events = [e.event for e in world.entries if e.topic == topic and e.event is not None]
    return [e for e in events if kind in (None, e.kind)][-1]


def again(world: World, topic: str, event: Event, **changed: object) -> None:
    """Writes a record once more, with some fields changed."""
    world.write(topic, event.model_copy(update=changed))


OTHER = ids.root_id("another")
