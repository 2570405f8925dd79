"""Chunks and tracks for tests."""

import uuid

import numpy as np

from ringlog.audio import g711
from ringlog.audio.g711 import Int16
from schemas.events import MediaChunk

CHUNK = 800


def voice(n: int, seed: int = 1) -> Int16:
    """n samples that G.711 mu-law keeps as they are."""
    raw = np.random.default_rng(seed).integers(0, 256, n, dtype=np.uint8)
    return g711.decode_pcmu(raw.tobytes())


def chunk(at: int, samples: Int16 | None, **fields: object) -> MediaChunk:
    """A chunk of call `c1` that begins `at` samples into its leg; None: the leg's end."""
    values: dict[str, object] = {
        "event_id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{at}/{fields.get('leg')}")),
        "kind": "chunk" if samples is not None else "end",
        "occurred_at": 1_760_000_000_000 + at // 8,
        "producer": "test",
        "call_id": "c1",
        "leg": "customer",
        "asr_profile": "demo",
        "turn_silence_ms": 500,
        "ssrc": 7,
        "first_seq": 0,
        "rtp_ts": 5_000 + at,
        "leg_start_ts": 5_000,
        "leg_start_ms": 250,
        "codec": "pcmu",
        "rate_hz": 8_000,
        "payload": b"" if samples is None else g711.encode_pcmu(samples),
    }
    return MediaChunk.model_validate(values | fields)
