-- Raw tables: every record of the log, one row per (partition, offset).
-- Generated from the event models by `python -m streams.history.generate_migration`; not edited.

ALTER TABLE raw_calls_events ADD COLUMN IF NOT EXISTS `variant` LowCardinality(Nullable(String));

ALTER TABLE raw_tasks_events ADD COLUMN IF NOT EXISTS `caller_id` Nullable(String);

ALTER TABLE raw_tasks_events ADD COLUMN IF NOT EXISTS `variant` LowCardinality(Nullable(String));
