"""Makes the index of recordings again from the files. The archiver may run meanwhile."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from ringlog.settings import Settings
from sql.migrate import NativeDatabase, migrate
from streams.archive.files import Archive, Recording
from streams.archive.index import RecordingIndex

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Reindexed:
    """Files that have a row now, rows that had no file, and files that are described but gone."""

    files: int
    dropped: int
    missing: tuple[str, ...]


def reindex(config: Settings, progress: Callable[[str], None] = lambda line: None) -> Reindexed:
    """Gives every file of the archive its row, and no other; raises IndexAway, MigrationError or
    OSError. It can simply be run again."""
    host, port = config.clickhouse_native
    password = config.clickhouse_password.get_secret_value()
    migrate(
        NativeDatabase(host, port, config.clickhouse_database, config.clickhouse_user, password)
    )
    archive = Archive(config.recordings_dir)
    present: set[str] = set()
    missing: list[str] = []
    with closing(RecordingIndex(config)) as index:
        indexed = index.paths()  # before the files: what is archived meanwhile is not among these
        batch: list[Recording] = []
        for recording in archive.recordings():
            gone = archive.missing(recording)
            missing += gone
            legs = tuple(leg for leg in recording.legs if leg.path not in gone)
            present |= {leg.path for leg in legs}
            batch.append(recording.model_copy(update={"legs": legs}))
            if len(batch) == _AT_ONCE:
                index.put(batch)
                batch = []
                progress(f"{len(present)} files")
        index.put(batch)
        stale = sorted(indexed - present)
        for n in range(0, len(stale), _AT_ONCE):
            index.drop(stale[n : n + _AT_ONCE])
    return Reindexed(len(present), len(stale), tuple(missing))
