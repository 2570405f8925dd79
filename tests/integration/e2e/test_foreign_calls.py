"""Calls that another telephone system brings: by RTP alone, by WebSocket alone, over bad lines."""

import asyncio
import csv
import time

import numpy as np
import pytest

from demo.impairment import Impairment
from demo.measure import characters, edit_distance
from ringlog.audio import g711, wav
from ringlog.audio.g711 import Int16
from ringlog.settings import Settings
from schemas.events import CallEvent, Transcript
from tests.integration.e2e.conftest import SPEECH
from tests.integration.e2e.outside import (
    FRAME,
    close_session,
    events_of,
    finals_of,
    open_session,
    send_rtp,
    send_ws,
    spoken,
    text_of,
)

LINES = ["方便你说", "价格太高了", "可以介绍一下吗", "你们的价格太高了", "我想了解一下", "多少钱"]
"""Nothing among them makes the robot hang up."""

TEXT = "".join(LINES)


def cer(text: str, reference: str = TEXT) -> float:
    return edit_distance(characters(reference), characters(text)) / len(characters(reference))


def test_a_call_by_rtp_alone_is_transcribed_answered_and_ended(product: Settings) -> None:
    opened = open_session(product)
    heard_frames = asyncio.run(send_rtp(opened, spoken(LINES[:2], pause_s=5.0)))
    close_session(product, opened["call_id"])
    finals = finals_of(product, opened["call_id"], lambda f: len(text_of(f)) >= 9)
    assert cer(text_of(finals), "方便你说价格太高了") <= 0.12
    assert heard_frames > 150, "the robot's voice came back"
    deadline = time.monotonic() + 20
    while True:
        events = events_of(product, "calls.events", opened["call_id"])
        ended = [e for e in events if e.kind == "ended"]
        if ended or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    assert len(ended) == 1
    first = events[0]
    assert isinstance(first, CallEvent)
    assert (first.direction, first.playbook, first.asr_profile) == ("foreign", "promotion", "demo")
    assert first.robot_id
    ends = [e for e in events_of(product, "media.audio", opened["call_id"]) if e.kind == "end"]
    assert ends, "the legs' ends are on the log"


def test_a_call_by_websocket_alone_is_transcribed(product: Settings) -> None:
    opened = open_session(product)
    heard_frames = asyncio.run(send_ws(opened, spoken(LINES[:2], pause_s=5.0)))
    finals = finals_of(product, opened["call_id"], lambda f: len(text_of(f)) >= 9)
    assert cer(text_of(finals), "方便你说价格太高了") <= 0.12
    assert heard_frames > 150


def test_a_bad_line_costs_little_and_every_hole_is_flagged(product: Settings) -> None:
    """5 % loss, 2 % duplicates, reordering within 60 ms; and bursts that leave holes of 80 ms."""
    samples = spoken(LINES)
    clean, bad, holes = (open_session(product) for _ in range(3))
    # A hole in the middle of each line, where the sound is.
    middles = _middles(samples)
    burst = {m + k for m in middles for k in range(4)}

    async def all_three() -> None:
        await asyncio.gather(
            send_rtp(clean, samples),
            send_rtp(bad, samples, Impairment(0.05, 0.02, 60, seed=3)),
            send_rtp(holes, samples, dropped=lambda n: n in burst),
        )

    asyncio.run(all_three())
    for opened in (clean, bad, holes):
        close_session(product, opened["call_id"])

    def done(finals: list[Transcript]) -> bool:
        return len(finals) >= len(LINES)

    rate = cer(text_of(finals_of(product, clean["call_id"], done)))
    bad_rate = cer(text_of(finals_of(product, bad["call_id"], done)))
    assert rate <= 0.08
    assert bad_rate <= rate + 0.05
    flagged = [g for f in finals_of(product, holes["call_id"], done) for g in f.gaps_ms]
    assert flagged == [80] * len(middles)


def _middles(samples: Int16) -> list[int]:
    """The frame in the middle of each stretch of speech."""
    loud = np.abs(samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)).max(1) > 3_000
    frames = np.flatnonzero(loud)
    stretches = np.split(frames, np.flatnonzero(np.diff(frames) > 40) + 1)
    return [int((s[0] + s[-1]) // 2) for s in stretches]


@pytest.mark.skipif(
    not SPEECH.is_dir(), reason="the recordings of ../shared/speech are not on this machine"
)
def test_real_recordings_by_rtp_with_a_real_model(product: Settings) -> None:
    """At most 5 points above sherpa-onnx decoding the same files directly."""
    import sherpa_onnx

    recogniser = sherpa_onnx.OnlineRecognizer.from_zipformer2_ctc(
        tokens=str(SPEECH / "fsmn-ctc-zh" / "tokens.txt"),
        model=str(SPEECH / "fsmn-ctc-zh" / "model.onnx"), num_threads=1,
    )  # fmt: skip
    with (SPEECH / "wavs" / "transcripts.tsv").open(encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file, delimiter="\t") if not r["text"].isascii()]
    direct = 0
    sessions, sounds = [], []
    for row in rows:
        sound = wav.read(SPEECH / "wavs" / row["file"], 8_000)[0]
        stream = recogniser.create_stream()
        line = g711.decode_pcmu(g711.encode_pcmu(sound))
        stream.accept_waveform(8_000, np.pad(line.astype(np.float32) / 32_768, (0, 8_000)))
        while recogniser.is_ready(stream):
            recogniser.decode_stream(stream)
        heard = recogniser.get_result(stream)
        direct += edit_distance(characters(row["text"]), characters(heard))
        quiet = np.zeros(8_000, np.int16)
        sounds.append(np.concatenate([quiet, sound[: len(sound) // FRAME * FRAME], quiet, quiet]))
        sessions.append(open_session(product, asr_profile="fsmn"))

    async def send_all() -> None:
        await asyncio.gather(*(send_rtp(o, s) for o, s in zip(sessions, sounds, strict=True)))

    asyncio.run(send_all())
    through = 0
    for row, opened in zip(rows, sessions, strict=True):
        close_session(product, opened["call_id"])
        finals = finals_of(product, opened["call_id"])
        through += edit_distance(characters(row["text"]), characters(text_of(finals)))
    total = sum(len(characters(r["text"])) for r in rows)
    assert through / total <= direct / total + 0.05
