-- Where the sound of each call lies: an index of the files under <home>/recordings, which
-- `ringlog rebuild recordings` makes again from them. A leg is (call_id, leg, ssrc); a repeat is
-- the same row. `path` is relative to that folder and begins with the UTC day.

CREATE TABLE IF NOT EXISTS recordings
(
    `call_id` String,
    `leg` LowCardinality(String),
    `ssrc` UInt32,
    `path` String,
    `started_at` DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    `leg_start_ms` Int64,
    `duration_ms` Int64,
    `rate_hz` UInt32,
    `samples` Int64,
    `lost_ms` Int64,
    `sha256` FixedString(64),
    `bytes` Int64,
    `archived_at` DateTime64(3, 'UTC') CODEC(Delta, ZSTD)
)
ENGINE = ReplacingMergeTree(archived_at)
ORDER BY (call_id, leg, ssrc);
