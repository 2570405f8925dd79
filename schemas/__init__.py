"""The contract: event models, Avro schemas, topics, derived ids, wire format, registry."""
