"""From the edge's clear to the far end's silence, through a real Asterisk, by kind of media."""

import asyncio
import random
import time
from typing import Final

import numpy as np

from bench.lines import meter
from bench.lines.own_lines import OwnCall, OwnLines
from demo.asterisk.instance import Asterisk
from demo.sip import scripts
from demo.sip.call import SipCall
from demo.sip.carrier import SipCarrier
from demo.sip.media import RATE_HZ
from ingest.asterisk.media import MediaKind
from ingest.sound.playout import Prompt, Say
from ingest.sound.types import PCMU
from ringlog.audio import g711

KINDS: Final[tuple[MediaKind, ...]] = ("rtp", "audiosocket", "websocket", "websocket-in")
TOGETHER: Final = 5
_SOUNDS_S = (0.6, 1.2)
"""How long the tone sounds before a clear: another moment of the 20 ms grid each time."""

_QUIET_S = 0.8
_PROMPT_S = 4.0


async def flushes(
    asterisk: Asterisk, carrier: SipCarrier, media: MediaKind, media_port: int, wanted: int
) -> list[float | None]:
    """Delays of so many clears, ms; None where the voice had not stopped half a second later."""
    together = min(TOGETHER, wanted)
    out: list[float | None] = []
    async with OwnLines(asterisk, carrier.name, media, media_port) as lines:
        for number in range(together):
            carrier.when(_number(media, number), scripts.answer(rings_s=0.05))
        calls = await asyncio.gather(
            *(lines.place(f"flush-{media}-{n}", _number(media, n)) for n in range(together))
        )
        far = {call.number: call for call in carrier.live}
        each = -(-wanted // together)
        works = [_clear(call, far[_number(media, n)], each) for n, call in enumerate(calls)]
        for delays in await asyncio.gather(*works):
            out += delays
    return out[:wanted]


def _number(media: MediaKind, n: int) -> str:
    return f"1390000{KINDS.index(media)}{n:03d}"


async def _clear(call: OwnCall, far: SipCall, times: int) -> list[float | None]:
    """Plays a tone and clears it, so many times."""
    t = np.arange(int(_PROMPT_S * RATE_HZ)) / RATE_HZ
    data = g711.encode("pcmu", np.asarray(8_000 * np.sin(2 * np.pi * 440 * t), np.int16))
    size = PCMU.frame_bytes
    frames = tuple(data[at : at + size] for at in range(0, len(data), size))
    prompt = Prompt(frames, (60.0,) * len(frames))
    cleared: list[float] = []
    for n in range(times):
        call.session.play(Say(f"d{n}", "tone", prompt))
        await asyncio.sleep(random.uniform(*_SOUNDS_S))
        cleared.append(time.time())
        call.session.flush()
        await asyncio.sleep(_QUIET_S)
    voiced = far.media.voiced(rms=meter.LOUD_RMS)
    return [_delay_ms(voiced, at_s) for at_s in cleared]


def _delay_ms(voiced: list[float], cleared_s: float) -> float | None:
    silent = meter.silent_at(voiced, cleared_s, cleared_s + _QUIET_S + meter.PACKET_S)
    return None if silent is None else (silent - cleared_s) * 1000
