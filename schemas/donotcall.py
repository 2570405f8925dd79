"""Who must not be called: one fold of `compliance.optouts` for the edge, dispatch and verify.

An opt-out holds everywhere, for one tenant, or for one campaign. It stands until an `opted_in` of
the same scope takes it back. A line may have several hashes (`schemas.phone.Numbers.hashes`); of
all records of a line in one scope the newest counts, whichever hash it names.
"""

from collections.abc import Iterable, Iterator

from schemas.events.customers import OptOut, OptOutScope


def entry_of(event: OptOut) -> str:
    """What a record is about, which is also its key on the topic: the hash, and the scope where it
    is not global. A campaign's opt-out that names no campaign holds for the tenant."""
    if event.scope == "campaign" and event.campaign_id:
        return f"{event.phone_hash}#campaign:{event.campaign_id}"
    if event.scope != "global":
        return f"{event.phone_hash}#tenant:{event.tenant_id}"
    return event.phone_hash


class DoNotCall:
    """The list after the records folded so far, which must come in the order of the topic."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[int, bool]] = {}
        self._next = 0

    def evolve(self, event: OptOut) -> None:
        """Takes the next record."""
        self.put(entry_of(event), event.kind == "opted_out")

    def put(self, entry: str, barred: bool, n: int | None = None) -> int:
        """Sets an entry as `entry_of` names it; returns its number, which grows with each record.
        `n` restores a number that was returned earlier."""
        n = self._next if n is None else n
        self._next = max(self._next, n + 1)
        self._entries[entry] = (n, barred)
        return n

    def scope(
        self, hashes: Iterable[str], tenant_id: str, campaign_id: str | None
    ) -> OptOutScope | None:
        """The widest scope in which the line of these hashes must not be called; None if it may
        be."""
        hashes = tuple(hashes)
        if self._newest(hashes, ""):
            return "global"
        if self._newest(hashes, f"#tenant:{tenant_id}"):
            return "tenant"
        if campaign_id and self._newest(hashes, f"#campaign:{campaign_id}"):
            return "campaign"
        return None

    def barred(self, hashes: Iterable[str], tenant_id: str, campaign_id: str | None) -> bool:
        """Whether that campaign of that tenant must not call the line of these hashes."""
        return self.scope(hashes, tenant_id, campaign_id) is not None

    def standing(self, hashes: Iterable[str]) -> list[str]:
        """The entries that bar the line of these hashes anywhere, oldest first: what an undo has
        to take back."""
        hashes = tuple(hashes)
        suffixes = {
            entry.partition("#")[1] + entry.partition("#")[2]
            for entry in self._entries
            if entry.partition("#")[0] in hashes
        }
        found = [h + s for s in suffixes if self._newest(hashes, s) for h in hashes]
        barred = [e for e in found if self._entries.get(e, (0, False))[1]]
        return sorted(barred, key=lambda entry: self._entries[entry][0])

    def __iter__(self) -> Iterator[tuple[int, str, bool]]:
        """(number, entry, barred) of every entry."""
        return ((n, entry, barred) for entry, (n, barred) in self._entries.items())

    def __len__(self) -> int:
        """How many entries bar somebody."""
        return sum(barred for _, barred in self._entries.values())

    def _newest(self, hashes: Iterable[str], suffix: str) -> bool:
        found = [at for h in hashes if (at := self._entries.get(h + suffix)) is not None]
        return max(found)[1] if found else False
