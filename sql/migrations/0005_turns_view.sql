-- `turns` also says what was meant for certain, and what the robot asked back about.
CREATE OR REPLACE VIEW turns AS
SELECT
    call_id, event_id, occurred_at, task_id, customer_id, campaign_id, pool, robot_id, epoch,
    input_kind, input_event_id, utterance_id, text, intent, confidence, emotion, slots, node,
    variant, posterior, heard_ms, outcome, directive_ids, _partition, _offset, meaning, asked
FROM raw_dialogue_turns
ORDER BY _partition, _offset
LIMIT 1 BY call_id, event_id;
