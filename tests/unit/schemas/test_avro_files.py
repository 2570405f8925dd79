"""The committed Avro files are what the models say, and every change stays readable."""

import json

import fastavro
import pytest

from schemas.catalogue import TOPICS, Topic
from schemas.generate import avsc, history, incompatibilities, plan

ALL = pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS.keys())


@ALL
def test_committed_schema_has_not_drifted(topic: Topic) -> None:
    refused, stale = plan(topic)
    assert not refused
    assert not stale, "run `python -m schemas.generate` and commit what it writes"


@ALL
def test_every_version_can_be_read_with_the_current_one(topic: Topic) -> None:
    assert history(topic), "every topic has at least its first version"
    for path in history(topic):
        assert incompatibilities(avsc(topic), path.read_text("utf-8")) == []


@ALL
def test_types_cross_every_tool(topic: Topic) -> None:
    def check(schema: object) -> None:
        if isinstance(schema, list):
            assert len(schema) == 2
            assert schema[0] == "null"
            check(schema[1])
        elif isinstance(schema, dict):
            assert schema["type"] != "enum"
            assert schema.get("logicalType") in (None, "timestamp-millis", "uuid")
            for field in schema.get("fields", ()):
                check(field["type"])
            for inner in ("items", "values"):
                if inner in schema:
                    check(schema[inner])

    check(json.loads(avsc(topic)))


def test_an_incompatible_change_is_named() -> None:
    old = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]}
    new = {"type": "record", "name": "R", "fields": [{"name": "b", "type": "string"}]}
    assert "b" in str(incompatibilities(json.dumps(new), json.dumps(old)))


@ALL
def test_fastavro_accepts_the_schema(topic: Topic) -> None:
    assert fastavro.parse_schema(json.loads(avsc(topic)), _force=True)


def test_call_keyed_topics_have_equal_partitions() -> None:
    assert {t.partitions for t in TOPICS.values() if t.call_keyed} == {8}


def test_the_events_reference_is_up_to_date() -> None:
    from schemas.reference import PATH, document

    assert PATH.read_text("utf-8") == document(), "run `python -m schemas.reference`"
