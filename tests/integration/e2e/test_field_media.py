"""What telephone lines do, through the whole product: silence suppression, and our own echo."""

import asyncio
import socket
import time
from typing import Any

import numpy as np

from demo.speech import utterance
from demo.wire import packet, parse
from ringlog.audio import g711
from ringlog.kafka import sync
from ringlog.kafka.codec import codec_of
from ringlog.settings import Settings
from schemas.events import Directive, MediaChunk, Transcript, Turn
from schemas.partition import partition_of
from tests.integration.e2e.outside import (
    FRAME,
    VOICE,
    close_session,
    events_of,
    finals_of,
    open_session,
    send_rtp,
    spoken,
    text_of,
)

LINE = "价格太高了"
PAUSE_S = 5.0
SUPPRESSED_S = 5


async def speak_and_stop(opened: dict[str, Any]) -> None:
    """Speaks, and from the last sample on sends nothing at all."""
    samples = np.pad(spoken([LINE], PAUSE_S), (0, SUPPRESSED_S * 8_000))
    last = (int(PAUSE_S * 8_000) + len(utterance(LINE, VOICE))) // FRAME
    await send_rtp(opened, samples, dropped=lambda n: n > last)


async def echo(opened: dict[str, Any], seconds: float, delay_ms: int, gain_db: float) -> None:
    """A far end where nobody speaks, and the robot's voice comes back."""
    ours = np.zeros(int(seconds * 8_000) + 80_000)
    began = time.monotonic()
    offset: int | None = None  # from the robot's timestamps to our samples

    class Socket(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            parsed = parse(data)
            nonlocal offset
            if parsed is not None and parsed[0] == 0:
                if offset is None:
                    offset = int((time.monotonic() - began) * 50) * FRAME - parsed[1]
                at = offset + parsed[1] + delay_ms * 8
                samples = g711.decode_pcmu(parsed[2]) * 10 ** (gain_db / 20)
                ours[at : at + len(samples)] += samples[: max(0, len(ours) - at)]

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        Socket, local_addr=("127.0.0.1", 0), family=socket.AF_INET
    )
    noise = np.random.default_rng(2).normal(0, 15, len(ours))
    for n in range(int(seconds * 50)):
        part = slice(n * FRAME, (n + 1) * FRAME)
        samples = np.clip(noise[part] + ours[part], -32_768, 32_767).astype(np.int16)
        data = packet("pcmu", n, n * FRAME, 4_242, g711.encode_pcmu(samples), n == 0)
        transport.sendto(data, (opened["rtp_host"], opened["rtp_port"]))
        await asyncio.sleep(max(0.0, began + (n + 1) * 0.02 - time.monotonic()))
    transport.close()


def times_of(config: Settings, topic: str, call_id: str) -> list[tuple[int, Any]]:
    """(the broker's time, event) of a call's records."""
    codec = codec_of(config)
    return [
        (record.timestamp_ms, codec.decode(topic, record.value))
        for record in sync.read(config, topic, partitions=[partition_of(call_id, 8)])
        if record.key == call_id.encode()
    ]


def test_T1_and_D2_silence_suppression_and_our_own_echo(product: Settings) -> None:
    """T1: the final comes in its time though nothing more arrives, and the robot answers it.
    D2: the robot's own voice makes no turn and stops no prompt; the silence fallback comes."""
    suppressed = [open_session(product) for _ in range(3)]
    echoes = [(open_session(product), *line) for line in ((120, -6), (250, -12), (450, -18))]

    async def all_at_once() -> None:
        await asyncio.gather(
            *(speak_and_stop(s) for s in suppressed),
            *(echo(o, 12.0, delay, gain) for o, delay, gain in echoes),
        )

    asyncio.run(all_at_once())
    late_ms = []
    for opened in suppressed:
        call = opened["call_id"]
        assert text_of(finals_of(product, call)) == LINE
        chunks = [(at, c) for at, c in times_of(product, "media.audio", call)
                  if isinstance(c, MediaChunk)
                  and (c.leg, c.kind) == ("customer", "chunk")]  # fmt: skip
        final_ms = next(at for at, t in times_of(product, "asr.transcripts", call)
                        if isinstance(t, Transcript) and t.kind == "final")  # fmt: skip
        last_ms, last = chunks[-1]
        late_ms.append(final_ms - last_ms - last.turn_silence_ms)
        turns = [t for t in events_of(product, "dialogue.turns", call) if isinstance(t, Turn)]
        answered = [t.input_kind for t in turns]
        assert "silence" not in answered[: answered.index("final")]
    # A busy machine makes some of them late, but not the product all three.
    assert min(late_ms) <= 300, f"{late_ms} ms"
    assert max(late_ms) <= 1_500, f"{late_ms} ms"

    for opened, delay, gain in echoes:
        call, line = opened["call_id"], f"{delay} ms, {gain} dB"
        said = [d for d in events_of(product, "dialogue.directives", call)
                if isinstance(d, Directive) and d.kind == "stop"]  # fmt: skip
        assert said == [], line
        turns = [t for t in events_of(product, "dialogue.turns", call) if isinstance(t, Turn)]
        kinds = {t.input_kind for t in turns}
        assert {"answered", "silence"} <= kinds <= {"answered", "silence", "final"}, line
        heard = [t for t in turns if t.input_kind == "final"]
        # Here the path jitters with the machine, and a scrap of the greeting (您好) may pass the
        # edge's rule; the unit tests are strict. It must move nothing.
        assert {t.intent for t in heard} <= {"", "unclear", "hello"}, (line, heard)
        assert not any(t.directive_ids or t.outcome for t in heard), (line, heard)
    for opened in (*suppressed, *(o for o, _, _ in echoes)):
        close_session(product, opened["call_id"])
