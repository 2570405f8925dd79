-- Raw tables: every record of the log, one row per (partition, offset).
-- Generated from the event models by `python -m streams.history.generate_migration`; not edited.

ALTER TABLE raw_tasks_requested ADD COLUMN IF NOT EXISTS `dials` Int64;

ALTER TABLE raw_tasks_requested ADD COLUMN IF NOT EXISTS `reason` LowCardinality(Nullable(String));
