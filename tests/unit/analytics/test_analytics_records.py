"""The guarded functions around the job: what is read of a record, what is written."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.catalogue import topic
from schemas.events import CallEvent, DeadLetter, IntentWindow, Turn
from schemas.ids import dead_letter_id, root_id
from schemas.partition import partition_of
from schemas.registry import MemoryRegistry, RegistryError
from schemas.wire import HEADER, Codec
from streams.analytics import records

CALL = "5c8f2f6e-0000-5000-8000-000000000001"
PARTITION = partition_of(CALL, topic(records.SOURCE).partitions)


def turn(**changes: object) -> Turn:
    fields: dict[str, object] = {
        "event_id": root_id("turn", 1),
        "occurred_at": 1_700_000_000_123,
        "producer": "test",
        "tenant_id": "acme",
        "campaign_id": "spring",
        "call_id": CALL,
        "input_kind": "final",
        "input_event_id": root_id("input", 1),
        "intent": "问价格",
        "node": "offer",
    }
    return Turn.model_validate(fields | changes)


@pytest.fixture
def codec() -> Codec:
    return Codec(MemoryRegistry())


def test_a_turn_gives_what_counts(codec: Codec) -> None:
    value = codec.encode(records.SOURCE, turn())

    read = records.read_record(codec, PARTITION, value)

    assert read == records.ReadRecord(
        reason=None,
        event_id=root_id("turn", 1),
        occurred_ms=1_700_000_000_123,
        tenant_id="acme",
        campaign_id="spring",
        call_id=CALL,
        input_kind="final",
        intent="问价格",
    )


def test_poison_has_a_reason_and_nothing_else(codec: Codec) -> None:
    good = codec.encode(records.SOURCE, turn())
    other = codec.encode(
        "calls.events",
        CallEvent(event_id=root_id("e"), kind="answered", occurred_at=1, producer="test"),
    )
    poison = {
        "no value": None,
        "shorter": b"\x00\x00",
        "first byte": b"{" + good[1:],
        "is not in the registry": HEADER.pack(0, 999) + good[HEADER.size :],
        "is of CallEvent": other,
        "after the record": good + b"!",
        "Avro": good[: HEADER.size + 20],
    }
    for words, value in poison.items():
        read = records.read_record(codec, PARTITION, value)
        assert read.event_id is None
        assert read.reason is not None
        assert words in read.reason


def test_a_turn_on_the_wrong_partition_is_poison(codec: Codec) -> None:
    value = codec.encode(records.SOURCE, turn())

    read = records.read_record(codec, PARTITION + 1, value)

    assert read.reason is not None
    assert "belongs to partition" in read.reason


@settings(max_examples=200, deadline=None)
@given(junk=st.binary(max_size=200), framed=st.booleans())
def test_no_bytes_raise(junk: bytes, framed: bool) -> None:
    codec = Codec(MemoryRegistry())
    codec.warm(records.SOURCE)
    value = HEADER.pack(0, 1) + junk if framed else junk

    read = records.read_record(codec, PARTITION, value)

    assert (read.reason is None) != (read.event_id is None)


def test_a_registry_that_is_away_is_no_poison() -> None:
    class Away(MemoryRegistry):
        def schema_of(self, schema_id: int) -> str:
            raise RegistryError("no answer")

    value = Codec(MemoryRegistry()).encode(records.SOURCE, turn())

    with pytest.raises(RegistryError):
        records.read_record(Codec(Away()), PARTITION, value)


def test_a_window_is_our_event(codec: Codec) -> None:
    event = records.intent_window(
        root_id("w"), "acme", "spring", "问价格", 10, 1_700_000_010_000, 4, 3, 3
    )

    decoded = codec.decode(records.WINDOWS, records.intent_window_value(codec, event))

    assert isinstance(decoded, IntentWindow)
    assert decoded == event
    assert (decoded.window_start, decoded.window_end) == (1_700_000_010_000, 1_700_000_020_000)
    assert decoded.occurred_at == decoded.window_end
    assert (decoded.count, decoded.calls, decoded.revision) == (4, 3, 3)
    assert topic(records.WINDOWS).key(decoded) == "spring"


def test_a_window_without_a_campaign_has_none() -> None:
    event = records.intent_window(root_id("w"), "acme", "", "问价格", 60, 0, 1, 1, 0)

    assert event.campaign_id is None
    assert topic(records.WINDOWS).key(event) == ""


def test_a_dead_letter_is_the_one_that_every_service_would_write(codec: Codec) -> None:
    value = records.dead_letter_value(codec, records.SOURCE, 3, 17, "why", b"\xff", 1_700)

    letter = codec.decode(records.DEAD_LETTERS, value)

    assert isinstance(letter, DeadLetter)
    assert letter.event_id == dead_letter_id(records.SOURCE, 3, 17)
    assert (letter.source_topic, letter.source_partition, letter.source_offset) == (
        records.SOURCE,
        3,
        17,
    )
    assert (letter.reason, letter.raw, letter.occurred_at) == ("why", b"\xff", 1_700)
