"""No number is on two calls at once, by the broker's clock."""

from collections.abc import Iterator

from ingest.call.numbers import LONGEST_MS
from schemas.phone import Numbers
from verify.check import Check, Context, Result
from verify.checks.permits import dialled_by_us
from verify.record import LogRecord


class LinesInUse(Check):
    """Folds `dialing` of our edges, and the first `ended` of each call.

    A call holds its number from the one record to the other, by Kafka's time of both: an edge dials
    only when the end of the call before is on the log. A call without an end holds it for the
    longest time that a call may last.
    """

    name = "numbers"
    title = "no number on two calls at once"
    unit = "dials"
    topics = frozenset({"calls.events"})

    def __init__(self, numbers: Numbers | None) -> None:
        """Without `numbers`, which needs the site key, two spellings are two numbers."""
        super().__init__()
        self._numbers = numbers
        self._dials: dict[str, list[LogRecord]] = {}
        self._ends: dict[str, int] = {}

    def feed(self, record: LogRecord) -> None:
        event = record.event
        if not record.first:
            return
        if event["kind"] == "ended":
            self._ends.setdefault(event["call_id"], record.timestamp_ms)
        elif dialled_by_us(event) and event["phone"]:
            number = event["phone"]
            line = self._numbers.hash(number) if self._numbers is not None else number
            self._dials.setdefault(line, []).append(record)

    def finish(self, context: Context) -> Result:
        for dials in self._dials.values():
            self.result.looked_at += sum(dial.judged for dial in dials)
            for earlier, later in self._overlaps(dials):
                self.result.violate(
                    "two_calls",
                    "a number was dialled while another call to it was in progress",
                    earlier.where,
                    later.where,
                    call_id=later.event["call_id"],
                    task_id=later.event["task_id"],
                )
        return self.result

    def _overlaps(self, dials: list[LogRecord]) -> Iterator[tuple[LogRecord, LogRecord]]:
        """Judged dials, each with an earlier one whose call still held the number."""
        holder: LogRecord | None = None
        for dial in sorted(dials, key=lambda dial: dial.timestamp_ms):
            if holder is not None and dial.judged and self._is_held(holder, dial):
                yield holder, dial
            if holder is None or self._end_of(dial) > self._end_of(holder):
                holder = dial

    def _is_held(self, holder: LogRecord, dial: LogRecord) -> bool:
        another = holder.event["call_id"] != dial.event["call_id"]  # its own twice: `permits` tells
        return another and self._end_of(holder) > dial.timestamp_ms

    def _end_of(self, dial: LogRecord) -> int:
        return self._ends.get(dial.event["call_id"], dial.timestamp_ms + LONGEST_MS)
