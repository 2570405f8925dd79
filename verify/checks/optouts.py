"""No dial to a number on the do-not-call list, as the edge had read it when it dialled."""

from typing import NamedTuple

from schemas.donotcall import entry_of
from schemas.events import OptOut
from schemas.phone import Numbers
from verify.check import Check, Context, Result
from verify.checks.permits import dialled_by_us
from verify.record import LogRecord


class _Wish(NamedTuple):
    """A record of the list."""

    offset: int
    out: bool
    where: str


class OptOuts(Check):
    """Folds `compliance.optouts`, and `dialing` of our edges.

    The rule is that of `schemas.donotcall`: for everybody, for a tenant and for a campaign, the
    newest record of a line counts, whichever of its hashes it names.

    Compaction takes a record only when a later one of the same hash and scope replaces it. So
    compaction may hide an undo whose hash has a later record; such a dial is not blamed.
    """

    name = "optouts"
    title = "no dial to a number on the do-not-call list"
    unit = "dials"
    topics = frozenset({"calls.events", "compliance.optouts"})

    def __init__(self, numbers: Numbers | None) -> None:
        """Without `numbers`, which needs the site key, nobody can be looked up."""
        super().__init__()
        self._numbers = numbers
        self._wishes: dict[str, list[_Wish]] = {}  # by what `entry_of` says they are about
        self._offsets: set[int] = set()
        self._dials: list[LogRecord] = []

    def feed(self, record: LogRecord) -> None:
        event = record.event
        if record.topic == "compliance.optouts":
            entry = entry_of(OptOut.model_validate(event))
            self._offsets.add(record.offset)
            wish = _Wish(record.offset, event["kind"] == "opted_out", record.where)
            self._wishes.setdefault(entry, []).append(wish)
        elif dialled_by_us(event) and record.first:
            self._dials.append(record)

    def finish(self, context: Context) -> Result:
        result = self.result
        if self._numbers is None:
            result.notes.append("not judged: the site key is not here; set RINGLOG_SITE_KEY")
            return result
        for dial in self._dials:
            if dial.judged:
                result.looked_at += 1
                self._judge(dial, self._numbers)
        result.notes.append(f"{len(self._wishes)} numbers on the list")
        return result

    def _judge(self, dial: LogRecord, numbers: Numbers) -> None:
        event = dial.event
        ids = {"call_id": event["call_id"], "task_id": event["task_id"]}
        read_to = event["optout_offset"]
        if read_to is None:
            self.result.violate(
                "list_not_read", "a dial does not record that the list was read", dial.where, **ids
            )
            return
        hashes = numbers.hashes(event["phone"] or "")
        scopes = ["", f"#tenant:{event['tenant_id']}", f"#campaign:{event.get('campaign_id')}"]
        for scope in scopes:
            wish = self._newest([one + scope for one in hashes], read_to)
            if wish is not None and wish.out:
                self.result.violate(
                    "opted_out",
                    "a number was dialled that was on the do-not-call list as the edge had read it",
                    wish.where,
                    dial.where,
                    **ids,
                )
                return

    def _newest(self, entries: list[str], read_to: int) -> _Wish | None:
        """The record that counted when the list had been read so far; None if there is none, or if
        compaction may hide a later one."""
        records = sorted(wish for one in entries for wish in self._wishes.get(one, ()))
        before = [wish for wish in records if wish.offset < read_to]
        if not before:
            return None
        newest = before[-1]
        holes = any(at not in self._offsets for at in range(newest.offset + 1, read_to))
        return None if holes and len(before) < len(records) else newest
