"""Which trunks a switch can reach, by its own tries (SIP OPTIONS). Pure."""

from collections.abc import Mapping


class Reach:
    """One switch's trunks. Every trunk counts as reachable until the switch says otherwise."""

    def __init__(self, trunks: Mapping[str, tuple[str, ...]]) -> None:
        """`trunks`: our trunks, by what the switch calls their way out."""
        self._trunks = trunks
        self._away: set[str] = set()

    @property
    def names(self) -> list[str]:
        """The ways out to ask for, as the switch calls them."""
        return list(self._trunks)

    def news(self, name: str, reachable: bool) -> tuple[str, ...]:
        """The trunks of which this is news; none for a name that is not ours."""
        if reachable != (name in self._away):
            return ()
        if name not in self._trunks:
            return ()
        self._away ^= {name}
        return self._trunks[name]
