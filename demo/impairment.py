"""A bad line: packets lost, sent twice, delayed past one another. Repeatable by its seed."""

import asyncio
import random
from collections.abc import Callable


class Impairment:
    """Shares are 0 to 1; every packet is delayed by up to `reorder_ms` at random."""

    def __init__(
        self, loss: float = 0.0, duplicates: float = 0.0, reorder_ms: float = 0.0, *, seed: int = 1
    ) -> None:
        for name, share in (("loss", loss), ("duplicates", duplicates)):
            if not 0 <= share < 1:
                raise ValueError(f"{name} is a share from 0 to 1, not {share}")
        self._loss, self._duplicates, self._reorder_ms = loss, duplicates, reorder_ms
        self._random = random.Random(seed)

    def send(self, data: bytes, out: Callable[[bytes], None]) -> None:
        """Sends a packet the bad way; needs a running event loop when packets are delayed."""
        if self._random.random() < self._loss:
            return
        copies = 2 if self._random.random() < self._duplicates else 1
        for _ in range(copies):
            if self._reorder_ms > 0:
                delay_s = self._random.uniform(0, self._reorder_ms) / 1000
                asyncio.get_running_loop().call_later(delay_s, out, data)
            else:
                out(data)
