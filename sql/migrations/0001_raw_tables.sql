-- Raw tables: every record of the log, one row per (partition, offset).
-- Generated from the event models by `python -m streams.history.generate_migration`; not edited.

CREATE TABLE IF NOT EXISTS raw_calls_events
(
    `_topic` LowCardinality(String) DEFAULT 'calls.events',
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
    `source` LowCardinality(Nullable(String)),
    `trunk` LowCardinality(Nullable(String)),
    `attempt` Nullable(Int64),
    `edge_id` LowCardinality(Nullable(String)),
    `direction` LowCardinality(Nullable(String)),
    `phone` Nullable(String),
    `cause_q850` Nullable(Int64),
    `cause_sip` Nullable(Int64),
    `disposition` LowCardinality(Nullable(String)),
    `asr_profile` LowCardinality(Nullable(String)),
    `playbook` LowCardinality(Nullable(String)),
    `playbook_version` LowCardinality(Nullable(String)),
    `profile` Nullable(String) CODEC(ZSTD(3)),
    `profile_version` Nullable(Int64),
    `prompt_id` LowCardinality(Nullable(String)),
    `directive_id` Nullable(String),
    `heard_ms` Nullable(Int64),
    `prompt_ms` Nullable(Int64),
    `digits` Nullable(String),
    `transfer_to` Nullable(String),
    `optout_offset` Nullable(Int64),
    INDEX call_id_index `call_id` TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_index `task_id` TYPE bloom_filter GRANULARITY 1,
    INDEX customer_id_index `customer_id` TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS raw_asr_transcripts
(
    `_topic` LowCardinality(String) DEFAULT 'asr.transcripts',
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
    `leg` LowCardinality(String),
    `utterance_id` String,
    `text` String,
    `start_ms` Int64,
    `end_ms` Int64,
    `mark` Int64,
    `ssrc` Int64,
    `tokens` Array(Tuple(text String, start_ms Int64)),
    `confidence` Nullable(Float64),
    `gaps_ms` Array(Int64),
    `model` LowCardinality(String),
    `decode_ms` Float64,
    INDEX call_id_index `call_id` TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_index `task_id` TYPE bloom_filter GRANULARITY 1,
    INDEX customer_id_index `customer_id` TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS raw_dialogue_turns
(
    `_topic` LowCardinality(String) DEFAULT 'dialogue.turns',
    `_partition` Int32,
    `_offset` Int64 CODEC(Delta, ZSTD),
    `event_id` UUID,
    `kind` LowCardinality(String) DEFAULT 'turn',
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
    `input_kind` LowCardinality(String),
    `input_event_id` String,
    `utterance_id` Nullable(String),
    `text` String,
    `intent` LowCardinality(String),
    `confidence` Float64,
    `emotion` LowCardinality(String) DEFAULT 'neutral',
    `slots` Map(String, String),
    `node` LowCardinality(String),
    `variant` LowCardinality(Nullable(String)),
    `posterior` Nullable(String),
    `heard_ms` Nullable(Int64),
    `outcome` LowCardinality(Nullable(String)),
    `directive_ids` Array(String),
    INDEX call_id_index `call_id` TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_index `task_id` TYPE bloom_filter GRANULARITY 1,
    INDEX customer_id_index `customer_id` TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS raw_dialogue_directives
(
    `_topic` LowCardinality(String) DEFAULT 'dialogue.directives',
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
    `directive_id` String,
    `seq` Int64,
    `node` LowCardinality(Nullable(String)),
    `prompt_id` LowCardinality(Nullable(String)),
    `prompt_sha256` Nullable(String),
    `text` Nullable(String),
    `variant` LowCardinality(Nullable(String)),
    `barge_in` LowCardinality(Nullable(String)),
    `reason` LowCardinality(Nullable(String)),
    `digits` Nullable(String),
    `target` Nullable(String),
    `turn_silence_ms` Nullable(Int64),
    `worker` LowCardinality(Nullable(String)),
    INDEX call_id_index `call_id` TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_index `task_id` TYPE bloom_filter GRANULARITY 1,
    INDEX customer_id_index `customer_id` TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS raw_customers_changes
(
    `_topic` LowCardinality(String) DEFAULT 'customers.changes',
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
    `source` LowCardinality(String),
    `table` LowCardinality(Nullable(String)),
    `position` Nullable(String),
    `name` Nullable(String),
    `phone` Nullable(String),
    `level` LowCardinality(Nullable(String)),
    `tags` Array(String),
    `purchases` Nullable(Int64),
    `attributes` Map(String, String),
    INDEX call_id_index `call_id` TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_index `task_id` TYPE bloom_filter GRANULARITY 1,
    INDEX customer_id_index `customer_id` TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS raw_customers_profiles
(
    `_topic` LowCardinality(String) DEFAULT 'customers.profiles',
    `_partition` Int32,
    `_offset` Int64 CODEC(Delta, ZSTD),
    `event_id` UUID,
    `kind` LowCardinality(String) DEFAULT 'profile',
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
    `version` Int64,
    `level` LowCardinality(String) DEFAULT 'normal',
    `tags` Array(String),
    `name` Nullable(String),
    `purchase_intent` Float64,
    `last_intent` LowCardinality(Nullable(String)),
    `last_emotion` LowCardinality(Nullable(String)),
    `opted_out` Bool,
    `purchases` Int64,
    `promises` Array(String),
    `calls` Int64,
    `answered_calls` Int64,
    `phone_hash` Nullable(String),
    INDEX call_id_index `call_id` TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_index `task_id` TYPE bloom_filter GRANULARITY 1,
    INDEX customer_id_index `customer_id` TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS raw_tasks_requested
(
    `_topic` LowCardinality(String) DEFAULT 'tasks.requested',
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
    `body_sha256` String,
    `phone` Nullable(String),
    `priority` LowCardinality(String) DEFAULT 'medium',
    `skills` Map(String, Int64),
    `tags` Array(String),
    `playbook` LowCardinality(Nullable(String)),
    `not_before` Nullable(DateTime64(3, 'UTC')) CODEC(Delta, ZSTD),
    `deadline` Nullable(DateTime64(3, 'UTC')) CODEC(Delta, ZSTD),
    `idempotency_key` Nullable(String),
    INDEX call_id_index `call_id` TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_index `task_id` TYPE bloom_filter GRANULARITY 1,
    INDEX customer_id_index `customer_id` TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS raw_profiles_inbox
(
    `_topic` LowCardinality(String) DEFAULT 'profiles.inbox',
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
    `source_topic` LowCardinality(String),
    `body` String CODEC(ZSTD(3)),
    INDEX call_id_index `call_id` TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_index `task_id` TYPE bloom_filter GRANULARITY 1,
    INDEX customer_id_index `customer_id` TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS raw_dispatch_inbox
(
    `_topic` LowCardinality(String) DEFAULT 'dispatch.inbox',
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
    `source_topic` LowCardinality(Nullable(String)),
    `body` Nullable(String) CODEC(ZSTD(3)),
    `call_ids` Array(String),
    `edge_id` LowCardinality(Nullable(String)),
    `timer` LowCardinality(Nullable(String)),
    `due_at` Nullable(DateTime64(3, 'UTC')) CODEC(Delta, ZSTD),
    INDEX call_id_index `call_id` TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_index `task_id` TYPE bloom_filter GRANULARITY 1,
    INDEX customer_id_index `customer_id` TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS raw_tasks_events
(
    `_topic` LowCardinality(String) DEFAULT 'tasks.events',
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
    `reason` LowCardinality(Nullable(String)),
    `attempt` Int64,
    `profile_version` Nullable(Int64),
    `permit_expires_at` Nullable(DateTime64(3, 'UTC')) CODEC(Delta, ZSTD),
    `edge_id` LowCardinality(Nullable(String)),
    `phone` Nullable(String),
    `playbook` LowCardinality(Nullable(String)),
    `playbook_version` LowCardinality(Nullable(String)),
    `asr_profile` LowCardinality(Nullable(String)),
    `profile` Nullable(String) CODEC(ZSTD(3)),
    `retry_at` Nullable(DateTime64(3, 'UTC')) CODEC(Delta, ZSTD),
    `priority` LowCardinality(Nullable(String)),
    INDEX call_id_index `call_id` TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_index `task_id` TYPE bloom_filter GRANULARITY 1,
    INDEX customer_id_index `customer_id` TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS raw_robots_status
(
    `_topic` LowCardinality(String) DEFAULT 'robots.status',
    `_partition` Int32,
    `_offset` Int64 CODEC(Delta, ZSTD),
    `event_id` UUID,
    `kind` LowCardinality(String) DEFAULT 'robot',
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
    `state` LowCardinality(String) DEFAULT 'active',
    `persona` String,
    `voice` LowCardinality(String),
    `slots` Int64 DEFAULT 1,
    `skills` Map(String, Int64),
    `playbooks` Array(String),
    `asr_profile` LowCardinality(String) DEFAULT 'demo',
    INDEX call_id_index `call_id` TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_index `task_id` TYPE bloom_filter GRANULARITY 1,
    INDEX customer_id_index `customer_id` TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS raw_robots_leases
(
    `_topic` LowCardinality(String) DEFAULT 'robots.leases',
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
    `shard` LowCardinality(String),
    `worker` LowCardinality(String),
    `n` Int64,
    `after` Nullable(Int64),
    `partitions` Array(Int64),
    INDEX call_id_index `call_id` TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_index `task_id` TYPE bloom_filter GRANULARITY 1,
    INDEX customer_id_index `customer_id` TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS raw_playbooks
(
    `_topic` LowCardinality(String) DEFAULT 'playbooks',
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
    `playbook` LowCardinality(String),
    `version` LowCardinality(String),
    `sha256` String,
    `body` String CODEC(ZSTD(3)),
    INDEX call_id_index `call_id` TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_index `task_id` TYPE bloom_filter GRANULARITY 1,
    INDEX customer_id_index `customer_id` TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS raw_campaigns
(
    `_topic` LowCardinality(String) DEFAULT 'campaigns',
    `_partition` Int32,
    `_offset` Int64 CODEC(Delta, ZSTD),
    `event_id` UUID,
    `kind` LowCardinality(String) DEFAULT 'campaign',
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
    `name` LowCardinality(String),
    `state` LowCardinality(String) DEFAULT 'running',
    `playbook` LowCardinality(Nullable(String)),
    `settings` String DEFAULT '{ }' CODEC(ZSTD(3)),
    INDEX call_id_index `call_id` TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_index `task_id` TYPE bloom_filter GRANULARITY 1,
    INDEX customer_id_index `customer_id` TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS raw_compliance_optouts
(
    `_topic` LowCardinality(String) DEFAULT 'compliance.optouts',
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
    `phone_hash` String,
    `reason` LowCardinality(String),
    INDEX call_id_index `call_id` TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_index `task_id` TYPE bloom_filter GRANULARITY 1,
    INDEX customer_id_index `customer_id` TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS raw_analytics_intent_windows
(
    `_topic` LowCardinality(String) DEFAULT 'analytics.intent_windows',
    `_partition` Int32,
    `_offset` Int64 CODEC(Delta, ZSTD),
    `event_id` UUID,
    `kind` LowCardinality(String) DEFAULT 'window',
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
    `window_start` DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    `window_end` DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    `intent` LowCardinality(String),
    `count` Int64,
    `calls` Int64,
    `revision` Int64,
    INDEX call_id_index `call_id` TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_index `task_id` TYPE bloom_filter GRANULARITY 1,
    INDEX customer_id_index `customer_id` TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS raw_analytics_variant_windows
(
    `_topic` LowCardinality(String) DEFAULT 'analytics.variant_windows',
    `_partition` Int32,
    `_offset` Int64 CODEC(Delta, ZSTD),
    `event_id` UUID,
    `kind` LowCardinality(String) DEFAULT 'window',
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
    `window_start` DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    `window_end` DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    `node` LowCardinality(String),
    `variant` LowCardinality(String),
    `plays` Int64,
    `successes` Int64,
    `revision` Int64,
    INDEX call_id_index `call_id` TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_index `task_id` TYPE bloom_filter GRANULARITY 1,
    INDEX customer_id_index `customer_id` TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS raw_analytics_alerts
(
    `_topic` LowCardinality(String) DEFAULT 'analytics.alerts',
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
    `name` LowCardinality(String),
    `value` Float64,
    `threshold` Float64,
    `text` String,
    INDEX call_id_index `call_id` TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_index `task_id` TYPE bloom_filter GRANULARITY 1,
    INDEX customer_id_index `customer_id` TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS raw_analytics_ticks
(
    `_topic` LowCardinality(String) DEFAULT 'analytics.ticks',
    `_partition` Int32,
    `_offset` Int64 CODEC(Delta, ZSTD),
    `event_id` UUID,
    `kind` LowCardinality(String) DEFAULT 'tick',
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
    INDEX call_id_index `call_id` TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_index `task_id` TYPE bloom_filter GRANULARITY 1,
    INDEX customer_id_index `customer_id` TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS raw_trunks_status
(
    `_topic` LowCardinality(String) DEFAULT 'trunks.status',
    `_partition` Int32,
    `_offset` Int64 CODEC(Delta, ZSTD),
    `event_id` UUID,
    `kind` LowCardinality(String) DEFAULT 'status',
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
    `trunk` LowCardinality(String),
    `state` LowCardinality(String) DEFAULT 'closed',
    `calls` Int64,
    `failures` Int64,
    `reason` LowCardinality(Nullable(String)),
    INDEX call_id_index `call_id` TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_index `task_id` TYPE bloom_filter GRANULARITY 1,
    INDEX customer_id_index `customer_id` TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS raw_outreach_messages
(
    `_topic` LowCardinality(String) DEFAULT 'outreach.messages',
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
    `channel` LowCardinality(String),
    `template` LowCardinality(Nullable(String)),
    `text` Nullable(String),
    `reason` LowCardinality(Nullable(String)),
    INDEX call_id_index `call_id` TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_index `task_id` TYPE bloom_filter GRANULARITY 1,
    INDEX customer_id_index `customer_id` TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS raw_logs_app
(
    `_topic` LowCardinality(String) DEFAULT 'logs.app',
    `_partition` Int32,
    `_offset` Int64 CODEC(Delta, ZSTD),
    `event_id` UUID,
    `kind` LowCardinality(String) DEFAULT 'log',
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
    `level` LowCardinality(String),
    `logger` LowCardinality(String),
    `message` String CODEC(ZSTD(3)),
    `fields` String DEFAULT '{ }' CODEC(ZSTD(3)),
    INDEX call_id_index `call_id` TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_index `task_id` TYPE bloom_filter GRANULARITY 1,
    INDEX customer_id_index `customer_id` TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS raw_audit
(
    `_topic` LowCardinality(String) DEFAULT 'audit',
    `_partition` Int32,
    `_offset` Int64 CODEC(Delta, ZSTD),
    `event_id` UUID,
    `kind` LowCardinality(String) DEFAULT 'action',
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
    `actor` LowCardinality(String),
    `action` LowCardinality(String),
    `target` Nullable(String),
    `detail` String DEFAULT '{ }' CODEC(ZSTD(3)),
    INDEX call_id_index `call_id` TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_index `task_id` TYPE bloom_filter GRANULARITY 1,
    INDEX customer_id_index `customer_id` TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS raw_dead_letters
(
    `_topic` LowCardinality(String) DEFAULT 'dead_letters',
    `_partition` Int32,
    `_offset` Int64 CODEC(Delta, ZSTD),
    `event_id` UUID,
    `kind` LowCardinality(String) DEFAULT 'dead_letter',
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
    `source_topic` LowCardinality(String),
    `source_partition` Int64,
    `source_offset` Int64,
    `reason` String,
    `raw` String CODEC(ZSTD(3)),
    INDEX call_id_index `call_id` TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_index `task_id` TYPE bloom_filter GRANULARITY 1,
    INDEX customer_id_index `customer_id` TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000;
