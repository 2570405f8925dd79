"""The do-not-call list as the API shows it: its entries by id, the newest last. Pure."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from schemas import ids
from schemas.donotcall import entry_in, entry_of, widest_scope
from schemas.events import OptOut
from schemas.events.customers import OptOutScope


def optout_id(event: OptOut) -> str:
    """Id of the entry that a record is about. It is made from the keyed hash, so that it tells
    nobody the number."""
    return _id_of(entry_of(event))


def _id_of(entry: str) -> str:
    return ids.root_id("optout", entry)


class OptOuts:
    """Newest record of every entry, in the order of the log."""

    def __init__(self) -> None:
        self._newest: OrderedDict[str, tuple[int, OptOut]] = OrderedDict()
        self._records = 0

    def evolve(self, event: OptOut) -> str:
        """Takes the next record; returns the id of its entry. A repeated record changes nothing."""
        this = optout_id(event)
        known = self._newest.get(this)
        if known is None or known[1].event_id != event.event_id:
            self._records += 1
            self._newest[this] = self._records, event
            self._newest.move_to_end(this)
        return this

    def get(self, this: str) -> OptOut | None:
        """The newest record of an entry."""
        found = self._newest.get(this)
        return None if found is None else found[1]

    def newest_of(self, events: Iterable[OptOut]) -> OptOut | None:
        """The newest record of the entries that these would be about: the one that holds for a
        line with several hashes."""
        found = [self._newest.get(optout_id(event)) for event in events]
        return max((f for f in found if f is not None), key=lambda f: f[0], default=(0, None))[1]

    def standing(self, before: str | None = None) -> Iterator[OptOut]:
        """Opt-outs in force, the newest first, from behind entry `before`."""
        skipping = before is not None
        for this in reversed(self._newest):
            if skipping:
                skipping = this != before
                continue
            event = self._newest[this][1]
            if event.kind == "opted_out":
                yield event

    def scope(
        self, hashes: Iterable[str], tenant_id: str, campaign_id: str | None
    ) -> OptOutScope | None:
        """The widest scope in which the line of these hashes must not be called, as dialling goes
        by it (`schemas.donotcall.DoNotCall`); None if it may be. Any thread may ask."""
        hashes = tuple(hashes)

        def says(extent: str) -> bool | None:
            ids_of = (_id_of(entry_in(hashed, extent)) for hashed in hashes)
            found = [at for this in ids_of if (at := self._newest.get(this)) is not None]
            return max(found, key=lambda at: at[0])[1].kind == "opted_out" if found else None

        return widest_scope(says, tenant_id, campaign_id)
