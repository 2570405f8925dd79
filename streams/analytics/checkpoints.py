"""Checkpoints and savepoints on disk: which one to start from, and which to delete.

Layout (Flink's own): `<folder>/<fingerprint>/<job id>/chk-<n>/_metadata`, and `savepoint-<name>`
after a clean stop.
"""

import shutil
from pathlib import Path

from streams.analytics.options import STATE_TTL_H

MAX_AGE_S = (STATE_TTL_H - 2) * 3_600
"""An older checkpoint is not restored: counts of windows that are still open would have expired.
The job then counts from the beginning of the log, which gives the same windows."""


def newest(folder: Path, now_s: float) -> Path | None:
    """The newest complete one below `folder` that is young enough, or None."""
    metas = (m for kind in ("chk", "savepoint") for m in folder.glob(f"*/{kind}-*/_metadata"))
    found = [
        (meta.stat().st_mtime, meta.parent)
        for meta in metas
        if now_s - meta.stat().st_mtime <= MAX_AGE_S
    ]
    return max(found)[1] if found else None


def prune(folder: Path, keep: Path | None) -> None:
    """Removes the folders of all jobs but the one whose checkpoint is `keep`.

    Call while no job runs: every start makes a job of its own, with a folder of its own.
    """
    for job in folder.glob("*"):
        if keep is None or job not in keep.parents:
            shutil.rmtree(job, ignore_errors=True)
