"""Names on the switch: channels and bridges of a call, and what may be dialled.

A channel of ours is `{app}~{call id}~{try}-{role}{n}`, so that a restarted edge knows its calls
from a list of channels. Pure.
"""

import re
from typing import Final, Literal, NamedTuple

Role = Literal["line", "media", "agent"]
"""The customer's leg, our sound, the leg of a transfer."""

_OURS: Final = re.compile(r"([0-9]{1,4})-(line|media|agent|bridge)([0-9]{1,6})", re.ASCII)
_TARGET: Final = re.compile(r"[A-Za-z0-9+*#_.-]{1,64}", re.ASCII)
_APP_CHARACTERS: Final = re.compile(r"[^A-Za-z0-9_.-]")

MAX_NAME: Final = 149
"""Longest channel id that Asterisk takes (AST_MAX_PUBLIC_UNIQUEID), octets."""


class OurName(NamedTuple):
    """A channel or bridge of ours."""

    call_id: str
    try_no: int
    role: str
    n: int


def app_of(edge_id: str) -> str:
    """The Stasis application of one edge. Asterisk tells each application to one controller."""
    return "ringlog-" + _APP_CHARACTERS.sub("-", edge_id)


def name_of(app: str, call_id: str, try_no: int, role: str, n: int = 1) -> str:
    """The name of a call's channel or bridge; raises ValueError where Asterisk takes none such."""
    name = f"{app}~{call_id}~{try_no}-{role}{n}"
    if not name.isascii() or len(name) > MAX_NAME:
        raise ValueError("the call's id is too long or not ASCII: Asterisk cannot name its channel")
    return name


def read_name(name: str) -> tuple[str, OurName] | None:
    """The application that named a channel or bridge, and whose it is; None for one that no edge
    has named."""
    app, _, rest = name.partition("~")
    call_id, _, tail = rest.rpartition("~")
    # A Local channel has two ends, `;1` and `;2`.
    found = _OURS.fullmatch(tail.partition(";")[0])
    if not call_id or found is None:
        return None
    return app, OurName(call_id, int(found[1]), found[2], int(found[3]))


def ours(app: str, name: str) -> OurName | None:
    """Whose channel a name is; None when it is not of this application."""
    found = read_name(name)
    return found[1] if found is not None and found[0] == app else None


def endpoint_of(template: str, number: str) -> str:
    """What Asterisk dials for a number: {number} as it is, {digits} without its +.

    Raises ValueError for a number or target that could be more than one: `&` dials two, `/` and `@`
    choose another trunk.
    """
    if not _TARGET.fullmatch(number):
        raise ValueError("a number or extension has letters, digits and + * # _ . - only")
    try:
        return template.format(number=number, digits=number.removeprefix("+"), target=number)
    except (KeyError, IndexError):
        raise ValueError("an endpoint fills in {number}, {digits} and {target} only") from None
