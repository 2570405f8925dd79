"""A foreign telephone system: brings calls by RTP or the media WebSocket, and reads Kafka."""

import asyncio
import json
import socket
import time
import urllib.request
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
from websockets.asyncio.client import connect

from demo.impairment import Impairment
from demo.speech import Int16, Voice, line_noise, utterance
from demo.wire import packet
from ringlog.audio import g711
from ringlog.kafka import sync
from ringlog.kafka.codec import codec_of
from ringlog.settings import Settings
from schemas.envelope import Event
from schemas.events import Transcript
from schemas.partition import partition_of

FRAME = 160
VOICE = Voice("cmn-latn-pinyin+f2", 190, 50, 25)


def spoken(lines: list[str], pause_s: float = 2.0, voice: Voice = VOICE) -> Int16:
    """Lines with pauses between, over line noise, whole frames."""
    parts: list[Int16] = []
    for line in lines:
        parts += [np.zeros(int(8_000 * pause_s), np.int16), utterance(line, voice)]
    parts.append(np.zeros(8_000 * 2, np.int16))
    clean = np.concatenate(parts)
    clean = np.pad(clean, (0, -len(clean) % FRAME)).astype(np.int32)
    noisy = clean + line_noise(len(clean) / 8_000 + 1, voice, 1)[: len(clean)]
    return np.clip(noisy, -32_768, 32_767).astype(np.int16)


def open_session(config: Settings, **fields: str) -> dict[str, Any]:
    """`POST /api/media/sessions`."""
    body = {"call_id": str(uuid.uuid4()), "customer_id": "k", "campaign_id": "foreign",
            "codec": "pcmu", "playbook": "promotion", "asr_profile": "demo"} | fields  # fmt: skip
    request = urllib.request.Request(
        config.api_url + "/api/media/sessions", json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 201
        opened: dict[str, Any] = json.load(answer)
    return opened


def close_session(config: Settings, call_id: str) -> None:
    """`DELETE /api/media/sessions/{call_id}`."""
    request = urllib.request.Request(
        f"{config.api_url}/api/media/sessions/{call_id}", method="DELETE"
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 204


async def send_rtp(
    opened: dict[str, Any],
    samples: Int16,
    impairment: Impairment | None = None,
    dropped: Callable[[int], bool] = lambda frame: False,
) -> int:
    """Sends 20 ms frames on time; returns how many frames of the robot came back."""
    received = 0

    class Socket(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            nonlocal received
            received += 1

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        Socket, local_addr=("127.0.0.1", 0), family=socket.AF_INET
    )
    line = impairment or Impairment()
    target = (opened["rtp_host"], opened["rtp_port"])
    began = time.monotonic()
    for n in range(len(samples) // FRAME):
        payload = g711.encode_pcmu(samples[n * FRAME : (n + 1) * FRAME])
        # Both counters wrap within the call.
        data = packet("pcmu", 65_500 + n, 2**32 - 8_000 + n * FRAME, 4_242, payload, n == 0)
        if not dropped(n):
            line.send(data, lambda d: transport.sendto(d, target))
        await asyncio.sleep(max(0.0, began + (n + 1) * 0.02 - time.monotonic()))
    await asyncio.sleep(0.3)
    transport.close()
    return received


async def send_ws(opened: dict[str, Any], samples: Int16) -> int:
    """The same over the media WebSocket."""
    received = 0
    async with connect(opened["ws_url"]) as ws:

        async def listen() -> None:
            nonlocal received
            async for message in ws:
                received += isinstance(message, bytes)

        listening = asyncio.create_task(listen())
        began = time.monotonic()
        for n in range(len(samples) // FRAME):
            await ws.send(g711.encode_pcmu(samples[n * FRAME : (n + 1) * FRAME]))
            await asyncio.sleep(max(0.0, began + (n + 1) * 0.02 - time.monotonic()))
        listening.cancel()
    return received


def events_of(config: Settings, topic: str, call_id: str) -> list[Event]:
    """First record of each id of a call."""
    codec = codec_of(config)
    found: dict[str, Event] = {}
    for record in sync.read(config, topic, partitions=[partition_of(call_id, 8)]):
        if record.key == call_id.encode():
            event = codec.decode(topic, record.value)
            found.setdefault(event.event_id, event)
    return list(found.values())


def finals_of(
    config: Settings,
    call_id: str,
    enough: Callable[[list[Transcript]], bool] = bool,
    timeout_s: float = 20,
) -> list[Transcript]:
    """The call's finals in order, once they are enough or time is up."""
    deadline = time.monotonic() + timeout_s
    while True:
        finals = [
            e
            for e in events_of(config, "asr.transcripts", call_id)
            if isinstance(e, Transcript) and e.kind == "final"
        ]
        finals.sort(key=lambda f: f.start_ms)
        if enough(finals) or time.monotonic() > deadline:
            return finals
        time.sleep(0.2)


def text_of(finals: list[Transcript]) -> str:
    """All that was understood."""
    return "".join(f.text for f in finals)
