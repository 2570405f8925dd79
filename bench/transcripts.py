"""Transcripts as the ASR worker writes them, for benchmarks of their transport."""

import random
from collections.abc import Iterator
from typing import Any

from schemas import ids

_WORDS = "你好我现在很忙价格太高了好的谢谢不需要明天再打吧便宜一点考虑下"
_PARTIALS = 2
START_MS = 1_760_000_000_000


def records(count: int, seed: int = 1) -> Iterator[dict[str, Any]]:
    """Events of `asr.transcripts` as dicts: two partials and a final of ten tokens a turn."""
    rng = random.Random(seed)
    for n in range(count):
        turn, step = divmod(n, _PARTIALS + 1)
        call = ids.root_id("bench-call", turn // 8)
        start_ms = turn % 8 * 4_000 + 700
        final = step == _PARTIALS
        text = "".join(rng.choices(_WORDS, k=10 if final else 4 * step + 3))
        utterance = ids.utterance_id(call, "customer", 7, start_ms * 8)
        yield {
            "event_id": ids.event_id(utterance, "final" if final else "partial", step),
            "kind": "final" if final else "partial",
            "occurred_at": START_MS + n * 3,
            "producer": "asr",
            "causation_id": ids.media_chunk_id(call, "customer", start_ms * 8),
            "tenant_id": "default",
            "call_id": call,
            "task_id": ids.root_id("bench-task", turn // 8),
            "customer_id": f"customer-{turn // 8}",
            "campaign_id": f"campaign-{turn % 5}",
            "pool": "sales",
            "robot_id": f"robot-{turn % 20}",
            "epoch": None,
            "leg": "customer",
            "utterance_id": utterance,
            "text": text,
            "start_ms": start_ms,
            "end_ms": start_ms + 200 * (step + 1),
            "mark": (start_ms + 200 * (step + 1)) * 8,
            "ssrc": 7,
            "tokens": [
                {"text": word, "start_ms": start_ms + 180 * i} for i, word in enumerate(text)
            ] if final else [],
            "confidence": rng.random() if final else None,
            "gaps_ms": [],
            "model": "demo",
            "decode_ms": rng.random() * 20,
        }  # fmt: skip
