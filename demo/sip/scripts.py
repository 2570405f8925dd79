"""What far ends do with a call. A script runs until the call ends, and may end earlier."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demo.sip.call import SipCall

Script = Callable[[SipCall], Coroutine[Any, Any, None]]
Int16 = NDArray[np.int16]


def answer(
    rings_s: float = 0.2, say: Int16 | None = None, after_s: float = 0.3, keys: str = ""
) -> Script:
    """Rings, answers, then after `after_s` says something and presses keys; stays on the line."""

    async def script(call: SipCall) -> None:
        call.ring()
        await asyncio.sleep(rings_s)
        call.answer()
        await asyncio.sleep(after_s)
        if say is not None:
            await call.media.play(say).over.wait()
        if keys:
            await call.media.press(keys)

    return script


def echo(rings_s: float = 0.05) -> Script:
    """Answers and sends every packet back."""

    async def script(call: SipCall) -> None:
        call.media.echoing = True
        call.ring()
        await asyncio.sleep(rings_s)
        call.answer()

    return script


def mute(rings_s: float = 0.2) -> Script:
    """Answers and never sends a packet of sound."""

    async def script(call: SipCall) -> None:
        call.media.muted = True
        call.ring()
        await asyncio.sleep(rings_s)
        call.answer()

    return script


def refuse(status: int, rings_s: float | None = None, reason: str | None = None) -> Script:
    """A final response such as 486 or 503, after ringing when `rings_s` is given.

    `reason` is the Reason header, such as `Q.850;cause=27`.
    """

    async def script(call: SipCall) -> None:
        if rings_s is not None:
            call.ring()
            await asyncio.sleep(rings_s)
        call.refuse(status, [("reason", reason)] if reason else [])

    return script


def ring_for_ever() -> Script:
    """Rings until the other side gives up."""

    async def script(call: SipCall) -> None:
        call.ring()

    return script


def silence() -> Script:
    """Not a word after 100 Trying."""

    async def script(call: SipCall) -> None:
        await call.ended.wait()

    return script


def announce(sound: Int16, then: int | None = None, hold_s: float = 0.0) -> Script:
    """Early media: 183, the sound, `hold_s` of silence, then an answer or a status such as 480."""

    async def script(call: SipCall) -> None:
        call.early_media()
        await call.media.play(sound).over.wait()
        await asyncio.sleep(hold_s)
        if then is None:
            call.answer()
        else:
            call.refuse(then)

    return script


def answer_then_hang_up(after_s: float, reason: str | None = "Q.850;cause=16") -> Script:
    """Answers, and hangs up `after_s` later, with or without a Reason."""

    async def script(call: SipCall) -> None:
        call.ring()
        await asyncio.sleep(0.1)
        call.answer()
        await asyncio.sleep(after_s)
        call.hang_up(reason)

    return script
