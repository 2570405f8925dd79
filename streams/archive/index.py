"""`recordings` in ClickHouse: where each recording is, for SQL. Made from the files."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from clickhouse_driver import Client
from clickhouse_driver.errors import Error as DriverError

from ringlog.settings import Settings
from streams.archive.files import Recording

_COLUMNS = (
    "call_id", "leg", "ssrc", "path", "started_at", "leg_start_ms", "duration_ms", "rate_hz",
    "samples", "lost_ms", "sha256", "bytes", "archived_at",
)  # fmt: skip
_MAX_MS = 9_223_372_036_000  # ClickHouse's DateTime64 ends in 2299; so does no call


class IndexAway(Exception):
    """ClickHouse did not accept or return rows. Trying again may help."""


class RecordingIndex:
    """The table. Every method may raise IndexAway. Not for several threads at once."""

    def __init__(self, config: Settings) -> None:
        host, port = config.clickhouse_native
        self._client = Client(
            host, port, config.clickhouse_database, config.clickhouse_user,
            config.clickhouse_password.get_secret_value(), connect_timeout=5,
            send_receive_timeout=60, client_name="archive",
        )  # fmt: skip

    def close(self) -> None:
        """Disconnects."""
        self._client.disconnect()

    def put(self, recordings: Iterable[Recording]) -> None:
        """Writes rows; a repeat is the same rows."""
        if rows := [row for recording in recordings for row in _rows(recording)]:
            self._run(f"INSERT INTO recordings ({', '.join(_COLUMNS)}) VALUES", rows)

    def drop_before(self, day: str) -> None:
        """Deletes the rows of recordings of all days before one."""
        self._run("DELETE FROM recordings WHERE path < %(day)s", {"day": f"{day}/"})

    def paths(self) -> set[str]:
        """Every file that the table names."""
        return {str(path) for (path,) in self._run("SELECT DISTINCT path FROM recordings")}

    def drop(self, paths: Sequence[str]) -> None:
        """Deletes the rows of some files."""
        if paths:
            self._run("DELETE FROM recordings WHERE path IN %(paths)s", {"paths": tuple(paths)})

    def _run(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        try:
            rows: Any = self._client.execute(sql, parameters)
        except (DriverError, OSError, EOFError) as error:
            self._client.disconnect()
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise IndexAway(f"ClickHouse: {first[:300]}") from None
        return rows if isinstance(rows, list) else []


def _rows(recording: Recording) -> list[tuple[Any, ...]]:
    return [
        (
            recording.call_id, leg.leg, leg.ssrc, leg.path, _time(recording.started_at),
            leg.leg_start_ms, leg.duration_ms, leg.rate_hz, leg.samples, leg.lost_ms, leg.sha256,
            leg.bytes, _time(recording.archived_at),
        )
        for leg in recording.legs
    ]  # fmt: skip


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(min(max(0, ms), _MAX_MS) / 1000, UTC)
