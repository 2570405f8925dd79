"""Which directives count: epochs per partition, each id once."""

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.acceptance import Acceptance
from schemas.events import Directive
from schemas.ids import root_id


def directive(epoch: int, directive_id: str, kind: str = "say") -> Directive:
    return Directive.model_validate(
        {
            "event_id": root_id(directive_id), "kind": kind, "occurred_at": 1, "producer": "t",
            "call_id": None if kind == "takeover" else "c", "epoch": epoch,
            "directive_id": directive_id, "seq": 0,
        }
    )  # fmt: skip


def test_a_directive_counts_by_its_partitions_own_order() -> None:
    accept = Acceptance()
    assert accept.evolve(0, directive(1, "a")) == "accepted"
    assert accept.evolve(0, directive(1, "a")) == "duplicate"
    assert accept.evolve(0, directive(5, "t", "takeover")) == "barrier"
    assert accept.evolve(0, directive(4, "b")) == "stale"
    assert accept.evolve(0, directive(5, "b")) == "accepted"
    assert accept.evolve(1, directive(1, "c")) == "accepted"  # another partition


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(0, 8)), max_size=40))
def test_accepted_epochs_never_go_down_and_ids_are_new(records: list[tuple[int, int, int]]) -> None:
    accept, accepted = Acceptance(), list[tuple[int, int, str]]()
    for partition, epoch, n in records:
        name = f"{partition}/{n}"
        if accept.evolve(partition, directive(epoch, name)) == "accepted":
            accepted.append((partition, epoch, name))
    for partition in range(3):
        epochs = [e for p, e, _ in accepted if p == partition]
        assert epochs == sorted(epochs)
    assert len({name for _, _, name in accepted}) == len(accepted)


def test_a_stale_directive_does_not_use_up_its_id() -> None:
    accept = Acceptance()
    accept.evolve(0, directive(5, "t", "takeover"))
    assert accept.evolve(0, directive(4, "a")) == "stale"
    assert accept.evolve(0, directive(5, "a")) == "accepted"


def test_an_ended_call_is_forgotten() -> None:
    accept = Acceptance()
    accept.evolve(0, directive(5, "a"))
    assert accept.has("c", "a")
    accept.forget("c")
    accept.forget("other")
    assert not accept.has("c", "a")
