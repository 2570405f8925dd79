-- Raw tables: every record of the log, one row per (partition, offset).
-- Generated from the event models by `python -m streams.history.generate_migration`; not edited.

ALTER TABLE raw_customers_changes ADD COLUMN IF NOT EXISTS `record_id` Nullable(String);

ALTER TABLE raw_customers_changes ADD COLUMN IF NOT EXISTS `amount_minor` Nullable(Int64);

ALTER TABLE raw_customers_changes ADD COLUMN IF NOT EXISTS `currency` Nullable(String);

ALTER TABLE raw_customers_changes ADD COLUMN IF NOT EXISTS `made_at` Nullable(DateTime64(3, 'UTC')) CODEC(Delta, ZSTD);

ALTER TABLE raw_customers_changes ADD COLUMN IF NOT EXISTS `due_at` Nullable(DateTime64(3, 'UTC')) CODEC(Delta, ZSTD);

ALTER TABLE raw_customers_changes ADD COLUMN IF NOT EXISTS `status` Nullable(String);

ALTER TABLE raw_customers_changes ADD COLUMN IF NOT EXISTS `merged_into` Nullable(String);

ALTER TABLE raw_customers_changes ADD COLUMN IF NOT EXISTS `actor` LowCardinality(Nullable(String));

ALTER TABLE raw_customers_profiles ADD COLUMN IF NOT EXISTS `sources` Map(String, String);

ALTER TABLE raw_customers_profiles ADD COLUMN IF NOT EXISTS `told_at` Map(String, Int64);

ALTER TABLE raw_customers_profiles ADD COLUMN IF NOT EXISTS `consents` Array(Tuple(campaign_id String, consent String, until String, told_at Int64));

ALTER TABLE raw_customers_profiles ADD COLUMN IF NOT EXISTS `orders` Array(Tuple(record_id String, source String, told_at Int64, made_at Int64, amount_minor Nullable(Int64), currency Nullable(String), due_at Nullable(Int64), status Nullable(String)));

ALTER TABLE raw_customers_profiles ADD COLUMN IF NOT EXISTS `payments` Array(Tuple(record_id String, source String, told_at Int64, made_at Int64, amount_minor Nullable(Int64), currency Nullable(String), status Nullable(String)));

ALTER TABLE raw_customers_profiles ADD COLUMN IF NOT EXISTS `payment_promises` Array(Tuple(call_id String, said_at Int64, due_at Int64, amount_minor Nullable(Int64), state String));

ALTER TABLE raw_customers_profiles ADD COLUMN IF NOT EXISTS `merged_into` Nullable(String);

ALTER TABLE raw_customers_profiles ADD COLUMN IF NOT EXISTS `absorbed` Array(String);

ALTER TABLE raw_profiles_inbox ADD COLUMN IF NOT EXISTS `via` Array(String);
