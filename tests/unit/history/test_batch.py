"""Which rows are written together, and that a crash repeats the same blocks."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from ringlog.kafka.sync import Place
from streams.history import batch as b
from streams.history.batch import RowBatch, RowBuffer, intended_end, intent, token
from streams.history.container import Row

A: Place = ("calls.events", 0)
B: Place = ("calls.events", 1)


def rows(place: Place, offsets: Sequence[int], size: int = 10) -> list[Row]:
    return [Row(place[1], offset, 0, bytes(size)) for offset in offsets]


def filled(*parts: tuple[Place, Sequence[int]]) -> RowBuffer:
    buffer = RowBuffer()
    for place, offsets in parts:
        buffer.add(place, offsets[0], offsets[-1] + 1, rows(place, offsets), 1.0)
    return buffer


def offsets(batch: RowBatch) -> dict[Place, list[int]]:
    return {place: [row.offset for row in part] for place, part in batch.rows.items()}


def test_time_to_write_comes_with_age_or_rows() -> None:
    buffer = RowBuffer()
    assert buffer.wait_s(5.0) is None
    buffer.add(A, 0, 1, rows(A, [0]), 5.0)
    assert buffer.wait_s(5.1) == 5.0 + b.FLUSH_S - 5.1
    assert buffer.wait_s(5.0 + b.FLUSH_S) == 0.0
    buffer.add(A, 1, b.FLUSH_ROWS + 1, rows(A, range(1, b.FLUSH_ROWS + 1)), 5.0)
    assert buffer.wait_s(5.0) == 0.0
    buffer.take()
    assert buffer.wait_s(9.0) is None


def test_full_by_rows_or_bytes() -> None:
    buffer = RowBuffer()
    buffer.add(A, 0, 2, rows(A, [0, 1], size=b.MAX_BYTES // 2), 0.0)
    assert buffer.full and buffer.wait_s(0.0) == 0.0
    buffer.take()
    assert not buffer.full
    buffer.add(A, 2, b.MAX_ROWS + 2, rows(A, range(2, b.MAX_ROWS + 2), size=0), 0.0)
    assert buffer.full


def test_take_gives_ranges_with_their_holes() -> None:
    buffer = filled((A, [3, 4, 9]), (B, [1]))
    buffer.add(B, 2, 6, [], 2.0)  # tombstones only
    batch = buffer.take()
    assert offsets(batch) == {A: [3, 4, 9], B: [1]}
    assert (batch.begins, batch.ends) == ({A: 3, B: 1}, {A: 10, B: 6})
    assert buffer.take().rows == {}


@settings(max_examples=100, deadline=None)
@given(
    read=st.dictionaries(st.sampled_from((A, B)), st.integers(1, 30), min_size=1),
    ends=st.dictionaries(st.sampled_from((A, B)), st.integers(1, 40)),
)
def test_take_to_splits_without_loss(read: dict[Place, int], ends: dict[Place, int]) -> None:
    buffer = filled(*((place, range(n)) for place, n in read.items()))
    first = buffer.take_to(ends, 2.0)
    rest = buffer.take()
    for place, n in read.items():
        end = min(ends.get(place, 0), n)
        assert offsets(first).get(place, []) == list(range(end))
        assert offsets(rest).get(place, []) == list(range(end, n))
        assert first.ends.get(place, end) == end
        assert rest.begins.get(place, end) == end


def test_a_batch_after_a_crash_is_the_batch_before_it() -> None:
    before = filled((A, [0, 1, 2]), (B, [7, 8])).take()
    kept = {place: intent(end) for place, end in before.ends.items()}
    after = filled((A, [0, 1, 2, 3, 4]), (B, [7, 8, 9])).take_to(
        {place: end for place, note in kept.items() if (end := intended_end(note))}, 3.0
    )
    assert offsets(after) == offsets(before)
    assert [token(A[0], part) for part in after.rows.values()] == [
        token(A[0], part) for part in before.rows.values()
    ]


def test_intents_of_others_are_none() -> None:
    assert [intended_end(x) for x in (None, "", "to x", "to -1", "from 5", "to 5")] == [
        None, None, None, None, None, 5,
    ]  # fmt: skip


def test_token_names_every_range() -> None:
    assert token("t", [*rows(A, [1, 2, 5]), *rows(B, [3])]) == "t:0=1-5,1=3-3"
