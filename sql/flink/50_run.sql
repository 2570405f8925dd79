INSERT INTO intent_windows SELECT campaign, record_value FROM intent_window_values;

INSERT INTO dead_letters
SELECT
    source_topic,
    dead_letter(source_topic, source_partition, source_offset, reason, record_value, appended_ms)
FROM event_stream
WHERE reason IS NOT NULL;
