"""Where an INSERT's data waits: anonymous memory files within one common budget."""

from __future__ import annotations

import os

from sql.server.errors import MEMORY_LIMIT_EXCEEDED, NOT_ENOUGH_SPACE, ServerError


class SpoolBudget:
    """How many bytes all spools together may hold."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.used_bytes = 0

    def reserve(self, size: int) -> None:
        """Count ``size`` bytes, or raise ServerError (MEMORY_LIMIT_EXCEEDED)."""
        if self.used_bytes + size > self.total_bytes:
            raise ServerError(
                MEMORY_LIMIT_EXCEEDED,
                f"Memory limit for inserts exceeded: {self.total_bytes} bytes over all "
                "connections. (MEMORY_LIMIT_EXCEEDED)",
            )
        self.used_bytes += size

    def release(self, size: int) -> None:
        """Give ``size`` bytes back."""
        self.used_bytes -= size


class Spool:
    """A memory file that the engine reads through /proc. Close it, always."""

    def __init__(self, budget: SpoolBudget, limit_bytes: int) -> None:
        self._budget = budget
        self._limit_bytes = limit_bytes
        self._descriptor = os.memfd_create("insert", os.MFD_CLOEXEC)
        self.size = 0

    @property
    def path(self) -> str:
        """A path under which this process can open the file."""
        return f"/proc/self/fd/{self._descriptor}"

    def write(self, data: bytes | memoryview) -> None:
        """Append. Raises ServerError: MEMORY_LIMIT_EXCEEDED over the limits, NOT_ENOUGH_SPACE where
        the system refuses."""
        if self.size + len(data) > self._limit_bytes:
            raise ServerError(
                MEMORY_LIMIT_EXCEEDED,
                f"INSERT of more than {self._limit_bytes} bytes: send it in smaller pieces. "
                "(MEMORY_LIMIT_EXCEEDED)",
            )
        self._budget.reserve(len(data))
        self.size += len(data)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise ServerError(
                NOT_ENOUGH_SPACE, f"No room for an INSERT: {error.strerror}. (NOT_ENOUGH_SPACE)"
            ) from None

    def read(self) -> bytes:
        """What the file holds now, whoever wrote it."""
        return os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0)

    def clear(self) -> None:
        """Forget the contents and use the file again."""
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self._budget.release(self.size)
        self.size = 0

    def close(self) -> None:
        """Free the memory."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self._budget.release(self.size)
            self.size = 0
