"""`ringlog verify`: reads the log and the tables, and proves the system's invariants.

A check is a pure fold over records (`verify.checks`); only `cut`, `reading` and `run` touch Kafka
and ClickHouse. This room may import every other one but demo, bench and tests.
"""
