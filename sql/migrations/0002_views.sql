-- Views: what the log says, each fact once. They read exactly at any moment: of two records with
-- one id the first by offset counts, and a row that was inserted twice is the same record twice.
-- Ids are compared within their call, task or customer: a query for one of these then reads only
-- the granules that may hold it (the filter passes below LIMIT BY to the raw table's indexes).

CREATE OR REPLACE VIEW transcripts AS
SELECT
    call_id, event_id, occurred_at, task_id, customer_id, campaign_id, robot_id, leg, utterance_id,
    text, start_ms, end_ms, mark, ssrc, tokens, confidence, gaps_ms, model, decode_ms,
    _partition, _offset
FROM
(
    SELECT * FROM raw_asr_transcripts ORDER BY _partition, _offset LIMIT 1 BY call_id, event_id
)
WHERE kind = 'final';

CREATE OR REPLACE VIEW turns AS
SELECT
    call_id, event_id, occurred_at, task_id, customer_id, campaign_id, pool, robot_id, epoch,
    input_kind, input_event_id, utterance_id, text, intent, confidence, emotion, slots, node,
    variant, posterior, heard_ms, outcome, directive_ids, _partition, _offset
FROM raw_dialogue_turns
ORDER BY _partition, _offset
LIMIT 1 BY call_id, event_id;

-- A directive counts if its epoch is at least the highest seen before it in its own partition and
-- no directive of its id counted before. One with a stale epoch does not use up its id.
CREATE OR REPLACE VIEW directives AS
SELECT
    call_id, directive_id, event_id, kind, occurred_at, task_id, customer_id, campaign_id, pool,
    robot_id, epoch, seq, node, prompt_id, prompt_sha256, text, variant, barge_in, reason, digits,
    target, turn_silence_ms, worker, _partition, _offset
FROM
(
    SELECT
        *,
        max(ifNull(epoch, 0)) OVER (
            PARTITION BY _partition ORDER BY _offset
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS highest_epoch
    FROM raw_dialogue_directives
)
WHERE ifNull(epoch, 0) >= highest_epoch
ORDER BY _partition, _offset
LIMIT 1 BY _partition, directive_id;

-- One row a call. A call only moves forward through its states, and nothing that is logged behind
-- its first `ended` changes it. All records of a call lie on one partition, so offsets order them.
CREATE OR REPLACE VIEW calls AS
SELECT
    call_id,
    ['dialing', 'ringing', 'early_media', 'answered', 'bridged', 'transferred', 'ended'][
        greatest(rank, 1)] AS state,
    started_at,
    if(answer.1 < progress_offset, answer.2, NULL) AS answered_at,
    if(ended, ending.1, NULL) AS ended_at,
    if(ended, ending.2, NULL) AS cause_q850,
    if(ended, ending.3, NULL) AS cause_sip,
    if(ended, ending.4, NULL) AS disposition,
    if(task.1 <= end_offset, task.2, NULL) AS task_id,
    if(customer.1 <= end_offset, customer.2, NULL) AS customer_id,
    if(campaign.1 <= end_offset, campaign.2, NULL) AS campaign_id,
    if(pool_.1 <= end_offset, pool_.2, NULL) AS pool,
    if(robot.1 <= end_offset, robot.2, NULL) AS robot_id,
    if(direction_.1 <= end_offset, direction_.2, NULL) AS direction,
    if(trunk_.1 <= end_offset, trunk_.2, NULL) AS trunk,
    if(attempt_.1 <= end_offset, attempt_.2, NULL) AS attempt,
    if(edge.1 <= end_offset, edge.2, NULL) AS edge_id,
    if(playbook_.1 <= end_offset, playbook_.2, NULL) AS playbook,
    if(version_.1 <= end_offset, version_.2, NULL) AS playbook_version,
    if(asr.1 <= end_offset, asr.2, NULL) AS asr_profile,
    _partition
FROM
(
    SELECT
        call_id,
        any(_partition) AS _partition,
        max(transform(
            kind,
            ['dialing', 'ringing', 'early_media', 'answered', 'bridged', 'transferred', 'ended'],
            [1, 2, 3, 4, 5, 6, 7], 0)) AS rank,
        argMin(occurred_at, _offset) AS started_at,
        countIf(kind = 'ended') > 0 AS ended,
        if(ended, minIf(_offset, kind = 'ended'), toInt64(9223372036854775807)) AS end_offset,
        if(countIf(kind IN ('bridged', 'transferred', 'ended')) > 0,
            minIf(_offset, kind IN ('bridged', 'transferred', 'ended')),
            toInt64(9223372036854775807)) AS progress_offset,
        argMinIf((occurred_at, cause_q850, cause_sip, disposition), _offset, kind = 'ended') AS ending,
        argMinIf((_offset, toNullable(occurred_at)), _offset, kind = 'answered') AS answer,
        argMinIf((_offset, task_id), _offset, task_id IS NOT NULL) AS task,
        argMinIf((_offset, customer_id), _offset, customer_id IS NOT NULL) AS customer,
        argMinIf((_offset, campaign_id), _offset, campaign_id IS NOT NULL) AS campaign,
        argMinIf((_offset, pool), _offset, pool IS NOT NULL) AS pool_,
        argMinIf((_offset, robot_id), _offset, robot_id IS NOT NULL) AS robot,
        argMinIf((_offset, direction), _offset, direction IS NOT NULL) AS direction_,
        argMinIf((_offset, trunk), _offset, trunk IS NOT NULL) AS trunk_,
        argMinIf((_offset, attempt), _offset, attempt IS NOT NULL) AS attempt_,
        argMinIf((_offset, edge_id), _offset, edge_id IS NOT NULL) AS edge,
        argMinIf((_offset, playbook), _offset, playbook IS NOT NULL) AS playbook_,
        argMinIf((_offset, playbook_version), _offset, playbook_version IS NOT NULL) AS version_,
        argMinIf((_offset, asr_profile), _offset, asr_profile IS NOT NULL) AS asr
    FROM
    (
        SELECT * FROM raw_calls_events
        WHERE call_id != ''
        ORDER BY _partition, _offset LIMIT 1 BY call_id, event_id
    )
    GROUP BY call_id
);

-- One row a task: what was asked and what became of it, the newest decision first.
CREATE OR REPLACE VIEW tasks AS
SELECT
    task_id,
    if(decisions > 0, last_kind, 'queued') AS status,
    if(decisions > 0, last_reason, NULL) AS reason,
    attempts AS attempt,
    call AS call_id,
    robot AS robot_id,
    version_ AS profile_version,
    customer AS customer_id,
    campaign AS campaign_id,
    pool_ AS pool,
    if(requests > 0, request.1, NULL) AS requested_at,
    if(decisions > 0, last_at, NULL) AS updated_at,
    if(requests > 0, request.2, NULL) AS priority,
    if(requests > 0, request.3, NULL) AS playbook,
    if(requests > 0, request.4, NULL) AS body_sha256
FROM
(
    SELECT
        task_id,
        countIf(decided = 0) AS requests,
        countIf(decided = 1) AS decisions,
        argMaxIf(kind, place, decided = 1) AS last_kind,
        argMaxIf((reason, 0), place, decided = 1).1 AS last_reason,
        argMaxIf(occurred_at, place, decided = 1) AS last_at,
        max(attempt) AS attempts,
        argMaxIf(call_id, place, decided = 1 AND call_id IS NOT NULL) AS call,
        argMaxIf(robot_id, place, decided = 1 AND robot_id IS NOT NULL) AS robot,
        argMaxIf(profile_version, place, profile_version IS NOT NULL) AS version_,
        argMinIf(customer_id, place, customer_id IS NOT NULL) AS customer,
        argMinIf(campaign_id, place, campaign_id IS NOT NULL) AS campaign,
        argMinIf(pool, place, pool IS NOT NULL) AS pool_,
        argMinIf((occurred_at, priority, playbook, body_sha256), place, decided = 0) AS request
    FROM
    (
        SELECT
            task_id, 0 AS decided, kind, occurred_at, customer_id, campaign_id, pool, priority,
            playbook, body_sha256, NULL AS reason, toInt64(0) AS attempt, NULL AS call_id,
            NULL AS robot_id, NULL AS profile_version, (decided, _partition, _offset) AS place
        FROM
        (
            SELECT * FROM raw_tasks_requested
            WHERE task_id != ''
            ORDER BY _partition, _offset LIMIT 1 BY task_id, event_id
        )
        WHERE kind = 'requested'
        UNION ALL
        SELECT
            task_id, 1 AS decided, kind, occurred_at, customer_id, campaign_id, pool, '' AS priority,
            NULL AS playbook, '' AS body_sha256, reason, attempt, call_id, robot_id,
            profile_version, (decided, _partition, _offset) AS place
        FROM
        (
            SELECT * FROM raw_tasks_events
            WHERE task_id != ''
            ORDER BY _partition, _offset LIMIT 1 BY task_id, event_id
        )
    )
    GROUP BY task_id
);

-- One row a customer: the newest profile.
CREATE OR REPLACE VIEW customers AS
SELECT
    customer_id, version, level, tags, name, purchase_intent, last_intent, last_emotion, opted_out,
    purchases, promises, calls, answered_calls, phone_hash, occurred_at AS updated_at, _partition,
    _offset
FROM
(
    SELECT * FROM raw_customers_profiles
    WHERE customer_id != ''
    ORDER BY _partition, _offset LIMIT 1 BY customer_id, event_id
)
ORDER BY _partition DESC, _offset DESC
LIMIT 1 BY customer_id;

-- What customers said, by campaign and minute of the event's own time.
CREATE OR REPLACE VIEW intents_by_minute AS
SELECT
    toStartOfMinute(occurred_at) AS minute,
    campaign_id,
    intent,
    count() AS count,
    uniqExact(call_id) AS calls
FROM turns
WHERE input_kind = 'final' AND intent != ''
GROUP BY minute, campaign_id, intent;
