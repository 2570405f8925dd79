"""No dial to a number whose owner must not be called, by what the edge had read when it dialled."""

from typing import NamedTuple

from schemas.phone import Numbers
from verify.check import Check, Context, Result
from verify.checks.permits import dialled_by_us
from verify.record import LogRecord


class _Line(NamedTuple):
    """A hash, and who must not call it: an empty tenant or campaign stands for all."""

    phone_hash: str
    tenant_id: str
    campaign_id: str


class _Wish(NamedTuple):
    """A record of the list."""

    offset: int
    out: bool
    where: str


class OptOuts(Check):
    """Folds `compliance.optouts`, and `dialing` of our edges.

    A line is on the list while any of its hashes is, of the E.164 form or of an older spelling, for
    everybody, for the call's tenant or for its campaign.

    Compaction takes only records that a later one of their number replaces; so it may hide an
    opt-out that was taken back, never make one up.
    """

    name = "optouts"
    title = "no dial to a number on the do-not-call list"
    unit = "dials"
    topics = frozenset({"calls.events", "compliance.optouts"})

    def __init__(self, numbers: Numbers | None) -> None:
        """Without `numbers`, which needs the site key, nobody can be looked up."""
        super().__init__()
        self._numbers = numbers
        self._wishes: dict[_Line, list[_Wish]] = {}
        self._dials: list[LogRecord] = []

    def feed(self, record: LogRecord) -> None:
        event = record.event
        if record.topic == "compliance.optouts":
            scope = event.get("scope") or "global"
            line = _Line(
                event["phone_hash"],
                "" if scope == "global" else event["tenant_id"],
                event.get("campaign_id") or "" if scope == "campaign" else "",
            )
            wish = _Wish(record.offset, event["kind"] == "opted_out", record.where)
            self._wishes.setdefault(line, []).append(wish)
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
                "list_not_read", "a dial does not tell that the list was read", dial.where, **ids
            )
            return
        tenant, campaign = event["tenant_id"], event.get("campaign_id") or ""
        for hashed in numbers.hashes(event["phone"] or ""):
            for scope in dict.fromkeys((("", ""), (tenant, ""), (tenant, campaign))):
                wishes = self._wishes.get(_Line(hashed, *scope), ())
                before = [wish for wish in wishes if wish.offset < read_to]
                if before and before[-1].out:
                    self.result.violate(
                        "opted_out",
                        "a number was dialled that was on the do-not-call list as the edge had "
                        "read it",
                        before[-1].where,
                        dial.where,
                        **ids,
                    )
                    return
