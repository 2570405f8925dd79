"""Report a call that your own telephone system made: confluent-kafka and the registry, no Ringlog.

python examples/produce_call.py [KAFKA] [REGISTRY]    # defaults: those of `ringlog up`
"""

import io
import json
import struct
import sys
import time
import urllib.request
import uuid

import confluent_kafka
import fastavro

defaults = ["127.0.0.1:19092", "http://127.0.0.1:18081/apis/ccompat/v7"]
kafka, registry = [*sys.argv[1:], *defaults[len(sys.argv) - 1 :]]
with urllib.request.urlopen(f"{registry}/subjects/calls.events-value/versions/latest") as answer:
    latest = json.load(answer)
schema = fastavro.parse_schema(json.loads(latest["schema"]))
namespace = uuid.uuid5(uuid.NAMESPACE_URL, "https://ringlog.dev/events")
call_id = str(uuid.uuid4())
# Ringlog's partitioner is Java's: with another one the record would end among the dead letters.
producer = confluent_kafka.Producer({"bootstrap.servers": kafka, "partitioner": "murmur2_random"})
steps = {"dialing": {}, "answered": {}, "ended": {"cause_q850": 16, "disposition": "completed"}}
for kind, fields in steps.items():
    event = {"event_id": uuid.uuid5(namespace, f"{call_id}|{kind}"), "kind": kind,
             "occurred_at": int(time.time() * 1000), "producer": "my-pbx", "call_id": call_id,
             "direction": "foreign", "source": "my-pbx"} | fields  # fmt: skip
    body = io.BytesIO()
    fastavro.schemaless_writer(body, schema, event)
    value = struct.pack(">bI", 0, latest["id"]) + body.getvalue()
    producer.produce("calls.events", key=call_id, value=value)
producer.flush()
print(call_id)
