-- Raw tables: every record of the log, one row per (partition, offset).
-- Generated from the event models by `python -m streams.history.generate_migration`; not edited.

CREATE TABLE IF NOT EXISTS raw_crm_deliveries
(
    `_topic` LowCardinality(String) DEFAULT 'crm.deliveries',
    `_partition` Int32,
    `_offset` Int64 CODEC(Delta, ZSTD),
    `event_id` UUID,
    `kind` LowCardinality(String),
    `occurred_at` DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    `producer` LowCardinality(String),
    `causation_id` Nullable(String),
    `tenant_id` LowCardinality(String) DEFAULT 'default',
    `call_id` Nullable(String),
    `task_id` Nullable(String),
    `customer_id` Nullable(String),
    `campaign_id` LowCardinality(Nullable(String)),
    `pool` LowCardinality(Nullable(String)),
    `robot_id` LowCardinality(Nullable(String)),
    `epoch` Nullable(Int64),
    `destination` String,
    `result_id` String,
    `result` String,
    `attempt` Int64,
    `status` Nullable(Int64),
    `reason` LowCardinality(Nullable(String)),
    `took_ms` Nullable(Int64),
    INDEX call_id_index `call_id` TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_index `task_id` TYPE bloom_filter GRANULARITY 1,
    INDEX customer_id_index `customer_id` TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000;
