"""Who must not be called: one fold of `compliance.optouts` for the edge, dispatch and verify.

An opt-out holds everywhere, for one tenant, or for one campaign. It stands until an `opted_in` of
the same scope takes it back. A line may have several hashes (`schemas.phone.Numbers.hashes`); of
all records of a line in one scope the newest counts, whichever hash it names.
"""

from collections.abc import Callable, Iterable, Iterator

from schemas.events.customers import OptOut, OptOutScope

GLOBAL = "global"


def extent_of(event: OptOut) -> str:
    """Where a record holds: `global`, `tenant:<id>` or `campaign:<id>`. A campaign's opt-out that
    names no campaign holds for the tenant."""
    if event.scope == "campaign" and event.campaign_id:
        return f"campaign:{event.campaign_id}"
    return GLOBAL if event.scope == "global" else f"tenant:{event.tenant_id}"


def extents(tenant_id: str, campaign_id: str | None) -> tuple[str, ...]:
    """Every extent that a call of that campaign of that tenant lies in, widest first."""
    own = (f"campaign:{campaign_id}",) if campaign_id else ()
    return (GLOBAL, f"tenant:{tenant_id}", *own)


def entry_of(event: OptOut) -> str:
    """What a record is about, which is also its key on the topic: the hash, and the extent where it
    is not global."""
    return entry_in(event.phone_hash, extent_of(event))


def entry_in(phone_hash: str, extent: str) -> str:
    """The entry of a hash in an extent."""
    return phone_hash if extent == GLOBAL else f"{phone_hash}#{extent}"


def widest_scope(
    says: Callable[[str], bool | None], tenant_id: str, campaign_id: str | None
) -> OptOutScope | None:
    """The widest scope in which a line must not be called; None if it may be. `says` tells whether
    the line's newest record in an extent bars it."""
    scopes: tuple[OptOutScope, ...] = ("global", "tenant", "campaign")
    for scope, extent in zip(scopes, extents(tenant_id, campaign_id), strict=False):
        if says(extent):
            return scope
    return None


class DoNotCall:
    """The list after the records folded so far, which must come in the order of the topic."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[int, bool]] = {}
        self.next_n = 0
        """Number of the next record."""

    def evolve(self, event: OptOut) -> None:
        """Takes the next record."""
        self.put(entry_of(event), event.kind == "opted_out")

    def put(self, entry: str, barred: bool, n: int | None = None) -> int:
        """Sets an entry as `entry_of` names it; returns its number, which grows with each record.
        `n` restores a number that was returned earlier."""
        n = self.next_n if n is None else n
        self.next_n = max(self.next_n, n + 1)
        self._entries[entry] = (n, barred)
        return n

    def scope(
        self, hashes: Iterable[str], tenant_id: str, campaign_id: str | None
    ) -> OptOutScope | None:
        """The widest scope in which the line of these hashes must not be called; None if it may
        be."""
        hashes = tuple(hashes)
        return widest_scope(lambda extent: self.says(hashes, extent), tenant_id, campaign_id)

    def barred(self, hashes: Iterable[str], tenant_id: str, campaign_id: str | None) -> bool:
        """Whether that campaign of that tenant must not call the line of these hashes."""
        return self.scope(hashes, tenant_id, campaign_id) is not None

    def standing(self, hashes: Iterable[str]) -> list[str]:
        """The entries that bar the line of these hashes anywhere, oldest first: what an undo has
        to take back."""
        hashes = tuple(hashes)
        named = {e.partition("#")[2] or GLOBAL for e in self._entries if e.split("#")[0] in hashes}
        found = [
            entry_in(h, extent) for extent in named if self.says(hashes, extent) for h in hashes
        ]
        barred = [e for e in found if self._entries.get(e, (0, False))[1]]
        return sorted(barred, key=lambda entry: self._entries[entry][0])

    def __iter__(self) -> Iterator[tuple[int, str, bool]]:
        """(number, entry, barred) of every entry."""
        return ((n, entry, barred) for entry, (n, barred) in self._entries.items())

    def __len__(self) -> int:
        """How many entries bar somebody."""
        return sum(barred for _, barred in self._entries.values())

    def says(self, hashes: Iterable[str], extent: str) -> bool | None:
        """Whether the newest record of the line of these hashes in an extent bars it; None where
        there is no record."""
        found = [at for h in hashes if (at := self._entries.get(entry_in(h, extent))) is not None]
        return max(found)[1] if found else None
