"""The part of a call's media that the log does not hold: port, peer and clocks, one small file a
call.

Each file is written before the carrier is asked and when the far end's sound begins, so an edge
that restarts binds the same ports and goes on with its calls. The files are a process's own memory
of its sockets; nobody else reads them. A call without one is ended after a restart.
"""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, TypeAdapter

from ingest.sound.types import Format, Leg
from ringlog import log

logger = log.logger("ringlog.ingest.journal")


@dataclass(frozen=True, slots=True)
class HeardLeg:
    """A leg of the far end, and where its sequence began at which time of day, ms."""

    leg: Leg
    first_seq: int
    at_ms: int


@dataclass(slots=True)
class Entry:
    """One call's media. `opened_ms` is the time of day at call time 0."""

    call_id: str
    port: Annotated[int, Field(ge=0, le=65_535)]
    sound: Format
    opened_ms: int
    remote: tuple[str, int] | None = None
    legs: list[HeardLeg] = field(default_factory=list)
    wire: tuple[str, int] | None = None  # codec and payload type, when the packets are coded


_ENTRY: Final = TypeAdapter(Entry)


class Journal:
    """The folder of one edge's entries. Files are written in order by a thread of their own: a slow
    disk holds up no sound."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer = ThreadPoolExecutor(1, "journal")
        folder.mkdir(parents=True, exist_ok=True)

    def _path(self, call_id: str) -> Path:
        # Call ids of external systems are any text; a hash is a safe file name.
        return self._folder / (hashlib.sha256(call_id.encode()).hexdigest()[:32] + ".json")

    def write(self, entry: Entry) -> "asyncio.Future[None]":
        """Replaces a call's entry atomically. Await the result to know that it is on the disk; it
        raises OSError."""
        path, data = self._path(entry.call_id), _ENTRY.dump_json(entry)

        def replace() -> None:
            part = path.with_suffix(".part")
            part.write_bytes(data)
            os.replace(part, path)

        return self._soon(replace)

    def remove(self, call_id: str) -> "asyncio.Future[None]":
        """The call is over."""
        path = self._path(call_id)
        return self._soon(lambda: path.unlink(missing_ok=True))

    def _soon(self, work: Callable[[], None]) -> "asyncio.Future[None]":
        done = asyncio.get_running_loop().run_in_executor(self._writer, work)
        done.add_done_callback(_tell)
        return done

    def entries(self) -> Iterator[Entry]:
        """All entries. Removes a file that is not a valid entry; its call is ended then."""
        for path in sorted(self._folder.glob("*.json")):
            try:
                yield _ENTRY.validate_json(path.read_bytes())
            except (OSError, ValueError) as error:
                logger.warning("not a journal entry", file=path.name,
                               error=type(error).__name__)  # fmt: skip
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)


def _tell(done: "asyncio.Future[None]") -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        logger.error("could not write the journal", error=f"{type(error).__name__}: {error}")
