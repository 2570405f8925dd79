-- Raw tables: every record of the log, one row per (partition, offset).
-- Generated from the event models by `python -m streams.history.generate_migration`; not edited.

ALTER TABLE raw_campaigns ADD COLUMN IF NOT EXISTS `version` Int64;

ALTER TABLE raw_campaigns ADD COLUMN IF NOT EXISTS `action` LowCardinality(Nullable(String));

ALTER TABLE raw_campaigns ADD COLUMN IF NOT EXISTS `actor` LowCardinality(Nullable(String));

ALTER TABLE raw_campaigns ADD COLUMN IF NOT EXISTS `reason` LowCardinality(Nullable(String));

CREATE TABLE IF NOT EXISTS raw_campaigns_contacts
(
    `_topic` LowCardinality(String) DEFAULT 'campaigns.contacts',
    `_partition` Int32,
    `_offset` Int64 CODEC(Delta, ZSTD),
    `event_id` UUID,
    `kind` LowCardinality(String) DEFAULT 'added',
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
    `contact_id` String,
    `import_id` String,
    `row` Int64,
    `phone` String,
    `priority` LowCardinality(String) DEFAULT 'medium',
    `skills` Map(String, Int64),
    `tags` Array(String),
    `name` Nullable(String),
    `attributes` Map(String, String),
    `actor` LowCardinality(Nullable(String)),
    INDEX call_id_index `call_id` TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_index `task_id` TYPE bloom_filter GRANULARITY 1,
    INDEX customer_id_index `customer_id` TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000;
