-- Raw tables: every record of the log, one row per (partition, offset).
-- Generated from the event models by `python -m streams.history.generate_migration`; not edited.

ALTER TABLE raw_dialogue_directives ADD COLUMN IF NOT EXISTS `prompt_parts` Array(String);
