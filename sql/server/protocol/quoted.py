"""Values of query parameters as the native protocol quotes them (ClickHouse's Field dump)."""

from __future__ import annotations

from sql.server.errors import BAD_ARGUMENTS, ServerError

_ESCAPES = {"a": "\a", "b": "\b", "e": "\x1b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_ESCAPES |= {"v": "\v", "0": "\0", "N": ""}
_ITSELF = frozenset("\\`\"'/")


def unquoted(value: str) -> str:
    """The text inside the quotes, as ClickHouse's readQuoted reads it.

    A backslash in front of a character that needs none stays. Raises ServerError (BAD_ARGUMENTS)
    for anything but one quoted string of valid UTF-8: a wrong value must not pass for a right one.
    """
    if len(value) < 2 or value[0] != "'" or value[-1] != "'":
        raise _wrong()
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _wrong() from None
    out = bytearray()  # \xNN is a byte, not a character
    at, end = 1, len(value) - 1
    while at < end:
        char = value[at]
        at += 1
        if char == "'":
            raise _wrong()
        if char != "\\":
            out += char.encode()
            continue
        if at >= end:  # the closing quote is escaped
            raise _wrong()
        code = value[at]
        at += 1
        if code == "x":
            digits = value[at : min(at + 2, end)]
            if len(digits) < 2 or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
                raise _wrong()
            out.append(int(digits, 16))
            at += 2
        elif code in _ESCAPES:
            out += _ESCAPES[code].encode()
        else:
            stays = code in _ITSELF or ord(code) < 0x20
            out += (code if stays else "\\" + code).encode()
    try:
        return out.decode()
    except UnicodeDecodeError:
        raise _wrong() from None


def _wrong() -> ServerError:
    return ServerError(
        BAD_ARGUMENTS, "A query parameter's value is not a quoted string. (BAD_ARGUMENTS)"
    )
