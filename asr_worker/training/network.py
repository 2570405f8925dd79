"""The network: a small streaming CTC model. Needs torch, which the worker does not have.

Two strided convolutions (10 ms to 40 ms), gated depthwise-convolution blocks, one look-ahead
block, one GRU, and the output layer. All convolutions look only at the past; the last block delays
its residual path by kernel - 1 frames, so that what it says about a frame rests on 320 ms of later
sound too. Mandarin homophones need the next syllable.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from asr_worker.training.layout import FRAMES_EXTRA, MEL_USED

Tensor = Any


class Block(nn.Module):  # type: ignore[misc] # torch is not installed where types are checked
    """Gate, depthwise convolution over the past, and a residual path."""

    def __init__(self, dim: int, kernel: int, *, ahead: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.up = nn.Linear(dim, 2 * dim)
        self.depth = nn.Conv1d(dim, dim, kernel, groups=dim)
        self.down = nn.Linear(dim, dim)
        self.kernel, self.ahead = kernel, ahead
        if ahead:  # begins as a plain delay
            nn.init.zeros_(self.down.weight)
            nn.init.zeros_(self.down.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, frames, dim] -> the same shape."""
        past = self.kernel - 1
        y = functional.glu(self.up(self.norm(x)), -1)
        y = functional.pad(y.transpose(1, 2), (past, 0))  # zeros, as the exported state begins
        y = self.down(functional.relu(self.depth(y).transpose(1, 2)))
        if self.ahead:
            x = functional.pad(x, (0, 0, past, 0))[:, : x.shape[1]]
        return y + x


class TinyCtc(nn.Module):  # type: ignore[misc] # as above
    """The whole network. `config` rebuilds it."""

    def __init__(
        self,
        vocabulary: int,
        dim: int = 192,
        front: int = 128,
        blocks: int = 6,
        kernel: int = 9,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.config = {
            "vocabulary": vocabulary, "dim": dim, "front": front, "blocks": blocks,
            "kernel": kernel, "dropout": dropout,
        }  # fmt: skip
        self.register_buffer("mean", torch.zeros(MEL_USED))
        self.register_buffer("istd", torch.ones(MEL_USED))
        self.conv1 = nn.Conv1d(MEL_USED, front, 5, 2)
        self.conv2 = nn.Conv1d(front, dim, 3, 2)
        self.blocks = nn.ModuleList(
            Block(dim, kernel, ahead=i == blocks) for i in range(blocks + 1)
        )
        self.norm = nn.LayerNorm(dim)
        self.gru = nn.GRU(dim, dim, batch_first=True)
        self.out = nn.Linear(dim, vocabulary)
        self.dropout = dropout

    def forward(self, features: Tensor) -> Tensor:
        """Log-mel [batch, 4 n + 5, >= 60] -> log-probabilities [batch, n, vocabulary]."""
        x = torch.clamp((features[..., :MEL_USED] - self.mean) * self.istd, -3.0, 3.0)
        x = functional.relu(self.conv1(x.transpose(1, 2)))
        x = functional.relu(self.conv2(x)).transpose(1, 2)
        x = functional.dropout(x, self.dropout, self.training)
        for block in self.blocks:
            x = block(x)
        x = x + self.gru(self.norm(x))[0]
        x = functional.dropout(x, self.dropout, self.training)
        return functional.log_softmax(self.out(x), -1)


def output_frames(feature_frames: int) -> int:
    """Output frames of the network for a number of feature frames."""
    return (feature_frames - FRAMES_EXTRA) // 4
