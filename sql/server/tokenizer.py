"""A tokenizer for ClickHouse SQL, after the token kinds of ClickHouse's own lexer.

It is used to decide what a statement may touch, so it fails closed: what it does not understand is
an error, never skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from sql.server.errors import SYNTAX_ERROR, ServerError


class Kind(Enum):
    """What a token is."""

    WORD = auto()  # bare word: keyword or identifier
    QUOTED = auto()  # identifier in ` or "
    STRING = auto()
    NUMBER = auto()
    OPERATOR = auto()
    OPEN = auto()  # ( [ {
    CLOSE = auto()
    COMMA = auto()
    DOT = auto()
    SEMICOLON = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """A token; ``text`` is unquoted for identifiers and strings, ``start``/``end`` its place."""

    kind: Kind
    text: str
    start: int
    end: int

    @property
    def upper(self) -> str:
        """The text in capitals if this is a bare word, else ``""``: for comparing keywords."""
        return self.text.upper() if self.kind is Kind.WORD else ""

    @property
    def is_name(self) -> bool:
        """Whether this can be an identifier."""
        return self.kind in (Kind.WORD, Kind.QUOTED)


# White space as the engine's lexer knows it, and its comments. Comments do not nest.
_SPACE = re.compile(
    r"(?:[ \t\n\r\f\v\u0085\u00a0\u180e\u2000-\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]+"
    r"|--[^\n]*|#(?=[ !])[^\n]*)+"
)
_DIGITS = re.compile(r"[0-9]+")
_WORD_LIKE = re.compile(r"[A-Za-z0-9_$]+")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
_NUMBER = re.compile(
    r"0[xX][0-9A-Fa-f_]*(?:\.[0-9A-Fa-f_]*)?(?:[pP][+-]?[0-9_]+)?"
    r"|0[bB][01_]+"
    r"|(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]+)?"
)
_HEREDOC = re.compile(r"\$[A-Za-z0-9_]*\$")
_OPERATOR = re.compile(r"::|->|<=>|<=|>=|<>|==|!=|\|\||@@|[-+*/%=<>?:|^@!&~]")
_SIMPLE = {
    "(": Kind.OPEN,
    "[": Kind.OPEN,
    "{": Kind.OPEN,
    ")": Kind.CLOSE,
    "]": Kind.CLOSE,
    "}": Kind.CLOSE,
    ",": Kind.COMMA,
    ".": Kind.DOT,
    ";": Kind.SEMICOLON,
}
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "0": "\0", "a": "\a", "v": "\v"}
# As the engine reads them: \N is nothing at all.
_ESCAPES |= {"e": "\x1b", "N": ""}


def tokens(sql: str, start: int = 0) -> Iterator[Token]:
    """Yield the tokens of ``sql`` from ``start`` on, without white space and comments.

    Raises ServerError (SYNTAX_ERROR) at an unclosed quote or comment and at a character that
    starts no token.
    """
    position = start
    previous: Token | None = None
    while True:
        position = _skip_space(sql, position)
        if position >= len(sql):
            return
        previous = _next(sql, position, previous)
        position = previous.end
        yield previous


def _skip_space(sql: str, position: int) -> int:
    while True:
        if (space := _SPACE.match(sql, position)) is not None:
            position = space.end()
        elif sql.startswith("/*", position):
            end = sql.find("*/", position + 2)
            if end < 0:
                raise _error("an unclosed comment", position)
            position = end + 2
        else:
            return position


def _next(sql: str, at: int, previous: Token | None) -> Token:
    char = sql[at]
    if char in "'`\"":
        text, end = _quoted(sql, at)
        return Token(Kind.STRING if char == "'" else Kind.QUOTED, text, at, end)
    if (word := _WORD.match(sql, at)) is not None:
        return Token(Kind.WORD, word.group(), at, word.end())
    if char.isascii() and char.isdigit():
        return _number(sql, at, previous)
    if char == "." and _is_fraction(sql, at, previous):
        return _number(sql, at, None)
    if char in _SIMPLE:
        return Token(_SIMPLE[char], char, at, at + 1)
    if char == "$" and (tag := _HEREDOC.match(sql, at)) is not None:
        close = sql.find(tag.group(), tag.end())
        if close < 0:
            raise _error("an unclosed heredoc", at)
        return Token(Kind.STRING, sql[tag.end() : close], at, close + len(tag.group()))
    if (operator := _OPERATOR.match(sql, at)) is not None:
        return Token(Kind.OPERATOR, operator.group(), at, operator.end())
    raise _error(f"an unexpected character {char!r}", at)


def _number(sql: str, at: int, previous: Token | None) -> Token:
    if previous is not None and previous.kind is Kind.DOT:
        # `t.1.2` is an element of a tuple's element, not a fraction.
        digits = _DIGITS.match(sql, at)
        end = digits.end() if digits is not None else at + 1
        return Token(Kind.NUMBER, sql[at:end], at, end)
    number = _NUMBER.match(sql, at)
    end = max(number.end() if number is not None else at, at + 1)
    tail = _WORD.match(sql, end)
    if tail is None:
        return Token(Kind.NUMBER, sql[at:end], at, end)
    if not _WORD_LIKE.fullmatch(sql, at, tail.end()):
        raise _error("a wrong number", at)
    return Token(Kind.WORD, sql[at : tail.end()], at, tail.end())  # 1abc is a bare word


def _is_fraction(sql: str, at: int, previous: Token | None) -> bool:
    return sql[at + 1 : at + 2].isdigit() and sql[at + 1].isascii() and not _ends_operand(previous)


def _ends_operand(token: Token | None) -> bool:
    return token is not None and (token.is_name or token.kind in (Kind.CLOSE, Kind.NUMBER))


def _quoted(sql: str, at: int) -> tuple[str, int]:
    """The unescaped text between quotes and the position behind the closing one."""
    quote = sql[at]
    out: list[str] = []
    position = at + 1
    plain = re.compile(rf"[^\\{quote}]+")
    while position < len(sql):
        if (run := plain.match(sql, position)) is not None:
            out.append(run.group())
            position = run.end()
            continue
        if sql[position] == "\\":
            if position + 1 >= len(sql):
                break
            text, position = _escape(sql, position + 1)
            out.append(text)
        elif sql.startswith(quote * 2, position):
            out.append(quote)
            position += 2
        else:
            return "".join(out), position + 1
    raise _error("an unclosed quote", at)


def _escape(sql: str, at: int) -> tuple[str, int]:
    char = sql[at]
    if char == "x" and re.fullmatch(r"[0-9A-Fa-f]{2}", sql[at + 1 : at + 3]):
        return chr(int(sql[at + 1 : at + 3], 16)), at + 3
    return _ESCAPES.get(char, char), at + 1


def _error(what: str, at: int) -> ServerError:
    return ServerError(SYNTAX_ERROR, f"Syntax error: {what} at position {at + 1}. (SYNTAX_ERROR)")
