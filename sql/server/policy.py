"""What SQL may touch: this server's own tables, and nothing of the machine or the network.

The engine runs inside this process with this process's rights, so file(), url(), INFILE and their
kin would act on the server's files. The rules are allow-lists over real tokens: a table function,
table engine or statement that is not known to be safe is refused (ACCESS_DENIED).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sql.server.errors import ACCESS_DENIED, SYNTAX_ERROR, ServerError
from sql.server.statement import Statement, refuse_more
from sql.server.tokenizer import Kind, Token, tokens


def _names(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_STATEMENTS = _names(
    """SELECT WITH FROM INSERT CREATE ALTER DROP DETACH ATTACH UNDROP TRUNCATE RENAME EXCHANGE
    REPLACE SHOW DESCRIBE DESC EXISTS EXPLAIN OPTIMIZE SET USE KILL CHECK DELETE UPDATE SYSTEM"""
)
_REFUSED_STATEMENTS = _names("BACKUP RESTORE GRANT REVOKE MOVE WATCH EXECUTE COPY PARALLEL")
_WITH_ENGINE = _names("CREATE ATTACH REPLACE ALTER EXPLAIN")
_CREATABLE = _names("TABLE VIEW DATABASE DICTIONARY FUNCTION MATERIALIZED TEMPORARY INDEX OR")
_SYSTEM = _names("FLUSH RELOAD SYNC START STOP REFRESH WAIT DROP CLEAR CANCEL")
_SAFE_TABLE_FUNCTIONS = _names(
    """numbers numbers_mt zeros zeros_mt generaterandom generateseries generate_series primes values
    sqlstandardvalues null view viewifpermitted viewexplain merge mergetreeindex
    mergetreeprojection mergetreetextindex mergetreeanalyzeindexes mergetreecodecblockcounts
    dictionary format loop input"""
)
# Functions that read files, run programs or use the network; the engine's own list of table
# functions is added when it starts.
_UNSAFE_FUNCTIONS = _names(
    """file filecluster url urlcluster s3 s3cluster gcs oss cosn hdfs hdfscluster remote
    remotesecure cluster clusterallreplicas executable filesystem mysql postgresql mongodb redis
    sqlite odbc jdbc bigquery azureblobstorage azureblobstoragecluster iceberg deltalake hudi
    paimon python arrowstream eval ytsaurus disk catboostevaluate modelevaluate aiclassify
    aiembed aiextract aifilter aigenerate airedact aisimilarity aitranslate"""
)
_SAFE_ENGINES = _names(
    """memory log tinylog stripelog null view materializedview set join buffer merge dictionary
    generaterandom alias atomic"""
)
_AFTER_A_COLUMN = _names("ORDER PARTITION PRIMARY SAMPLE TTL SETTINGS COMMENT AS TO ASC DESC")
_FILE_CLAUSES = frozenset({("FROM", "INFILE"), ("INTO", "OUTFILE")})
_SAFE_SOURCES = frozenset({"CLICKHOUSE", "NULL"})
_UNSAFE_SETTING_PREFIXES = (
    "default_table_engine",
    "default_temporary_table_engine",
    "default_database_engine",
    "format_schema",
    "format_template",
    "format_avro_schema_registry_url",
    "implicit_select",
    "http_make_head_request",
    "allow_experimental_ai",
    "allow_introspection",
    "disk",
)
_UNSAFE_DIALECTS = frozenset({"dialect", "polyglot_dialect"})
_DEFAULT_DATABASE = "default"


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules. ``unsafe_functions`` are lower-case names that may not be called."""

    unsafe_functions: frozenset[str] = field(default=_UNSAFE_FUNCTIONS)

    @classmethod
    def for_engine(cls, table_functions: Iterable[str]) -> Policy:
        """The rules with every table function of this engine that is not known to be safe."""
        names = {name.lower() for name in table_functions}
        return cls(_UNSAFE_FUNCTIONS | (names - _SAFE_TABLE_FUNCTIONS))

    def check(self, statement: Statement) -> None:
        """Raise ServerError (ACCESS_DENIED) if the statement may not run."""
        _check_kind(statement)
        self._check_tokens(statement.tokens)
        if statement.first in _WITH_ENGINE:
            _check_engines(statement.tokens)
        if statement.values_at is not None:
            self._check_values(statement.sql, statement.values_at)

    def check_settings(self, settings: Mapping[str, str]) -> None:
        """Raise ServerError for settings that open what the policy closes."""
        for name in settings:
            _check_setting(name)

    def _check_tokens(self, listed: tuple[Token, ...]) -> None:
        in_settings = False
        for index, token in enumerate(listed):
            following = listed[index + 1] if index + 1 < len(listed) else None
            self._check_call(token, following)
            word = token.upper
            if word == "SETTINGS" or (word == "SET" and index == 0):
                in_settings = True
            elif in_settings and token.is_name and following and following.text == "=":
                _check_setting(token.text)
            if not word:
                continue
            if (word, following.upper if following else "") in _FILE_CLAUSES:
                raise _denied("this server reads and writes no files")
            if word in ("FROM", "JOIN", "INTO") and following and following.kind is Kind.STRING:
                _check_string_source(listed, index)
            if word == "SOURCE" and following is not None and following.text == "(":
                _check_source(listed, index + 2)
            if word == "PARALLEL" and following is not None and following.upper == "WITH":
                raise _denied("PARALLEL WITH runs several statements")

    def _check_call(self, token: Token, following: Token | None) -> None:
        if following is None or following.kind is not Kind.OPEN or following.text != "(":
            return
        if not token.is_name:
            return
        name = token.text.lower()
        if name in self.unsafe_functions:
            raise _denied(f"Function {token.text} is not available on this server")

    def _check_values(self, sql: str, start: int) -> None:
        previous: Token | None = None
        for token in tokens(sql, start):
            if token.kind is Kind.SEMICOLON:
                refuse_more(sql, token)
                return
            if previous is not None:
                self._check_call(previous, token)
            previous = token


def _check_kind(statement: Statement) -> None:
    first = statement.first
    words = [token.upper for token in statement.tokens[:6]]
    if first in _REFUSED_STATEMENTS:
        raise _denied(f"Statement {first} is not available on this server")
    if first not in _STATEMENTS:
        raise ServerError(
            SYNTAX_ERROR,
            f"Syntax error: failed at position 1 ({statement.tokens[0].text[:40]}). (SYNTAX_ERROR)",
        )
    behind = words[1] if len(words) > 1 else ""
    if first == "CREATE" and behind not in _CREATABLE:
        raise _denied(f"CREATE {behind} is not available on this server")
    if first == "SYSTEM" and behind not in _SYSTEM:
        raise _denied(f"SYSTEM {behind} is not available on this server")
    if first in ("DROP", "DETACH", "RENAME", "ATTACH") and behind == "DATABASE":
        for token in statement.tokens[2:]:
            if token.text.lower() == _DEFAULT_DATABASE or token.text == "{":
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
        elif in_query or depth or behind.upper in _AFTER_A_COLUMN:
            continue
        if behind.is_name and not _is_safe_engine(behind.text.lower()):
            raise _denied(f"Engine {behind.text} is not available on this server")


def _is_safe_engine(name: str) -> bool:
    merge_tree = name.endswith("mergetree") and not name.startswith("replicated")
    return merge_tree or name in _SAFE_ENGINES


def _check_setting(name: str) -> None:
    lower = name.lower()
    if lower.startswith(_UNSAFE_SETTING_PREFIXES) or lower in _UNSAFE_DIALECTS:
        raise _denied(f"Setting {name} cannot be changed on this server")


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
    if kind not in _SAFE_SOURCES:
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
