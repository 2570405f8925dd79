"""What a customer types on the keypad, where a node asks for digits. Pure.

Keys that no node asks for are kept a while as typed ahead: who knows the menu need not wait for the
next question.
"""

from typing import Final, NamedTuple

from streams.robots.playbook import DigitKeys

TYPED: Final = "typed"
"""The slot of a turn that holds the keys so far; empty once they were used."""

LONGEST: Final = 20
"""Keys that are kept; a node asks for no more."""

AHEAD_MS: Final = 10_000
"""Keys older than this were not meant for the node that is entered now."""


class Typed(NamedTuple):
    """A complete entry, and the keys after it."""

    digits: str
    rest: str


def complete(typed: str, keys: DigitKeys) -> Typed | None:
    """The entry that the keys begin with; None while more may come."""
    if keys.until is not None:
        typed = typed.lstrip(keys.until)  # what ended the entry before, or ends none
        end = typed.find(keys.until)
        if 0 <= end <= keys.max:
            return Typed(typed[:end], typed[end + 1 :])
    if len(typed) < keys.max:
        return None
    return Typed(typed[: keys.max], typed[keys.max :])


def kept(typed: str) -> str:
    """As many keys as are remembered, the newest."""
    return typed[-LONGEST:]
