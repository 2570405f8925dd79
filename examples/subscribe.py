"""Print what customers say, as it is recognised: kafka-python, fastavro, no Ringlog code.

python examples/subscribe.py [KAFKA] [REGISTRY] [HOW_MANY]
"""

import io
import json
import struct
import sys
import urllib.request

import fastavro
import kafka

defaults = ["127.0.0.1:19092", "http://127.0.0.1:18081/apis/ccompat/v7", "0"]
broker, registry, how_many = [*sys.argv[1:], *defaults[len(sys.argv) - 1 :]]
schemas: dict[int, object] = {}


def decode(value: bytes) -> dict:
    """Confluent's framing: a zero, the schema's id, the record."""
    _, schema_id = struct.unpack(">bI", value[:5])
    if schema_id not in schemas:
        with urllib.request.urlopen(f"{registry}/schemas/ids/{schema_id}") as answer:
            schemas[schema_id] = fastavro.parse_schema(json.loads(json.load(answer)["schema"]))
    return fastavro.schemaless_reader(io.BytesIO(value[5:]), schemas[schema_id], None)


consumer = kafka.KafkaConsumer(
    "asr.transcripts",
    bootstrap_servers=broker,
    auto_offset_reset="earliest",
    group_id=None,
    isolation_level="read_committed",
)
for n, message in enumerate((decode(m.value) for m in consumer), 1):
    print(message["occurred_at"], message["kind"], message["call_id"], message["text"], flush=True)
    if n == int(how_many):
        break
