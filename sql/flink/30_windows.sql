-- Windows of $size_s seconds. `turns` and `calls` are running counts: the row of the n-th turn of a
-- window says n.
CREATE TEMPORARY VIEW running_${size_s}s AS
SELECT
    tenant_id, campaign, intent, start_ms, rowtime,
    COUNT(*) OVER so_far AS turns,
    COUNT(DISTINCT call_id) OVER so_far AS calls
FROM (SELECT *, occurred_ms - MOD(occurred_ms, $size_ms) AS start_ms FROM counted_turns)
WINDOW so_far AS (
    PARTITION BY tenant_id, campaign, intent, start_ms
    ORDER BY arrived
    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
);

-- The whole window, once, when the watermark passes its end. It drops exactly the rows that
-- `late_${size_s}s` lets through: both compare with the watermark of the same stream.
CREATE TEMPORARY VIEW closed_${size_s}s AS
SELECT tenant_id, campaign, intent, start_ms, MAX(turns) AS turns, MAX(calls) AS calls
FROM running_${size_s}s
GROUP BY tenant_id, campaign, intent, start_ms, TUMBLE(rowtime, INTERVAL '$size_s' SECOND);

-- A turn that comes after that corrects its window.
CREATE TEMPORARY VIEW late_${size_s}s AS
SELECT tenant_id, campaign, intent, start_ms, turns, calls
FROM running_${size_s}s
WHERE CURRENT_WATERMARK(rowtime) >= TO_TIMESTAMP_LTZ(start_ms + $size_ms - 1, 3);

CREATE TEMPORARY VIEW windows_${size_s}s AS
SELECT *, CAST($size_s AS INT) AS size_s FROM closed_${size_s}s
UNION ALL
SELECT *, CAST($size_s AS INT) AS size_s FROM late_${size_s}s;
