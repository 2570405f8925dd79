"""The stack under a clock that can be set: libfaketime in front of every process of it.

Only the wall clock is moved; monotonic time goes on, as when an administrator or NTP steps it.
"""

import os
from importlib.util import find_spec
from pathlib import Path

_STEP_S = 3_600


def variables(home: Path) -> dict[str, str]:
    """Environment for the stack's processes."""
    spec = find_spec("libfaketime")
    assert spec is not None and spec.origin is not None, "make install"
    library = Path(spec.origin).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
    put(home, 0)
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(_file(home)),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_CACHE_DURATION": "1",
    }


def put(home: Path, hours: int) -> None:
    """From now on, within a second, all clocks are so many hours wrong."""
    part = _file(home).with_suffix(".part")
    part.write_text(f"{hours * _STEP_S:+d}")
    os.replace(part, _file(home))


def _file(home: Path) -> Path:
    return home / "wrong-clock"
