"""The called person of the benchmark: answers, cuts in, stops, and times what comes back."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.lines import meter
from demo.sip.call import SipCall
from demo.sip.media import RATE_HZ, Int16
from demo.sip.scripts import Script

_LISTEN_S = 1.2
"""How long the robot is listened to before it is cut short."""

_ANSWER_S = 4.0
"""How long an answer is waited for."""


_QUIET_S = 0.7
"""A robot that is silent for this long has spoken its sentence."""

_OVER_S = 2.5
"""How far into the long sentence it is cut short."""

_SENTENCE_S = 15.0


@dataclass(slots=True)
class Heard:
    """Delays of one call in ms; None where the event did not come.

    `end_to_voice` has one for each time that the person spoke.
    """

    answer_to_voice: float | None = None
    onset_to_silence: float | None = None
    end_to_voice: list[float | None] = field(default_factory=list)


def cut_in(words: Int16, out: list[Heard], first_s: float = 6.0) -> Script:
    """Waits for the robot's voice, speaks over it, waits for the answer, and hangs up."""

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
            await _speak_over(call, words, heard)
        await asyncio.sleep(0.2)
        call.hang_up("Q.850;cause=16")

    return script


def converse(polite: Sequence[Int16], over: Int16, out: list[Heard]) -> Script:
    """Says each of `polite` when the robot has spoken, cuts its next sentence short, hangs up."""

    async def script(call: SipCall) -> None:
        heard = Heard()
        out.append(heard)
        call.ring()
        await asyncio.sleep(0.2)
        call.answer()
        assert call.answered_s is not None
        robot = await _voice_after(call, call.answered_s, 10.0)
        if robot is not None:
            heard.answer_to_voice = (robot - call.answered_s) * 1000
        for words in polite:
            if robot is None or not await _has_spoken(call, robot):
                break
            _, end = await _say(call, words)
            robot = await _voice_after(call, end, _ANSWER_S)
            heard.end_to_voice.append(None if robot is None else (robot - end) * 1000)
        else:
            if robot is not None:
                await asyncio.sleep(max(0.0, robot + _OVER_S - time.time()))
                await _speak_over(call, over, heard)
        await asyncio.sleep(0.2)
        call.hang_up("Q.850;cause=16")

    return script


async def _speak_over(call: SipCall, words: Int16, heard: Heard) -> None:
    """Speaks while the robot does; when it was silent, and when it answered."""
    onset, end = await _say(call, words)
    await _voice_after(call, max(end, onset + meter.GAP_S), _ANSWER_S)
    voiced = call.media.voiced(rms=meter.LOUD_RMS)
    silent = meter.silent_at(voiced, onset, end + _ANSWER_S)
    if silent is not None:
        heard.onset_to_silence = (silent - onset) * 1000
    back = meter.first_at(voiced, end)
    answered = silent is not None and silent < end and back is not None
    heard.end_to_voice.append((back - end) * 1000 if answered and back is not None else None)


async def _say(call: SipCall, words: Int16) -> tuple[float, float]:
    """Says words; when their voice began and ended."""
    begins_s, ends_s = meter.speech_bounds(words, RATE_HZ)
    playing = call.media.play(words)
    await playing.over.wait()
    assert playing.began_s is not None
    return playing.began_s + begins_s, playing.began_s + ends_s


async def _has_spoken(call: SipCall, since_s: float) -> bool:
    """Waits until the robot is silent; False when it talks on, or the call is over."""
    while time.time() < since_s + _SENTENCE_S and call.ending is None:
        voiced = call.media.voiced(since_s, meter.LOUD_RMS)
        if voiced and time.time() - voiced[-1] > _QUIET_S:
            return True
        await asyncio.sleep(0.05)
    return False


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


def telling(script: Script, over: asyncio.Event) -> Script:
    """The script, which tells when its call is over."""

    async def told(call: SipCall) -> None:
        try:
            await script(call)
        finally:
            over.set()

    return told


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
