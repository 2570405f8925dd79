"""Ids that callers choose, limited to characters that work in a path and in a key."""

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

REFUSED = "/?#%\\|"
"""Characters with a special meaning in a URL's path, a file name or a key."""


def checked_id(text: str) -> str:
    """The id itself, in any script; raises ValueError, which names what is not allowed."""
    if any(c in REFUSED or c.isspace() or unicodedata.category(c)[0] == "C" for c in text):
        raise ValueError("no spaces, control characters or any of / ? # % \\ |")
    if text in (".", ".."):
        raise ValueError("`.` and `..` name folders")
    return text


Id = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128, pattern=r"^[^\s|/?#%\\\x00-\x1f\x7f]+$"),
    AfterValidator(checked_id),
    Field(json_schema_extra={"format": "ringlog-id"}),
]
"""An id in a request. The pattern is the part of the rule that JSON Schema can express; the format
stands for the rest."""
