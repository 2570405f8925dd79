-- Raw tables: every record of the log, one row per (partition, offset).
-- Generated from the event models by `python -m streams.history.generate_migration`; not edited.

ALTER TABLE raw_customers_changes ADD COLUMN IF NOT EXISTS `cleared` Array(String);

ALTER TABLE raw_compliance_optouts ADD COLUMN IF NOT EXISTS `scope` String DEFAULT 'global';

ALTER TABLE raw_compliance_optouts ADD COLUMN IF NOT EXISTS `source` LowCardinality(String) DEFAULT 'unknown';

ALTER TABLE raw_compliance_optouts ADD COLUMN IF NOT EXISTS `actor` LowCardinality(Nullable(String));

ALTER TABLE raw_customers_profiles ADD COLUMN IF NOT EXISTS `opted_out_in` Array(String);
