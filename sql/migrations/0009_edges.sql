-- Raw tables: every record of the log, one row per (partition, offset).
-- Generated from the event models by `python -m streams.history.generate_migration`; not edited.

ALTER TABLE raw_robots_leases ADD COLUMN IF NOT EXISTS `rtp_host` Nullable(String);

ALTER TABLE raw_robots_leases ADD COLUMN IF NOT EXISTS `media_url` Nullable(String);

ALTER TABLE raw_robots_leases ADD COLUMN IF NOT EXISTS `control_url` Nullable(String);

ALTER TABLE raw_robots_leases ADD COLUMN IF NOT EXISTS `capacity` Nullable(Int64);

ALTER TABLE raw_robots_leases ADD COLUMN IF NOT EXISTS `calls` Nullable(Int64);

ALTER TABLE raw_robots_leases ADD COLUMN IF NOT EXISTS `draining` Bool;
