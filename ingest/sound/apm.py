"""The WebRTC audio processing module, as the `livekit` package ships it: 10 ms at a time.

Only its local part is used; nothing connects to a server. A module costs about 0.4 MB and belongs
to one leg. The package is imported by `load`, or when the first module is made: 0.2 s and 14 MB
that an edge which cleans nothing does not pay. Its calls release the GIL.
"""

import contextlib
from typing import Final

import numpy as np

from ringlog.audio.g711 import Int16

STEP_MS: Final = 10
"""What the module takes at once, ms."""


def load() -> None:
    """Imports the package; that it is missing is told when a module is made."""
    with contextlib.suppress(ImportError, OSError):
        from livekit import rtc  # noqa: F401 # for its side effect: later imports find it


class ApmFailed(RuntimeError):
    """The module cannot be made, or refused a block."""


class Apm:
    """One leg's module. Echo is taken out before noise; the output is late by 17 ms with echo
    cancellation and by 9 ms without, at 8 kHz."""

    def __init__(self, *, noise: bool, echo: bool, rate_hz: int, reference_hz: int) -> None:
        """`rate_hz` of the far end's sound and `reference_hz` of ours, multiples of 100.

        Raises ApmFailed.
        """
        try:
            from livekit import rtc

            self._apm = rtc.AudioProcessingModule(
                noise_suppression=noise, echo_cancellation=echo, high_pass_filter=noise
            )
            steps = [hz * STEP_MS // 1000 for hz in (rate_hz, reference_hz)]
            self._near, self._far = (
                rtc.AudioFrame(bytearray(2 * step), hz, 1, step)
                for hz, step in zip((rate_hz, reference_hz), steps, strict=True)
            )
        except (ImportError, OSError, RuntimeError, AssertionError) as error:
            raise ApmFailed(f"no audio processing: {type(error).__name__}: {error}") from error
        # Both frames are written in place.
        self._near_samples: Int16 = np.frombuffer(self._near.data, np.int16)
        self._far_samples: Int16 = np.frombuffer(self._far.data, np.int16)

    def set_delay(self, delay_ms: int) -> None:
        """How long after ours its echo comes, ms; a hint. Raises ApmFailed."""
        try:
            self._apm.set_stream_delay_ms(delay_ms)
        except RuntimeError as error:
            raise ApmFailed(str(error)) from error

    def play(self, reference: Int16) -> None:
        """Takes 10 ms of what we sent, before the far end's 10 ms. Raises ApmFailed."""
        self._far_samples[:] = reference
        try:
            self._apm.process_reverse_stream(self._far)
        except RuntimeError as error:
            raise ApmFailed(str(error)) from error

    def clean(self, samples: Int16) -> Int16:
        """10 ms of the far end's sound, cleaned. Raises ApmFailed."""
        self._near_samples[:] = samples
        try:
            self._apm.process_stream(self._near)
        except RuntimeError as error:
            raise ApmFailed(str(error)) from error
        return self._near_samples.copy()
