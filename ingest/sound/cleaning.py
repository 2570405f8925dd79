"""What is done to a far end's sound before it is logged: chosen per trunk, else by the site.

`noise` suppresses noise, `echo` cancels our own voice that comes back; a gateway that does either
itself needs neither here. `auto` cancels an echo once one was measured on the call: a line without
one stays as it came.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple


class Cleaning(NamedTuple):
    """What is done; neither is `off`. `measured`: echo is cancelled only while there is one."""

    noise: bool
    echo: bool
    measured: bool = False

    @property
    def any(self) -> bool:
        """True unless everything stays as it came."""
        return self.noise or self.echo

    @property
    def mark(self) -> str:
        """What a chunk's `processing` says of it: noise, aec, noise+aec, or nothing."""
        return "+".join(
            name for name, done in (("noise", self.noise), ("aec", self.echo)) if done
        )  # fmt: skip


OFF: Final = Cleaning(noise=False, echo=False)

CHOICES: Final[dict[str, Cleaning]] = {
    "off": OFF,
    "auto": Cleaning(noise=False, echo=True, measured=True),
    "noise": Cleaning(noise=True, echo=False),
    "echo": Cleaning(noise=False, echo=True),
    "noise+echo": Cleaning(noise=True, echo=True),
}
"""Values of `RINGLOG_CLEAN` and of a trunk's `clean`."""


def cleaning_of(text: str) -> Cleaning:
    """The choice that a setting names; raises ValueError naming the known ones."""
    try:
        return CHOICES[text]
    except KeyError:
        raise ValueError(f"unknown cleaning {text!r}; known: {', '.join(CHOICES)}") from None


class Cleanings:
    """The site's choice and those of its trunks."""

    def __init__(self, site: str, trunks: Mapping[str, str] | None = None) -> None:
        """`trunks`: trunk name -> its choice, empty for the site's. Raises ValueError."""
        self.site = cleaning_of(site)
        self._trunks = {name: cleaning_of(text) for name, text in (trunks or {}).items() if text}

    def processing_for(self, trunk: str) -> Cleaning:
        """What is done to the sound of a trunk's calls."""
        return self._trunks.get(trunk, self.site)
