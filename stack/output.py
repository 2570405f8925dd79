"""What services print: stored as JSON lines, shown with the service's name in front."""

import json
import logging
import logging.handlers
import re
import sys
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ringlog.log import mask_phones

_FILE_BYTES = 32 << 20
_FILES_KEPT = 3
_TAIL_LINES = 15
_LONGEST_LINE_BYTES = 1 << 20
_TIME = re.compile(r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,]?\d*Z?\s+")
_LEVEL = re.compile(r"^\W{0,2}(TRACE|DEBUG|INFO|WARN(?:ING)?|ERROR|FATAL|SEVERE)\b\W?\s*")
_LEVEL_NAMES = {"warn": "warning", "fatal": "critical", "severe": "error", "trace": "debug"}
_COMMON = frozenset({"timestamp", "level", "service", "event", "logger"})


def as_record(service: str, line: str, now: datetime) -> dict[str, Any]:
    """A log record: ours are JSON objects already, any other line is wrapped and masked.

    Its level is found where a line begins with one, after a time of its own perhaps.
    """
    common: dict[str, Any] = {
        "timestamp": now.isoformat(timespec="milliseconds"),
        "level": "info",
        "service": service,
        "event": "",
    }
    if line.startswith("{"):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict):
            return {**common, **record}
    line = _TIME.sub("", line)
    if found := _LEVEL.match(line):
        level = found[1].lower()
        common["level"] = _LEVEL_NAMES.get(level, level)
        line = line[found.end() :]
    return {**common, "event": mask_phones(line)}


def for_console(record: dict[str, Any]) -> str:
    """`service    | level event key=value ...`; the level of information is not written."""
    level = str(record.get("level", "info")).lower()
    head = f"{record.get('service', ''):<10} | "
    mark = "" if level in ("info", "debug") else f"{level.upper()} "
    rest = "".join(f" {k}={v}" for k, v in record.items() if k not in _COMMON)
    return f"{head}{mark}{record.get('event', '')}{rest}"


class ServiceOutput:
    """Log file of one service, the console, and its last lines for an error message."""

    def __init__(self, service: str, folder: Path, console: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.service = service
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._console = console
        self._partial = b""
        self._file = logging.handlers.RotatingFileHandler(
            folder / f"{service}.jsonl",
            maxBytes=_FILE_BYTES,
            backupCount=_FILES_KEPT,
            encoding="utf-8",
            errors="replace",
        )

    def feed(self, data: bytes) -> None:
        """Bytes as they come from a pipe; an endless line is cut at 1 MiB."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        if len(self._partial) > _LONGEST_LINE_BYTES:
            lines.append(self._partial)
            self._partial = b""
        for line in lines:
            self._line(line)

    def end(self) -> None:
        """The pipe is closed: text without a final newline is a line, too."""
        if self._partial:
            self._line(self._partial)
            self._partial = b""

    def say(self, event: str, level: str = "info", **fields: object) -> None:
        """A record of the supervisor's own."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.write(
            {"timestamp": now, "level": level, "service": self.service, "event": event, **fields}
        )

    def write(self, record: dict[str, Any]) -> None:
        """Store and show one record."""
        text = json.dumps(record, ensure_ascii=False, default=str)
        self._file.emit(logging.makeLogRecord({"msg": text, "args": None}))
        shown = for_console(record)
        self.tail.append(shown)
        if self._console:
            try:
                print(shown, flush=True)
            except OSError:  # the terminal is gone; the files go on
                self._console = False

    def close(self) -> None:
        """End the pipe and the file."""
        self.end()
        self._file.close()

    def _line(self, raw: bytes) -> None:
        line = raw.decode(errors="replace").rstrip("\r")
        if line.strip():
            self.write(as_record(self.service, line, datetime.now(UTC)))


def tail_of(path: Path, lines: int = _TAIL_LINES) -> str:
    """Last lines of a small text file; empty when it cannot be read."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError as error:
        print(f"cannot read {path}: {error}", file=sys.stderr)
        return ""
