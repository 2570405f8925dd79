-- The revision of a window is the number of turns before the one that it counts last: derived from
-- what was counted, so that a restart or a recount from the beginning gives the same ids, and the
-- highest revision is always the fullest count.
CREATE TEMPORARY VIEW revisions AS
SELECT
    *,
    turns - 1 AS revision,
    MD5(CONCAT_WS('|',
        tenant_id || '/$job', campaign, intent, CAST(size_s AS STRING),
        CAST(start_ms AS STRING), CAST(turns - 1 AS STRING))) AS hex
FROM ($all_windows);

CREATE TEMPORARY VIEW intent_window_values AS
SELECT
    campaign,
    intent_window(
        SUBSTRING(hex, 1, 8) || '-' || SUBSTRING(hex, 9, 4) || '-' || SUBSTRING(hex, 13, 4) || '-'
            || SUBSTRING(hex, 17, 4) || '-' || SUBSTRING(hex, 21, 12),
        tenant_id, campaign, intent, size_s, start_ms, turns, calls, revision
    ) AS record_value
FROM revisions;

-- Values are complete records, framed with the id of our own schema: Flink registers none.
CREATE TEMPORARY TABLE intent_windows (
    record_key   STRING,
    record_value BYTES
) WITH (
    'connector' = 'kafka',
    'topic' = '$windows_topic',
    'properties.bootstrap.servers' = '$kafka',
    'properties.client.id.prefix' = '$group-windows',
    'properties.acks' = 'all',
    'properties.max.request.size' = '$message_bytes',
    'key.format' = 'raw',
    'key.fields' = 'record_key',
    'value.format' = 'raw',
    'value.fields-include' = 'EXCEPT_KEY',
    'sink.delivery-guarantee' = 'at-least-once'
);

CREATE TEMPORARY TABLE dead_letters (
    record_key   STRING,
    record_value BYTES
) WITH (
    'connector' = 'kafka',
    'topic' = '$dead_letters_topic',
    'properties.bootstrap.servers' = '$kafka',
    'properties.client.id.prefix' = '$group-dead',
    'properties.acks' = 'all',
    'properties.max.request.size' = '$message_bytes',
    'key.format' = 'raw',
    'key.fields' = 'record_key',
    'value.format' = 'raw',
    'value.fields-include' = 'EXCEPT_KEY',
    'sink.delivery-guarantee' = 'at-least-once'
);
