-- Raw tables: every record of the log, one row per (partition, offset).
-- Generated from the event models by `python -m streams.history.generate_migration`; not edited.

ALTER TABLE raw_calls_events ADD COLUMN IF NOT EXISTS `rule` Nullable(String);

ALTER TABLE raw_calls_events ADD COLUMN IF NOT EXISTS `reason` LowCardinality(Nullable(String));

ALTER TABLE raw_calls_events ADD COLUMN IF NOT EXISTS `lawful_at` Nullable(DateTime64(3, 'UTC')) CODEC(Delta, ZSTD);

ALTER TABLE raw_calls_events ADD COLUMN IF NOT EXISTS `silent_ms` Nullable(Int64);

ALTER TABLE raw_tasks_events ADD COLUMN IF NOT EXISTS `terms` Nullable(String);

ALTER TABLE raw_tasks_events ADD COLUMN IF NOT EXISTS `number_dials` Array(DateTime64(3, 'UTC')) CODEC(Delta, ZSTD);
