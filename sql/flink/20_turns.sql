-- `event_stream` is flat_records with event time: `rowtime` is when the turn occurred, the
-- watermarks are those of the log (see 10_records.sql), `arrived` is the machine's clock.

-- Of two turns with one id the first counts. Both have one key, so they lie on one partition and
-- arrive in the order of their offsets.
CREATE TEMPORARY VIEW first_turns AS
SELECT tenant_id, campaign_id, call_id, input_kind, intent, occurred_ms, rowtime, arrived
FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY event_id ORDER BY arrived ASC) AS nth
    FROM event_stream
    WHERE event_id IS NOT NULL
)
WHERE nth = 1;

CREATE TEMPORARY VIEW counted_turns AS
SELECT tenant_id, COALESCE(campaign_id, '') AS campaign, call_id, intent, occurred_ms, rowtime, arrived
FROM first_turns
WHERE input_kind = 'final' AND intent <> '';
