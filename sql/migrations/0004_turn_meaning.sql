-- Raw tables: every record of the log, one row per (partition, offset).
-- Generated from the event models by `python -m streams.history.generate_migration`; not edited.

ALTER TABLE raw_dialogue_turns ADD COLUMN IF NOT EXISTS `meaning` LowCardinality(Nullable(String));

ALTER TABLE raw_dialogue_turns ADD COLUMN IF NOT EXISTS `asked` LowCardinality(Nullable(String));
