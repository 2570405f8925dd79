"""Draining: an edge takes no new calls, and those that run end in their time or at a deadline.

The state is a file of the edge, so a restart or its spare drains on. It is over when somebody says
so, never by itself: a machine that is to be mended must not fill up again.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ringlog import log

logger = log.logger("ringlog.ingest.draining")

LONGEST_S: Final = 86_400


class DrainRequest(BaseModel):
    """`POST /drain`."""

    model_config = ConfigDict(extra="forbid")

    within_s: float | None = Field(
        None, ge=0, le=LONGEST_S, description="When running calls are ended; none: never"
    )


class _State(BaseModel):
    deadline_ms: int | None = None


class Drain:
    """The state of one edge; `changed` is called when it begins or ends."""

    def __init__(self, path: Path, changed: Callable[[], None]) -> None:
        self._path = path
        self._changed = changed
        self._state = self._read()

    @property
    def active(self) -> bool:
        """Whether the edge drains."""
        return self._state is not None

    def begin(self, within_s: float | None, now_ms: int) -> None:
        """Drains from now on; a later wish replaces an earlier one. Raises OSError."""
        deadline_ms = None if within_s is None else now_ms + round(within_s * 1000)
        state = _State(deadline_ms=deadline_ms)
        part = self._path.with_suffix(".part")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(state.model_dump_json())
        os.replace(part, self._path)
        self._state = state
        logger.info("draining", within_s=within_s)
        self._changed()

    def end(self) -> None:
        """Takes calls again. Raises OSError."""
        self._path.unlink(missing_ok=True)
        if self._state is not None:
            self._state = None
            logger.info("takes calls again")
            self._changed()

    def is_over(self, now_ms: int) -> bool:
        """Whether the calls that still run have to end now."""
        state = self._state
        return state is not None and state.deadline_ms is not None and now_ms >= state.deadline_ms

    def look_again(self) -> None:
        """Reads the file: a spare that begins to serve goes on as its predecessor."""
        self._state = self._read()

    def _read(self) -> _State | None:
        try:
            return _State.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError):
            logger.warning("the drain state cannot be read: the edge drains")
            return _State()  # somebody wanted it
