"""A customer's orders, payments and promises to pay, and what became of the promises. Pure.

Times are ms since 1970 UTC, amounts are whole numbers of the currency's smallest unit.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Literal
from zoneinfo import ZoneInfo

from ringlog.crm.money import MOST
from schemas.events import CustomerChange, Turn
from schemas.events.customers import VOID

KEPT = 8
"""Orders, payments and promises that a profile keeps of each, the newest. ClickHouse has all."""

JUST_MS = 24 * 3_600_000
"""For how long a payment is news."""

CURRENCY = "CNY"
"""Of amounts that customers name; robots understand yuan."""

_ROBOTS_ZONE = "Asia/Shanghai"
"""In which robots read days where the profile names no zone (`streams.robots.slots`)."""

_LONGEST = 64

State = Literal["open", "kept", "broken", "replaced"]


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """An order or a payment. One that is void is kept, so that an older record does not bring it
    back."""

    record_id: str
    source: str
    told_at: int
    made_at: int
    amount_minor: int | None = None
    currency: str | None = None
    due_at: int | None = None
    status: str | None = None

    @property
    def counts(self) -> bool:
        """Whether it stands."""
        return self.status != VOID


@dataclass(frozen=True, slots=True)
class Pledge:
    """A promise to pay by the end of a day (ISO 8601); without an amount, any payment keeps it."""

    call_id: str
    said_at: int
    day: str
    amount_minor: int | None = None
    credited_minor: int = 0
    """Of payments that count for it, and that the profile no longer holds."""

    def due_at(self, zone: str) -> int:
        """The end of the day in an IANA zone; where that is none, in the one that robots go by."""
        midnight = datetime.combine(date.fromisoformat(self.day), time(), _zone(zone))
        return round((midnight + timedelta(days=1)).timestamp() * 1000) - 1


def entry_of(change: CustomerChange) -> LedgerEntry | None:
    """The order or payment that a change tells of; None where it names none."""
    if not change.record_id:
        return None
    amount = change.amount_minor
    return LedgerEntry(
        record_id=change.record_id[:_LONGEST],
        source=change.source[:_LONGEST],
        told_at=change.occurred_at,
        made_at=change.occurred_at if change.made_at is None else change.made_at,
        amount_minor=amount if amount is not None and abs(amount) < MOST else None,
        currency=(change.currency or "").upper()[:3] or None,
        due_at=change.due_at,
        status=(change.status or "")[:_LONGEST] or None,
    )


def entered(entries: tuple[LedgerEntry, ...], entry: LedgerEntry) -> tuple[LedgerEntry, ...]:
    """With an entry, if no newer record told of it: the newest ones, the oldest first."""
    key = (entry.source, entry.record_id)
    known = next((e for e in entries if (e.source, e.record_id) == key), None)
    if known is not None and known.told_at > entry.told_at:
        return entries
    others = (e for e in entries if e is not known)
    return newest((*others, entry))


def newest(entries: Iterable[LedgerEntry]) -> tuple[LedgerEntry, ...]:
    """As many as a profile keeps, the oldest first."""
    return tuple(sorted(entries, key=lambda e: (e.made_at, e.source, e.record_id))[-KEPT:])


def pledge_of(turn: Turn) -> Pledge | None:
    """The promise in a turn; None where it holds none. Robots write the slot `promise_to_pay` only
    for certain words of that meaning."""
    day = turn.slots.get("promise_to_pay", "").split(" ")[0]
    if turn.meaning != "promise_to_pay" or not turn.call_id:
        return None
    try:
        if not 1970 < date.fromisoformat(day).year < 2200:
            return None
    except ValueError:
        return None
    yuan = turn.slots.get("amount", "")
    known = yuan.isascii() and yuan.isdigit() and len(yuan) < 10
    return Pledge(turn.call_id, turn.occurred_at, day, int(yuan) * 100 if known else None)


def pledged(pledges: tuple[Pledge, ...], pledge: Pledge) -> tuple[Pledge, ...]:
    """With a promise: the newest ones, the last of a call counts."""
    known = next((p for p in pledges if p.call_id == pledge.call_id), None)
    if known is not None and known.said_at > pledge.said_at:
        return pledges
    return latest((*(p for p in pledges if p is not known), pledge))


def latest(pledges: Iterable[Pledge]) -> tuple[Pledge, ...]:
    """As many as a profile keeps, the oldest first."""
    return tuple(sorted(pledges, key=lambda p: (p.said_at, p.call_id))[-KEPT:])


def judged(
    pledges: tuple[Pledge, ...], payments: tuple[LedgerEntry, ...], zone: str, now_ms: int
) -> tuple[tuple[Pledge, State], ...]:
    """What became of each promise. Payments made after it was said, by its day's end and before the
    next promise, keep it once they reach its amount; a new promise replaces one that is open."""
    return tuple(
        (pledge, _state(pledge, following, payments, zone, now_ms))
        for pledge, following in zip(pledges, _following(pledges), strict=True)
    )


def credited(
    pledges: tuple[Pledge, ...], gone: Iterable[LedgerEntry], zone: str
) -> tuple[Pledge, ...]:
    """The promises, where a profile no longer holds some payments that count for them."""
    gone = tuple(gone)
    return tuple(
        replace(p, credited_minor=p.credited_minor + _paid_minor(p, following, gone, zone))
        for p, following in zip(pledges, _following(pledges), strict=True)
    )


def gone_of(
    before: Iterable[LedgerEntry], after: tuple[LedgerEntry, ...]
) -> tuple[LedgerEntry, ...]:
    """The entries that found no place among the newest, as they were told last."""
    newest_told = {(e.source, e.record_id): e for e in sorted(before, key=lambda e: e.told_at)}
    for entry in after:
        newest_told.pop((entry.source, entry.record_id), None)
    return tuple(newest_told.values())


def _following(pledges: tuple[Pledge, ...]) -> tuple[int | None, ...]:
    """For each promise, when the next one was said."""
    return (*(p.said_at for p in pledges), None)[1:]


def _paid_minor(
    pledge: Pledge, following: int | None, payments: Iterable[LedgerEntry], zone: str
) -> int:
    """What payments count for a promise; where it has no amount, more than 0 keeps it."""
    due_at = pledge.due_at(zone)
    until = due_at if following is None else min(due_at, following)
    paid = [p for p in payments if p.counts and pledge.said_at <= p.made_at <= until]
    if pledge.amount_minor is None:
        return sum(max(0, p.amount_minor or 0) for p in paid)
    return sum(p.amount_minor or 0 for p in paid if p.currency in (CURRENCY, None))


def _state(
    pledge: Pledge, following: int | None, payments: tuple[LedgerEntry, ...], zone: str, now_ms: int
) -> State:
    paid_minor = pledge.credited_minor + _paid_minor(pledge, following, payments, zone)
    wanted_minor = 1 if pledge.amount_minor is None else pledge.amount_minor
    if paid_minor >= wanted_minor:
        return "kept"
    due_at = pledge.due_at(zone)
    if following is not None and following <= due_at:
        return "replaced"
    return "broken" if now_ms > due_at else "open"


def just_paid(payments: tuple[LedgerEntry, ...], now_ms: int) -> bool:
    """Whether a payment that stands was made lately."""
    return any(
        p.counts and (p.amount_minor or 0) > 0 and now_ms - JUST_MS < p.made_at for p in payments
    )


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name or _ROBOTS_ZONE)
    except (ValueError, OSError, KeyError):
        return ZoneInfo(_ROBOTS_ZONE)
