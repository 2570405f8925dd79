"""Ids that callers choose: what they may be made of, so that each works in a path and in a key."""

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

REFUSED = "/?#%\\|"
"""Characters that would name something else in a URL's path, in a file's name or in a key."""


def checked_id(text: str) -> str:
    """The id itself, in any script; raises ValueError, which says what it may not hold."""
    if any(c in REFUSED or c.isspace() or unicodedata.category(c)[0] == "C" for c in text):
        raise ValueError("no spaces, control characters or any of / ? # % \\ |")
    if text in (".", ".."):
        raise ValueError("`.` and `..` name folders")
    return text


Id = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128, pattern=r"^[^\s|/?#%\\\x00-\x1f\x7f]+$"),
    AfterValidator(checked_id),
]
"""An id at a door. Its pattern is what JSON Schema can say of the rule."""
