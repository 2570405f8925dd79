"""Every customer's newest profile equals a fold of `profiles.inbox` from its beginning."""

from dataclasses import dataclass, field

from schemas.events import Profile, ProfileInbox
from schemas.phone import Numbers
from schemas.wire import Poison
from streams.profiles.fold import evolve, parse, profile_event
from streams.profiles.state import Customer
from verify.check import Check, Context, Result
from verify.record import LogRecord

_SAME = tuple(
    name
    for name in Profile.model_fields
    if name not in ("producer", "call_id", "task_id", "campaign_id", "pool", "robot_id", "epoch")
)
"""What must be equal. `phone_hash` only where the site key is here."""


@dataclass(slots=True)
class _Folded:
    """A customer, and the profiles that may be the newest: as of the cut, and those after it."""

    customer: Customer
    due: Profile | None = None
    later: dict[int, Profile] = field(default_factory=dict)
    where: str = ""


class Profiles(Check):
    """Folds with the service's own pure function, without its table."""

    name = "profiles"
    title = "profiles equal a fold of the log"
    unit = "customers"
    topics = frozenset({"profiles.inbox", "customers.profiles"})

    def __init__(self, numbers: Numbers | None) -> None:
        super().__init__()
        self._numbers = numbers or Numbers("CN", b"none")
        self._names = _SAME if numbers else tuple(n for n in _SAME if n != "phone_hash")
        self._folded: dict[str, _Folded] = {}
        self._newest: dict[str, LogRecord] = {}

    def feed(self, record: LogRecord) -> None:
        event = record.event
        if record.topic == "customers.profiles":
            self._published(record)
            return
        try:
            parsed = parse(ProfileInbox.model_construct(**event), self._numbers)
        except Poison:
            return  # the service sends it to dead_letters and goes on
        folded = self._folded.setdefault(parsed.customer_id, _Folded(Customer()))
        before, folded.customer = folded.customer, evolve(folded.customer, parsed)
        if folded.customer.version == before.version:
            self.result.repeats += not record.first
            return
        profile = profile_event(folded.customer, parsed)
        folded.where = record.where
        if record.judged:
            folded.due = profile
        else:
            folded.later[profile.version] = profile

    def _published(self, record: LogRecord) -> None:
        """The newest one counts; a repeated id changes nothing."""
        customer_id = record.event["customer_id"]
        if customer_id and record.first:
            self._newest[customer_id] = record

    def finish(self, context: Context) -> Result:
        result = self.result
        if not context.whole("profiles.inbox"):
            result.notes.append("not judged: the log no longer holds all of profiles.inbox")
            return result
        due = context.due("profiles")
        result.looked_at = len(self._folded)
        for customer_id, folded in self._folded.items():
            newest = self._newest.get(customer_id)
            if newest is None:
                if folded.due is None:
                    continue
                if due:
                    result.violate(
                        "no_profile", "a customer has no profile", folded.where,
                        customer_id=customer_id,
                    )  # fmt: skip
                else:
                    result.open += 1
                continue
            self._compare(customer_id, folded, newest, due)
        for customer_id in self._newest.keys() - self._folded.keys():
            newest = self._newest[customer_id]
            if newest.judged:
                result.violate(
                    "of_nobody", "a profile has no source record", newest.where,
                    customer_id=customer_id,
                )  # fmt: skip
        return result

    def _compare(self, customer_id: str, folded: _Folded, newest: LogRecord, due: bool) -> None:
        found = newest.event
        version = found["version"]
        expected = folded.later.get(version) or folded.due
        if expected is None:
            expected = next(iter(folded.later.values()))
        if version < expected.version and not due:
            self.result.open += 1
            return
        different = [n for n in self._names if found[n] != getattr(expected, n)]
        if found["opted_out"] and not found["opted_out_in"] and "opted_out_in" in different:
            different.remove("opted_out_in")  # published before there were scopes
        if not found["told_at"]:  # published before fields had a source and time
            different = [n for n in different if n not in ("told_at", "sources")]
        if different:
            self.result.violate(
                "differs",
                f"a profile of version {version} differs from the fold's version "
                f"{expected.version} in {', '.join(different)}",
                folded.where,
                newest.where,
                customer_id=customer_id,
            )
