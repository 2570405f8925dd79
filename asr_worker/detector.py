"""Silero's voice detector in its 8 kHz mode: all legs in one batch, state outside.

The ONNX file comes from the `silero-vad` wheel (MIT licence), whose package is never imported: it
would import torch.
"""

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr_worker.rules import CONTEXT, FRAME

STATE_WIDTH = 128
Float32 = NDArray[np.float32]


class DetectorMissing(RuntimeError):
    """The `silero-vad` wheel is not installed, or has no model where one is expected."""


def model_path() -> Path:
    """Path of silero_vad.onnx; raises DetectorMissing."""
    spec = importlib.util.find_spec("silero_vad")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "data" / "silero_vad.onnx"
        if path.is_file():
            return path
    raise DetectorMissing("silero_vad.onnx not found; install silero-vad with --no-deps")


class Silero:
    """The session. Its results do not depend on what else is in a batch."""

    def __init__(self, path: Path | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # batches vary, the arena would keep the largest
        self._session: Any = onnxruntime.InferenceSession(
            str(path or model_path()), options, providers=["CPUExecutionProvider"]
        )
        self._rate = np.array(8000, np.int64)

    def run(self, frames: Float32, state: Float32) -> tuple[Float32, Float32]:
        """Speech probability [n] and the new state [2, n, 128] of n legs.

        `frames` is [n, 288]: 32 samples of context and the frame, in [-1, 1].
        """
        if frames.shape[1] != CONTEXT + FRAME:
            raise ValueError(f"frames are {frames.shape[1]} samples wide, not {CONTEXT + FRAME}")
        feed = {"input": frames, "state": state, "sr": self._rate}
        probability, new_state = self._session.run(None, feed)
        return probability[:, 0], new_state


@lru_cache(maxsize=1)
def shared() -> Silero:
    """One session for the process."""
    return Silero()
