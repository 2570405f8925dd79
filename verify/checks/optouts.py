"""No dial to a number whose owner must not be called, by what the edge had read when it dialled."""

from schemas.ids import phone_hash
from verify.check import Check, Context, Result
from verify.checks.permits import dialled_by_us
from verify.record import LogRecord


class OptOuts(Check):
    """Folds `compliance.optouts`, and `dialing` of our edges.

    Compaction takes only records that a later one of their number replaces; so it may hide an
    opt-out that was taken back, never make one up.
    """

    name = "optouts"
    title = "no dial to a number on the do-not-call list"
    unit = "dials"
    topics = frozenset({"calls.events", "compliance.optouts"})

    def __init__(self, site_key: bytes | None) -> None:
        """Without a site key the numbers cannot be looked up."""
        super().__init__()
        self._key = site_key
        self._wishes: dict[str, list[tuple[int, bool, str]]] = {}
        self._dials: list[LogRecord] = []

    def feed(self, record: LogRecord) -> None:
        event = record.event
        if record.topic == "compliance.optouts":
            wish = (record.offset, event["kind"] == "opted_out", record.where)
            self._wishes.setdefault(event["phone_hash"], []).append(wish)
        elif dialled_by_us(event) and record.first:
            self._dials.append(record)

    def finish(self, context: Context) -> Result:
        result = self.result
        if self._key is None:
            result.notes.append("not judged: the site key is not here; set RINGLOG_SITE_KEY")
            return result
        for dial in self._dials:
            if dial.judged:
                result.looked_at += 1
                self._judge(dial, self._key)
        result.notes.append(f"{len(self._wishes)} numbers on the list")
        return result

    def _judge(self, dial: LogRecord, key: bytes) -> None:
        event = dial.event
        ids = {"call_id": event["call_id"], "task_id": event["task_id"]}
        read_to = event["optout_offset"]
        if read_to is None:
            self.result.violate(
                "list_not_read", "a dial does not tell that the list was read", dial.where, **ids
            )
            return
        before = [
            wish
            for wish in self._wishes.get(phone_hash(event["phone"] or "", key), ())
            if wish[0] < read_to
        ]
        if before and before[-1][1]:
            self.result.violate(
                "opted_out",
                "a number was dialled that was on the do-not-call list as the edge had read it",
                before[-1][2],
                dial.where,
                **ids,
            )
