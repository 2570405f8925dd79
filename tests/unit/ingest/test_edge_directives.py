"""Which directives count: epochs per partition, each id once."""

from typing import Any

from ingest.directives import DirectiveGate
from schemas.events import Directive
from schemas.ids import root_id


def directive(n: int, epoch: int | None, call: str | None = "call", kind: Any = "say") -> Directive:
    return Directive(
        event_id=root_id("d", n),
        kind=kind,
        occurred_at=1,
        producer="robots",
        call_id=call,
        epoch=epoch,
        directive_id=f"d{n}",
        seq=n,
    )


def test_an_older_epoch_is_silenced_by_the_barrier() -> None:
    gate = DirectiveGate()
    assert gate.accept(0, directive(1, 5))
    assert not gate.accept(0, directive(2, 9, call=None, kind="takeover"))
    assert not gate.accept(0, directive(3, 5))
    assert gate.accept(0, directive(4, 9)) and gate.epoch(0) == 9


def test_partitions_are_apart() -> None:
    gate = DirectiveGate()
    gate.accept(0, directive(1, 9, call=None, kind="takeover"))
    assert gate.accept(1, directive(2, 5)) and gate.epoch(1) == 5


def test_each_id_counts_once_and_a_refused_one_does_not_use_it_up() -> None:
    gate = DirectiveGate()
    assert gate.accept(0, directive(1, 5))
    assert not gate.accept(0, directive(1, 6)), "the same id, even in a later epoch"
    assert not gate.accept(0, directive(2, 5))
    assert gate.accept(0, directive(2, 6))


def test_a_higher_epoch_without_a_barrier_raises_too() -> None:
    gate = DirectiveGate()
    assert gate.accept(0, directive(1, 7))
    assert not gate.accept(0, directive(2, 6)) and not gate.accept(0, directive(3, None))


def test_an_ended_call_is_forgotten() -> None:
    gate = DirectiveGate()
    gate.accept(0, directive(1, 5))
    gate.forget("call")
    gate.forget("other")
    assert gate.accept(0, directive(1, 5))
