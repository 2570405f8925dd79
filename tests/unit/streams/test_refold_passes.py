"""A rebuild reads a long log beside the work, and pauses it for little only (review 10)."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

from streams.faust_host import LITTLE, FaustHost


async def test_review_10_passes_are_repeated_until_little_is_left() -> None:
    """Each pass over a log takes so long that a tenth of its records come meanwhile."""
    end, paused, passes = 1_000_000, False, list[tuple[int, int, bool]]()

    async def worked(_: str) -> dict[int, int]:
        return {0: end}

    @asynccontextmanager
    async def pausing(_: str) -> AsyncIterator[dict[int, int]]:
        nonlocal paused
        paused = True
        yield {0: end}

    def read(ends: Mapping[int, int], begins: Mapping[int, int] | None) -> None:
        nonlocal end
        begin = (begins or {}).get(0, 0)
        passes.append((begin, ends[0], paused))
        if not paused:
            end += (ends[0] - begin) // 10

    async def put_right(partitions: set[int]) -> dict[str, int]:
        assert partitions == {0}
        return {"differed": 0}

    host = cast(Any, SimpleNamespace(generation=1, worked=worked, paused=pausing))
    assert await FaustHost.refold(host, "dispatch.inbox", read, put_right) == {"differed": 0}
    assert [begin for begin, _, _ in passes] == [0, *(until for _, until, _ in passes[:-1])]
    assert passes[-1][1] == end
    assert [beside for _, _, beside in passes] == [False] * (len(passes) - 1) + [True]
    assert passes[-1][1] - passes[-1][0] <= LITTLE
