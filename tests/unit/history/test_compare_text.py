"""The canonical text of a row tells every difference."""

from typing import Any

import pytest

from schemas.catalogue import TOPICS
from streams.history.compare import text_of
from streams.history.container import Row
from tests.unit.history.samples import record

ROW = Row(3, 17, 0, b"")


@pytest.mark.parametrize(
    ("topic_name", "one", "other"),
    [
        ("asr.transcripts", {"text": ""}, {"text": " "}),
        ("asr.transcripts", {"confidence": None}, {"confidence": 0.0}),
        ("asr.transcripts", {"confidence": 0.0}, {"confidence": -0.0}),
        ("asr.transcripts", {"tokens": []}, {"tokens": [{"text": "", "start_ms": 0}]}),
        ("calls.events", {"digits": None}, {"digits": "-"}),
        ("calls.events", {"digits": "1", "transfer_to": None},
         {"digits": None, "transfer_to": "1"}),
        ("tasks.requested", {"skills": {"a": 1}}, {"skills": {"b": 1}}),
        ("tasks.requested", {"tags": ["a", "b"]}, {"tags": ["a b"]}),
        ("customers.profiles", {"opted_out": True}, {"opted_out": False}),
        ("dead_letters", {"raw": b"\x00"}, {"raw": b""}),
    ],
)  # fmt: skip
def test_different_records_have_different_texts(
    topic_name: str, one: dict[str, Any], other: dict[str, Any]
) -> None:
    topic = TOPICS[topic_name]
    text = text_of(topic)
    first, second = (text(ROW, record(topic, 1, **fields)) for fields in (one, other))
    assert first != second
    assert first.startswith("3|17|")
