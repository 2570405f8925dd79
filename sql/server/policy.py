"""What SQL may touch: this server's own tables, and nothing of the machine or the network.

The engine runs inside this process with this process's rights, so file(), url(), INFILE and their
kin would act on the server's files. The rules are allow-lists over real tokens: a table function,
table engine or statement that is not known to be safe is refused (ACCESS_DENIED).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sql.server import policy_names as names
from sql.server.errors import ACCESS_DENIED, SYNTAX_ERROR, UNKNOWN_FORMAT, ServerError
from sql.server.statement import Statement, refuse_more
from sql.server.tokenizer import Kind, Token, tokens


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules. ``unsafe_functions`` are lower-case names that may not be called."""

    unsafe_functions: frozenset[str] = field(default=names.UNSAFE_FUNCTIONS)

    @classmethod
    def for_engine(cls, table_functions: Iterable[str]) -> Policy:
        """The rules with every table function of this engine that is not known to be safe."""
        known = {name.lower() for name in table_functions}
        return cls(names.UNSAFE_FUNCTIONS | (known - names.SAFE_TABLE_FUNCTIONS))

    def check(self, statement: Statement) -> None:
        """Raise ServerError (ACCESS_DENIED) if the statement may not run."""
        _check_kind(statement)
        self._check_tokens(statement.tokens)
        if statement.insert is not None and statement.insert.format:
            check_input_format(statement.insert.format)
        if statement.first in names.WITH_ENGINE:
            _check_engines(statement.tokens)
        if statement.values_at is not None:
            self._check_values(statement.sql, statement.values_at)

    def check_settings(self, settings: Mapping[str, str]) -> None:
        """Raise ServerError for settings that open what the policy closes."""
        for name in settings:
            _check_setting(name)

    def _check_tokens(self, listed: tuple[Token, ...]) -> None:
        for index, token in enumerate(listed):
            following = listed[index + 1] if index + 1 < len(listed) else None
            self._check_call(listed, index)
            word = token.upper
            if not word:
                continue
            if word in ("SETTINGS", "SETTING") or (word == "SET" and index == 0):
                for name in _setting_names(listed, index + 1):
                    _check_setting(name)
            if (word, following.upper if following else "") in names.FILE_CLAUSES:
                raise _denied("this server reads and writes no files")
            if word in ("FROM", "JOIN", "INTO") and following and following.kind is Kind.STRING:
                _check_string_source(listed, index)
            if word == "SOURCE" and following is not None and following.text == "(":
                _check_source(listed, index + 2)
            if word == "PARALLEL" and following is not None and following.upper == "WITH":
                raise _denied("PARALLEL WITH runs several statements")

    def _check_call(self, listed: Sequence[Token], at: int) -> None:
        """Refuse a call of an unsafe function: a name, quoted or not, with ``(`` behind it."""
        token = listed[at]
        if not token.is_name or at + 1 >= len(listed):
            return
        if listed[at + 1].kind is not Kind.OPEN or listed[at + 1].text != "(":
            return
        name = token.text.lower()
        if name in self.unsafe_functions:
            raise _denied(f"Function {token.text} is not available on this server")
        if name == "format" and not _is_format_of_text(listed[at + 2 : at + 4]):
            # As a table function it reads any format, and Values are expressions: SQL in a string.
            raise _denied("Function format needs a literal pattern with braces on this server")

    def _check_values(self, sql: str, start: int) -> None:
        """The same for inline values, which may be long: four tokens are held at a time."""
        window: list[Token] = []
        for token in tokens(sql, start):
            if token.kind is Kind.SEMICOLON:
                refuse_more(sql, token)
                break
            window.append(token)
            if len(window) == 4:
                self._check_call(window, 0)
                del window[0]
        for index in range(len(window)):
            self._check_call(window, index)


def _is_format_of_text(behind: Sequence[Token]) -> bool:
    """Whether format( goes on with a literal that cannot be the name of a format."""
    if len(behind) < 2:
        return False
    pattern, following = behind
    plain = pattern.kind is Kind.STRING and "{" in pattern.text
    return plain and (following.kind is Kind.COMMA or following.text == ")")


def _setting_names(listed: tuple[Token, ...], at: int) -> Iterator[str]:
    """The names in ``a = 1, b = f(x), …`` from ``at`` on."""
    while at < len(listed) and listed[at].is_name:
        yield listed[at].text
        at += 1
        if at < len(listed) and listed[at].text == "=":
            at += 1
        depth = 0
        started = False
        while at < len(listed):
            token = listed[at]
            if depth == 0:
                if token.kind is Kind.COMMA:
                    break
                if token.kind is Kind.CLOSE or (started and token.is_name):
                    return
            depth += (token.kind is Kind.OPEN) - (token.kind is Kind.CLOSE)
            started = True
            at += 1
        at += 1


def _check_kind(statement: Statement) -> None:
    first = statement.first
    words = [token.upper for token in statement.tokens[:6]]
    if first in names.REFUSED_STATEMENTS:
        raise _denied(f"Statement {first} is not available on this server")
    if first not in names.STATEMENTS:
        raise ServerError(
            SYNTAX_ERROR,
            f"Syntax error: failed at position 1 ({statement.tokens[0].text[:40]}). (SYNTAX_ERROR)",
        )
    behind = words[1] if len(words) > 1 else ""
    if first == "CREATE" and behind == "OR":
        behind = words[3] if len(words) > 3 else ""
    if first == "CREATE" and behind not in names.CREATABLE:
        raise _denied(f"CREATE {behind} is not available on this server")
    if first == "SYSTEM" and behind not in names.SYSTEM:
        raise _denied(f"SYSTEM {behind} is not available on this server")
    if first in ("DROP", "DETACH", "RENAME", "ATTACH") and behind == "DATABASE":
        for token in statement.tokens[2:]:
            if token.text.lower() == names.DEFAULT_DATABASE or token.text == "{":
                raise _denied(f"{first} DATABASE {token.text} is not available on this server")
    if first == "ALTER" and any(token.upper in ("EXPORT", "FETCH") for token in statement.tokens):
        raise _denied("EXPORT and FETCH are not available on this server")


def _check_engines(listed: tuple[Token, ...]) -> None:
    """Every engine that a CREATE names; ``engine`` may also be a column of a query in it."""
    in_query = False
    depth = 0
    for index, token in enumerate(listed[:-1]):
        in_query = in_query or token.upper == "SELECT"
        depth += (token.kind is Kind.OPEN) - (token.kind is Kind.CLOSE)
        if token.upper != "ENGINE":
            continue
        behind = listed[index + 1]
        if behind.text == "=" and index + 2 < len(listed):
            behind = listed[index + 2]
        elif in_query or depth or behind.upper in names.AFTER_A_COLUMN:
            continue
        if behind.is_name and not _is_safe_engine(behind.text.lower()):
            raise _denied(f"Engine {behind.text} is not available on this server")


def _is_safe_engine(name: str) -> bool:
    merge_tree = name.endswith("mergetree") and not name.startswith("replicated")
    return merge_tree or name in names.SAFE_ENGINES


def _check_setting(name: str) -> None:
    lower = name.lower()
    if lower.startswith(names.UNSAFE_SETTING_PREFIXES) or lower in names.UNSAFE_SETTINGS:
        raise _denied(f"Setting {name} cannot be changed on this server")


def check_input_format(name: str) -> None:
    """Raise ServerError (UNKNOWN_FORMAT) for a format that is not known to be safe to read."""
    lower = name.lower()
    if lower in names.SAFE_INPUT_FORMATS or lower.startswith(names.SAFE_INPUT_FORMAT_PREFIXES):
        return
    raise ServerError(
        UNKNOWN_FORMAT, f"Format {name[:40]} cannot be read on this server. (UNKNOWN_FORMAT)"
    )


def _check_string_source(listed: tuple[Token, ...], at: int) -> None:
    """A path as a table: ``FROM 'file.csv'``. trim() and substring() use the same words inside."""
    depth = 0
    for index in range(at, -1, -1):
        token = listed[index]
        depth += (token.kind is Kind.CLOSE) - (token.kind is Kind.OPEN)
        if depth < 0:
            opener = listed[index - 1].text.lower() if index else ""
            if opener in ("trim", "ltrim", "rtrim", "substring", "substr", "extract", "overlay"):
                return
            break
    raise _denied("A file is no table on this server")


def _check_source(listed: tuple[Token, ...], at: int) -> None:
    """A dictionary's SOURCE(…) may be one of our tables, by name, and nothing else."""
    kind = listed[at].upper if at < len(listed) else ""
    if kind not in names.SAFE_SOURCES:
        raise _denied(f"Dictionary source {kind} is not available on this server")
    depth = 1
    for token in listed[at:]:
        depth += (token.kind is Kind.OPEN) - (token.kind is Kind.CLOSE)
        if depth == 0:
            return
        if token.upper in ("HOST", "PORT", "QUERY", "SECURE", "NAME"):
            raise _denied(f"{token.text} in a dictionary's source is not available")


def _denied(why: str) -> ServerError:
    return ServerError(ACCESS_DENIED, f"Not enough privileges: {why}. (ACCESS_DENIED)")
