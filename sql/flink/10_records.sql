-- Every record of the source topics as it lies on the log: bytes, where they lie, and when they were
-- appended. The format is `raw`: bytes that are no event must reach our own decoder, which sends
-- them to dead_letters, instead of ending the job.
--
-- The watermark of each partition follows Kafka's timestamp of its records: a turn is appended soon
-- after it occurred, and one event with a wrong `occurred_at` must not move time. Partitions without
-- traffic stop counting after the idle time; the ticks keep time moving when all traffic stops.
CREATE TEMPORARY TABLE records (
    record_value     BYTES,
    source_topic     STRING METADATA FROM 'topic' VIRTUAL,
    source_partition INT METADATA FROM 'partition' VIRTUAL,
    source_offset    BIGINT METADATA FROM 'offset' VIRTUAL,
    appended_at      TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
    WATERMARK FOR appended_at AS appended_at - INTERVAL '$delay_s' SECOND
) WITH (
    'connector' = 'kafka',
    'topic' = '$source_topics',
    'format' = 'raw',
    'properties.bootstrap.servers' = '$kafka',
    'properties.group.id' = '$group',
    'properties.client.id.prefix' = '$group',
    'properties.isolation.level' = '$isolation',
    'scan.startup.mode' = 'earliest-offset',
    'scan.watermark.idle-timeout' = '$idle_s s'
);

-- `read_record` gives the fields that are needed of a turn, or the reason why a record is poison.
-- Ticks have done their work when the source has seen their timestamps.
CREATE TEMPORARY VIEW read_records AS
SELECT
    source_topic,
    source_partition,
    source_offset,
    appended_at,
    record_value,
    read_record(source_partition, record_value) AS event
FROM records
WHERE source_topic = '$turns_topic';

CREATE TEMPORARY VIEW flat_records AS
SELECT
    source_topic,
    source_partition,
    source_offset,
    appended_at,
    EXTRACT(EPOCH FROM appended_at) * 1000 + EXTRACT(MILLISECOND FROM appended_at) AS appended_ms,
    record_value,
    event.reason AS reason,
    event.event_id AS event_id,
    event.occurred_ms AS occurred_ms,
    event.tenant_id AS tenant_id,
    event.campaign_id AS campaign_id,
    event.call_id AS call_id,
    event.input_kind AS input_kind,
    event.intent AS intent
FROM read_records;
