"""What a statement is: its kind, an INSERT's parts, and where FORMAT stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from sql.server.errors import INCORRECT_DATA, NOT_IMPLEMENTED, SYNTAX_ERROR, ServerError
from sql.server.tokenizer import Kind, Token, tokens


class Answer(Enum):
    """How a statement is run and answered."""

    ROWS = auto()  # SELECT and WITH: streamed
    TABLE = auto()  # SHOW, DESCRIBE, …: a small result
    NONE = auto()  # DDL, SET, INSERT SELECT: no result
    DATA = auto()  # INSERT whose data follows


VALUES = "Values"
MAX_STATEMENT_CHARACTERS = 2 << 20  # inline VALUES not counted

_TABLE_WORDS = frozenset({"SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "CHECK", "KILL"})


@dataclass(frozen=True, slots=True)
class InputCall:
    """``input('id UInt64')`` in an INSERT SELECT: its place in the INSERT's head, and the columns
    of the data that come with the statement."""

    start: int
    end: int
    structure: str


@dataclass(frozen=True, slots=True)
class Insert:
    """An INSERT whose data comes apart from the statement.

    ``head`` is all before VALUES or FORMAT without SETTINGS, as ``INSERT INTO t (a, b)``; ``table``
    is the table as written; ``columns`` the text between the brackets or None; ``names`` the same
    as plain names if it is a plain list; ``data_at`` is where inline data begins in the statement.
    With ``input`` the head is the whole INSERT SELECT before FORMAT; ``format`` is empty where the
    statement names none.
    """

    head: str
    table: str
    columns: str | None
    names: tuple[str, ...] | None
    settings: str
    format: str
    data_at: int
    input: InputCall | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, without a trailing semicolon.

    ``format_at`` is where a trailing FORMAT clause begins (None without one) and ``format`` its
    name. ``tokens`` ends where an INSERT's data begins; ``values_at`` is where inline VALUES begin
    that are still to be read as SQL.
    """

    sql: str
    tokens: tuple[Token, ...]
    answer: Answer
    first: str
    format: str | None = None
    format_at: int | None = None
    format_end: int | None = None
    insert: Insert | None = None
    values_at: int | None = None

    @property
    def without_format(self) -> str:
        """The statement's text with the trailing FORMAT clause cut out."""
        if self.format_at is None:
            return self.sql
        return self.sql[: self.format_at] + self.sql[self.format_end :]


def parse(sql: str) -> Statement:
    """Read one statement.

    Raises ServerError (SYNTAX_ERROR) for no statement, a second one, or one that is too long.
    """
    listed: list[Token] = []
    is_insert = False
    depth = 0
    for token in tokens(sql):
        if token.kind is Kind.SEMICOLON:
            refuse_more(sql, token)
            break
        if token.end > MAX_STATEMENT_CHARACTERS:
            raise ServerError(SYNTAX_ERROR, "Max query size exceeded (SYNTAX_ERROR)")
        if not listed:
            is_insert = token.upper == "INSERT"
        depth += (token.kind is Kind.OPEN) - (token.kind is Kind.CLOSE)
        listed.append(token)
        if is_insert and depth == 0:
            insert = _insert_at(sql, listed)
            if insert is not None:
                return _with_data(sql, tuple(listed), insert)
    if not listed:
        raise ServerError(SYNTAX_ERROR, "Empty query (SYNTAX_ERROR)")
    return _without_data(sql, tuple(listed))


def refuse_more(sql: str, semicolon: Token) -> None:
    """Raise ServerError (SYNTAX_ERROR) if anything but semicolons follows this one."""
    for token in tokens(sql, semicolon.end):
        if token.kind is not Kind.SEMICOLON:
            raise ServerError(
                SYNTAX_ERROR,
                "Syntax error (Multi-statements are not allowed): failed at position "
                f"{semicolon.start + 1} (end of query) (SYNTAX_ERROR)",
            )


def _checked(text: str) -> str:
    """The text, if the engine can be given it. Raises ServerError (INCORRECT_DATA)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ServerError(INCORRECT_DATA, "The query is not valid UTF-8") from None
    return text


def _with_data(sql: str, listed: tuple[Token, ...], insert: Insert) -> Statement:
    if insert.format == VALUES:
        # Inline values are expressions, so the engine reads them as part of the statement.
        behind = next(tokens(sql, insert.data_at), None)
        if behind is not None and behind.kind is not Kind.SEMICOLON:
            return Statement(_checked(sql), listed, Answer.NONE, "INSERT", values_at=insert.data_at)
    _checked(sql[: insert.data_at])
    return Statement(sql, listed, Answer.DATA, "INSERT", insert=insert)


def _without_data(sql: str, listed: tuple[Token, ...]) -> Statement:
    body = _checked(sql[: listed[-1].end])
    first = next((token.upper for token in listed if token.kind is not Kind.OPEN), "")
    if first == "INSERT" and (call := _input_call(listed)) is not None:
        head = body[listed[0].start :]
        insert = Insert(head, "", None, None, "", "", len(sql), call)
        return Statement(sql, listed, Answer.DATA, first, insert=insert)
    if first == "WITH" and any(token.upper == "INSERT" for token in listed):
        return Statement(body, listed, Answer.NONE, first)
    if first in ("SELECT", "WITH", "FROM"):
        answer = Answer.ROWS
    elif first in _TABLE_WORDS:
        answer = Answer.TABLE
    else:
        return Statement(body, listed, Answer.NONE, first)
    place = _trailing_format(listed)
    if place is None:
        return Statement(body, listed, answer, first)
    name = listed[place + 1]
    return Statement(body, listed, answer, first, name.text, listed[place].start, name.end)


def _trailing_format(listed: tuple[Token, ...]) -> int | None:
    """The index of FORMAT at bracket depth 0 with a name behind it; the last one counts."""
    depth = 0
    for index in range(len(listed) - 1, 0, -1):
        token = listed[index]
        depth += (token.kind is Kind.CLOSE) - (token.kind is Kind.OPEN)
        if depth or token.upper != "FORMAT" or index + 1 >= len(listed):
            continue
        behind = listed[index + 2] if index + 2 < len(listed) else None
        if listed[index + 1].is_name and (behind is None or behind.upper == "SETTINGS"):
            return index
    return None


def _insert_at(sql: str, listed: list[Token]) -> Insert | None:
    """The INSERT's parts if the last token read ends its head: VALUES, or FORMAT and a name."""
    last = listed[-1]
    if last.upper == "VALUES":
        end, name = len(listed) - 1, VALUES
    elif len(listed) > 1 and listed[-2].upper == "FORMAT" and last.is_name:
        # The names of formats are case-insensitive; values are expressions, not mere data.
        end, name = len(listed) - 2, VALUES if last.text.lower() == "values" else last.text
    else:
        return None
    words = listed[:end]
    if listed[-2].upper == "FORMAT":
        words = listed[:-2]
        call = _input_call(words)
        if call is not None:
            if name == VALUES:
                raise ServerError(
                    NOT_IMPLEMENTED,
                    "input() with FORMAT Values is not supported (NOT_IMPLEMENTED)",
                )
            head = sql[words[0].start : words[-1].end]
            return Insert(head, "", None, None, "", name, last.end, call)
        words = listed[:end]
    at = 1
    for keyword in ("INTO", "TABLE"):
        if at < len(words) and words[at].upper == keyword:
            at += 1
    if at >= len(words) or not words[at].is_name or words[at].upper == "FUNCTION":
        return None
    table_from = at
    while at + 2 < len(words) and words[at + 1].kind is Kind.DOT and words[at + 2].is_name:
        at += 2
    table = sql[words[table_from].start : words[at].end]
    at += 1
    head_end, columns, names = words[at - 1].end, None, None
    if at < len(words) and words[at].text == "(" and words[at].kind is Kind.OPEN:
        close = _closing(words, at)
        inside = words[at + 1 : close]
        columns = sql[words[at].end : words[close].start]
        names = _plain_names(inside)
        head_end, at = words[close].end, close + 1
    settings = ""
    if at < len(words):
        if words[at].upper != "SETTINGS":
            return None  # SELECT, WITH, WATCH, FROM INFILE, PARTITION BY, …
        settings = sql[words[at].start : words[-1].end]
    head = sql[words[0].start : head_end]
    return Insert(head, table, columns, names, settings, name, last.end)


def _input_call(words: Sequence[Token]) -> InputCall | None:
    """The call of input() in an INSERT's words, if there is one.

    Raises ServerError (NOT_IMPLEMENTED) for two calls or for columns that are not a literal.
    """
    found: InputCall | None = None
    for at in range(2, len(words) - 1):
        if not (words[at].is_name and words[at].text.lower() == "input"):
            continue
        if words[at + 1].text != "(" or words[at - 1].upper not in ("FROM", "JOIN"):
            continue
        inside = words[at + 2 : at + 4]
        plain = len(inside) == 2 and inside[0].kind is Kind.STRING and inside[1].text == ")"
        if not plain or found is not None:
            raise ServerError(
                NOT_IMPLEMENTED,
                "input() is supported once in a statement, with its columns as one literal. "
                "(NOT_IMPLEMENTED)",
            )
        shift = words[0].start
        found = InputCall(words[at].start - shift, inside[1].end - shift, inside[0].text)
    return found


def _closing(words: list[Token], at: int) -> int:
    depth = 0
    for index in range(at, len(words)):
        depth += (words[index].kind is Kind.OPEN) - (words[index].kind is Kind.CLOSE)
        if depth == 0:
            return index
    raise ServerError(SYNTAX_ERROR, "Syntax error: unbalanced brackets (SYNTAX_ERROR)")


def _plain_names(inside: list[Token]) -> tuple[str, ...] | None:
    """``a, b.c, `d``` as names, or None if the list holds anything else."""
    out: list[str] = []
    expect_name = True
    for token in inside:
        if expect_name and token.is_name:
            if out and out[-1].endswith("."):
                out[-1] += token.text
            else:
                out.append(token.text)
        elif not expect_name and token.kind is Kind.COMMA:
            pass
        elif not expect_name and token.kind is Kind.DOT:
            out[-1] += "."
        else:
            return None
        expect_name = not expect_name
    return tuple(out) if out and not expect_name else None
