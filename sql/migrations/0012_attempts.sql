-- The attempt ledger: one row a try, with what became of it. A try that was refused has its own
-- record; the last try of a call has the call's first word, answer and end.
CREATE OR REPLACE VIEW attempts AS
WITH events AS
(
    SELECT * FROM raw_calls_events
    WHERE call_id != ''
    ORDER BY _partition, _offset LIMIT 1 BY call_id, event_id
)
SELECT
    tries.call_id AS call_id,
    tries.try_no AS try_no,
    tries.task_id AS task_id,
    tries.customer_id AS customer_id,
    tries.campaign_id AS campaign_id,
    tries.edge_id AS edge_id,
    tries.trunk AS trunk,
    if(length(tries.caller_id) > 7,
        concat(left(tries.caller_id, length(tries.caller_id) - 6), '****',
            right(tries.caller_id, 2)), tries.caller_id) AS caller_id,
    tries.occurred_at AS tried_at,
    multiIf(
        refusals.refused_at IS NOT NULL, 'refused',
        tries.try_no < calls_.last_try, 'replaced',
        calls_.answered_at IS NOT NULL, 'answered',
        calls_.ended_at IS NOT NULL, 'unanswered',
        calls_.word_at IS NOT NULL, 'ringing',
        'asked') AS result,
    if(refusals.refused_at IS NOT NULL, refusals.cause_q850,
        if(tries.try_no = calls_.last_try, calls_.cause_q850, NULL)) AS cause_q850,
    if(refusals.refused_at IS NOT NULL, refusals.cause_sip,
        if(tries.try_no = calls_.last_try, calls_.cause_sip, NULL)) AS cause_sip,
    dateDiff('millisecond', tries.occurred_at, multiIf(
        refusals.refused_at IS NOT NULL, refusals.refused_at,
        tries.try_no < calls_.last_try, NULL,
        ifNull(calls_.word_at, calls_.ended_at))) AS response_ms
FROM
(
    SELECT call_id, assumeNotNull(try_no) AS try_no, task_id, customer_id, campaign_id, edge_id,
        trunk, caller_id, occurred_at
    FROM events WHERE kind = 'tried' AND try_no IS NOT NULL
) AS tries
LEFT JOIN
(
    SELECT call_id, assumeNotNull(try_no) AS try_no, toNullable(min(occurred_at)) AS refused_at,
        argMin(cause_q850, _offset) AS cause_q850, argMin(cause_sip, _offset) AS cause_sip
    FROM events WHERE kind = 'refused' AND try_no IS NOT NULL
    GROUP BY call_id, try_no
) AS refusals ON refusals.call_id = tries.call_id AND refusals.try_no = tries.try_no
LEFT JOIN
(
    SELECT
        call_id,
        maxIf(assumeNotNull(try_no), kind = 'tried') AS last_try,
        minOrNullIf(occurred_at, kind IN ('ringing', 'early_media', 'answered')) AS word_at,
        minOrNullIf(occurred_at, kind = 'answered') AS answered_at,
        minOrNullIf(occurred_at, kind = 'ended') AS ended_at,
        argMinIf(cause_q850, _offset, kind = 'ended') AS cause_q850,
        argMinIf(cause_sip, _offset, kind = 'ended') AS cause_sip
    FROM events GROUP BY call_id
) AS calls_ ON calls_.call_id = tries.call_id
SETTINGS join_use_nulls = 1;

-- One row a call, however its records arrive: it began at the earliest time, was answered when any
-- record says so, and its first `ended` counts. An answer contradicts no_answer, busy and rejected:
-- such a call was abandoned. Times never run backwards. The API and `verify` fold by the same rule.
-- The trunk is that of the last try.
CREATE OR REPLACE VIEW calls AS
SELECT
    call_id,
    ['dialing', 'ringing', 'early_media', 'answered', 'bridged', 'transferred', 'ended'][
        greatest(rank, 1)] AS state,
    started_at,
    if(ended AND ifNull(answer.2 > ending.1, false), ending.1, answer.2) AS answered_at,
    if(ended, ending.1, NULL) AS ended_at,
    if(ended, ending.2, NULL) AS cause_q850,
    if(ended, ending.3, NULL) AS cause_sip,
    if(ended, if(connected AND ending.4 IN ('no_answer', 'busy', 'rejected'), 'abandoned', ending.4),
        NULL) AS disposition,
    if(task.1 <= end_offset, task.2, NULL) AS task_id,
    if(customer.1 <= end_offset, customer.2, NULL) AS customer_id,
    if(campaign.1 <= end_offset, campaign.2, NULL) AS campaign_id,
    if(pool_.1 <= end_offset, pool_.2, NULL) AS pool,
    if(robot.1 <= end_offset, robot.2, NULL) AS robot_id,
    if(direction_.1 <= end_offset, direction_.2, NULL) AS direction,
    if(last_try.1 > 0 AND last_try.1 <= end_offset, last_try.2,
        if(trunk_.1 <= end_offset, trunk_.2, NULL)) AS trunk,
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
        min(occurred_at) AS started_at,
        countIf(kind IN ('answered', 'bridged', 'transferred')) > 0 AS connected,
        countIf(kind = 'ended') > 0 AS ended,
        if(ended, minIf(_offset, kind = 'ended'), toInt64(9223372036854775807)) AS end_offset,
        argMinIf((occurred_at, cause_q850, cause_sip, disposition), _offset, kind = 'ended') AS ending,
        argMinIf((_offset, toNullable(occurred_at)), _offset, kind = 'answered') AS answer,
        argMinIf((_offset, task_id), _offset, task_id IS NOT NULL) AS task,
        argMinIf((_offset, customer_id), _offset, customer_id IS NOT NULL) AS customer,
        argMinIf((_offset, campaign_id), _offset, campaign_id IS NOT NULL) AS campaign,
        argMinIf((_offset, pool), _offset, pool IS NOT NULL) AS pool_,
        argMinIf((_offset, robot_id), _offset, robot_id IS NOT NULL) AS robot,
        argMinIf((_offset, direction), _offset, direction IS NOT NULL) AS direction_,
        argMinIf((_offset, trunk), _offset, trunk IS NOT NULL) AS trunk_,
        argMaxIf((_offset, trunk), _offset, kind = 'tried' AND trunk IS NOT NULL) AS last_try,
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
