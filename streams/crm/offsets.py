"""Debezium's place in the database's log, kept whole.

Its store of offsets writes the file in place: who is killed meanwhile leaves half a file. Debezium
takes that for no place at all and reads the tables anew, so what a row was meanwhile is lost. So a
copy is made after each batch, and taken where the file is not whole.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

IsWhole = Callable[[Path], bool]
"""Whether a file that is there can be read to its end."""


class Offsets:
    """The file and its copy beside it."""

    def __init__(self, file: Path, is_whole: IsWhole) -> None:
        self._file = file
        self._copy = file.with_name(f"{file.name}.copy")
        self._is_whole = is_whole

    def mend(self) -> bool:
        """Before the engine starts; whether the copy had to be taken. Raises OSError.

        The copy is at most one batch behind, and that batch was not confirmed to the database.
        """
        if not (self._file.exists() and self._copy.exists()) or self._is_whole(self._file):
            return False
        shutil.copyfile(self._copy, self._file)
        return True

    def keep(self) -> None:
        """After a batch, when the file is at rest; raises OSError."""
        if not self._file.exists() or not self._is_whole(self._file):
            return
        partial = self._copy.with_name(f"{self._copy.name}.part")
        with partial.open("wb") as out:
            out.write(self._file.read_bytes())
            out.flush()
            os.fsync(out.fileno())
        partial.replace(self._copy)
