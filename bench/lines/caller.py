"""The called person of the benchmark: answers, cuts in, stops, and times what comes back."""

import asyncio
from dataclasses import dataclass

from bench.lines import meter
from demo.sip.call import SipCall
from demo.sip.media import RATE_HZ, Int16
from demo.sip.scripts import Script

_LISTEN_S = 1.2
"""How long the robot is listened to before it is cut short."""

_ANSWER_S = 4.0
"""How long an answer is waited for."""


@dataclass(slots=True)
class Heard:
    """Delays of one call in ms; None where the event did not come."""

    answer_to_voice: float | None = None
    onset_to_silence: float | None = None
    end_to_voice: float | None = None


def cut_in(words: Int16, out: list[Heard], first_s: float = 6.0) -> Script:
    """Waits for the robot's voice, speaks over it, waits for the answer, and hangs up."""
    begins_s, ends_s = meter.speech_bounds(words, RATE_HZ)

    async def script(call: SipCall) -> None:
        heard = Heard()
        out.append(heard)
        call.ring()
        await asyncio.sleep(0.2)
        call.answer()
        assert call.answered_s is not None
        first = await _voice_after(call, call.answered_s, first_s)
        if first is not None:
            heard.answer_to_voice = (first - call.answered_s) * 1000
            await asyncio.sleep(_LISTEN_S)
            playing = call.media.play(words)
            await playing.over.wait()
            assert playing.began_s is not None
            onset, end = playing.began_s + begins_s, playing.began_s + ends_s
            answered = await _voice_after(call, max(end, onset + meter.GAP_S), _ANSWER_S)
            voiced = call.media.voiced(rms=meter.LOUD_RMS)
            silent = meter.silent_at(voiced, onset, end + _ANSWER_S)
            if silent is not None:
                heard.onset_to_silence = (silent - onset) * 1000
            if silent is not None and silent < end and answered is not None:
                back = meter.first_at(voiced, end)
                heard.end_to_voice = None if back is None else (back - end) * 1000
        await asyncio.sleep(0.2)
        call.hang_up("Q.850;cause=16")

    return script


def echo_delay(beep: Int16, out: list[float]) -> Script:
    """Plays a beep into an echo; its delay there and back, ms, goes to `out`."""
    begins_s, _ = meter.speech_bounds(beep, RATE_HZ)

    async def script(call: SipCall) -> None:
        call.ring()
        await asyncio.sleep(0.2)
        call.answer()
        await asyncio.sleep(0.6)
        playing = call.media.play(beep)
        await playing.over.wait()
        assert playing.began_s is not None
        sent = playing.began_s + begins_s
        back = await _voice_after(call, sent, _ANSWER_S)
        if back is not None:
            out.append((back - sent) * 1000)
        call.hang_up("Q.850;cause=16")

    return script


async def _voice_after(call: SipCall, after_s: float, wait_s: float) -> float | None:
    """When voice is first heard after a time; None when none comes while it is waited for."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    while loop.time() < deadline and call.ending is None:
        found = meter.first_at(call.media.voiced(after_s, meter.LOUD_RMS), after_s)
        if found is not None:
            return found
        await asyncio.sleep(0.05)
    return None
