"""Who calls us back: the last calls to each number, and from which number of ours. Pure.

A customer who rings a campaign's number is the customer whom that campaign called, not a caller
nobody knows. Of several campaigns that show one number it is the one that called them last.
"""

from collections import OrderedDict
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace
from typing import Final

from schemas.events import CallEvent

KEPT: Final = 200_000
"""Numbers that are remembered; those that were called longest ago are forgotten first."""

OF_NUMBER: Final = 4
"""Calls to one number that are remembered."""

_AT_ONCE: Final = 8
"""Numbers that one record looks at, at most, to forget the oldest."""

_TRIES_OF: Final = 10_000
"""Calls whose tries may still tell what number they showed."""


@dataclass(slots=True)
class LastCall:
    """A call that we made. `shown` is the number that the customer saw, E.164; None: the trunk's
    own, which is not known. `at_ms` is when it began, since 1970 UTC."""

    at_ms: int
    shown: str | None
    tenant_id: str
    customer_id: str
    campaign_id: str | None
    pool: str | None
    playbook: str | None
    asr_profile: str | None
    variant: str | None


class RingBacks:
    """A fold of calls' first records and tries, in any order of calls."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._calls: dict[str, list[LastCall]] = {}
        self._oldest: list[tuple[int, str]] = []
        """A heap with one entry for each number: when its newest call was, or one before that."""
        self._of_call: OrderedDict[str, LastCall] = OrderedDict()

    def evolve(self, event: CallEvent, phone_hash: str | None) -> None:
        """Takes a record; `phone_hash` is that of its number. A repeated one changes nothing."""
        call_id = event.call_id or ""
        if event.kind == "tried":
            call = self._of_call.get(call_id)
            if call is not None:
                call.shown = event.caller_id
        elif (event.kind, event.direction) == ("dialing", "outbound") and (
            phone_hash and event.customer_id and call_id not in self._of_call
        ):
            self._take(call_id, event, phone_hash, event.customer_id)

    def _take(self, call_id: str, event: CallEvent, phone_hash: str, customer_id: str) -> None:
        call = LastCall(
            event.occurred_at, event.caller_id, event.tenant_id, customer_id, event.campaign_id,
            event.pool, event.playbook, event.asr_profile, event.variant,
        )  # fmt: skip
        calls = self._calls.get(phone_hash)
        if calls is None:
            calls = self._calls[phone_hash] = []
            heappush(self._oldest, (call.at_ms, phone_hash))
        if any(known.at_ms == call.at_ms for known in calls):
            return  # read before: one number is never on two calls
        calls.append(call)
        calls.sort(key=lambda one: one.at_ms)
        del calls[:-OF_NUMBER]
        self._of_call[call_id] = call
        if len(self._of_call) > _TRIES_OF:
            self._of_call.popitem(last=False)
        self._forget()

    def _forget(self) -> None:
        """Looks at a few numbers at a time, so that no record costs much: frames of running calls
        wait for it."""
        for _ in range(_AT_ONCE):
            if len(self._calls) <= self._kept:
                return
            at_ms, oldest = self._oldest[0]
            newest_ms = self._calls[oldest][-1].at_ms
            if newest_ms > at_ms:
                heapreplace(self._oldest, (newest_ms, oldest))
            else:
                heappop(self._oldest)
                del self._calls[oldest]

    def of(self, phone_hash: str, called: str, campaign_id: str | None) -> LastCall | None:
        """The call that somebody answers who rings `called`, E.164: the last to them that showed
        that number. Where none is known to have shown it, the last whose number is not known, of
        the campaign that the number is for, if it is for one."""
        calls = self._calls.get(phone_hash, ())
        seen = [call for call in calls if call.shown == called]
        unknown = [
            call for call in calls
            if call.shown is None and campaign_id in (None, call.campaign_id)
        ]  # fmt: skip
        return next(reversed(seen or unknown), None)
