"""Every metric's name, in one place, so that a misspelt one does not exist.

Each comment says what the number means and what to do about it.
"""

from prometheus_client import Counter, Gauge, Histogram

_LATENCY_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 2, 3, 5, 10)

# Calls by the state they reached; a growing gap between dialing and ended is a stuck edge.
CALLS = Counter("ringlog_calls_total", "Calls that reached a state", ["state"])

# Speech end to final transcript, less the configured silence; grows when the worker is overloaded.
ASR_FINAL_LATENCY = Histogram(
    "ringlog_asr_final_latency_seconds", "Turn end to final transcript", buckets=_LATENCY_S
)

# Legs whose `asr_profile` cannot serve here and that got the site's default: look at
# `profiles_left_out` on the worker's /healthz, and at the log for the names.
ASR_PROFILES_SUBSTITUTED = Counter(
    "ringlog_asr_profiles_substituted_total", "Legs that got the site's default recogniser instead"
)

# Final transcript to directive on Kafka; grows when a shard holds too many calls.
DIRECTIVE_LATENCY = Histogram(
    "ringlog_directive_latency_seconds", "Final transcript to directive", buckets=_LATENCY_S
)

# Records between a reader and the end of its topic; a number that only grows is a stuck worker.
CONSUMER_LAG = Gauge("ringlog_consumer_lag", "Records not read yet", ["topic", "group"])

# RTP packets that never came; over 1 % is heard by people.
RTP_PACKETS_LOST = Counter("ringlog_rtp_packets_lost_total", "RTP packets that never came")

# RTP packets thrown away, by why: source, duplicate, late, malformed, payload_type, ssrc (a second
# stream), rate (faster than real time), slow_peer, cleaning (its thread hangs: restart the edge).
RTP_PACKETS_DROPPED = Counter("ringlog_rtp_packets_dropped_total", "RTP packets refused", ["why"])

# Chunks dropped because the broker accepted none for minutes: a recording has a hole there.
MEDIA_CHUNKS_DROPPED = Counter(
    "ringlog_media_chunks_dropped_total", "Chunks given up because the broker took none"
)

# Packets that should have been cleaned and were logged as they came: the thread is behind by a
# second, or the module failed (the log says so). Chunks say what was done to them.
SOUND_NOT_CLEANED = Counter(
    "ringlog_sound_not_cleaned_total", "Packets logged as they came, against the trunk's setting"
)

# 20 ms ticks left out because the edge was late by over 200 ms: too many calls for its core.
PLAYOUT_TICKS_SKIPPED = Counter("ringlog_playout_ticks_skipped_total", "Ticks left out, too late")

# Prompts that a voice held up, by event: paused, resumed (nothing or a backchannel was said); the
# difference was stopped for words. Many resumed ones are a noisy line or a too nervous onset.
PLAYOUT_PAUSES = Counter("ringlog_playout_pauses_total", "Prompts paused by a voice", ["event"])

# Records that could not be read; look at the topic `dead_letters` for bytes and reason.
DEAD_LETTERS = Counter("ringlog_dead_letters_total", "Records that could not be read", ["topic"])

# Death of a speaking robot worker to its successor's first words.
TAKEOVER = Histogram("ringlog_takeover_seconds", "Robot takeover", buckets=_LATENCY_S)

# Tasks by what became of them.
TASKS = Counter("ringlog_tasks_total", "Tasks that reached a state", ["state"])

# Rows that reached ClickHouse.
ROWS = Counter("ringlog_clickhouse_rows_total", "Rows inserted", ["table"])

# Calls whose sound was looked at after their end: archived, silent (nothing to hear), or lost
# (some or all of it had expired). A lost one should never happen: look at `archive` in the logs.
RECORDINGS = Counter("ringlog_recordings_total", "Calls by the outcome of archiving", ["result"])

# Size of the recordings written.
RECORDING_BYTES = Counter("ringlog_recording_bytes_total", "Bytes of recordings written")

# Age of the oldest call that has ended and is not archived; its sound is gone after 24 h.
RECORDINGS_WAITING_AGE = Gauge(
    "ringlog_recordings_waiting_age_seconds", "Age of the oldest call not archived yet"
)

# Messages of the CRM by result: changed, ignored (a table that is not mapped, a tombstone), or
# rejected: in the dead queue, with the reason in its headers (`ringlog crm dead`).
CRM_MESSAGES = Counter("ringlog_crm_messages_total", "Messages of the CRM", ["result"])

# Commit at the CRM to acknowledgement by Kafka, for changes that name their time; grows when the
# bridge is behind or the clocks differ.
CRM_LATENCY = Histogram(
    "ringlog_crm_latency_seconds", "Change in the CRM to Kafka", buckets=_LATENCY_S
)

# Tries to bring a result to the CRM, by destination and outcome; `failed` ones are tried again, and
# `refused` ones are passed over: the topic `crm.deliveries` says why.
CRM_DELIVERIES = Counter(
    "ringlog_crm_deliveries_total", "Tries to bring a result to the CRM", ["destination", "outcome"]
)
