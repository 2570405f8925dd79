"""Reading an HTTP request in ClickHouse's way: who asks, for what, with which settings."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from sql.server.errors import AUTHENTICATION_FAILED, INCORRECT_DATA, ServerError

DEFAULT_FORMAT = "TabSeparated"
_RESERVED = frozenset(
    {
        "query",
        "database",
        "user",
        "password",
        "query_id",
        "session_id",
        "session_timeout",
        "session_check",
        "close_session",
        "default_format",
        "compress",
        "decompress",
        "wait_end_of_query",
        "buffer_size",
        "stacktrace",
        "quota_key",
        "role",
        "client_protocol_version",
        "enable_http_compression",
        "framing",
    }
)
_PARAMETER = "param_"
_OF_TABLES = ("_structure", "_types", "_format")
_MAX_SESSION_S = 3_600
_DEFAULT_SESSION_S = 60


@dataclass(frozen=True, slots=True)
class HttpQuery:
    """The parts of a request's URL and headers that matter; the body comes apart."""

    query: str
    user: str
    password: str
    database: str
    settings: dict[str, str]
    parameters: dict[str, str]
    default_format: str
    query_id: str
    session_id: str
    session_s: int
    compress: bool
    decompress: bool
    wait_end: bool
    accept: str  # Accept-Encoding if compression was asked for
    asked_format: str = ""  # of the URL or a header, empty when neither names one


def read(
    arguments: Mapping[str, str], headers: Mapping[str, str], user: str, form: bool = False
) -> HttpQuery:
    """Sort a request's URL arguments and headers; ``user`` is who asks when nobody is named.

    ``form`` says that the body is a form: arguments may then describe external tables.

    Header names must be found in any case. Raises ServerError for unusable credentials or numbers.
    """
    name, password = _credentials(arguments, headers, user)
    compression = arguments.get("enable_http_compression", "0") in ("1", "true")
    return HttpQuery(
        query=arguments.get("query", ""),
        user=name,
        password=password,
        database=arguments.get("database") or headers.get("X-ClickHouse-Database", ""),
        settings={
            key: value
            for key, value in arguments.items()
            if key not in _RESERVED
            and not key.startswith(_PARAMETER)
            and not (form and key.endswith(_OF_TABLES))
        },
        parameters={
            key[len(_PARAMETER) :]: value
            for key, value in arguments.items()
            if key.startswith(_PARAMETER)
        },
        default_format=format_name(
            arguments.get("default_format") or headers.get("X-ClickHouse-Format") or DEFAULT_FORMAT
        ),
        query_id=arguments.get("query_id", "")[:200],
        session_id=arguments.get("session_id", "")[:200],
        session_s=_seconds(arguments.get("session_timeout")),
        compress=arguments.get("compress", "0") in ("1", "true"),
        decompress=arguments.get("decompress", "0") in ("1", "true"),
        wait_end=arguments.get("wait_end_of_query", "0") in ("1", "true"),
        accept=headers.get("Accept-Encoding", "") if compression else "",
        asked_format=format_name(
            headers.get("X-ClickHouse-Format") or arguments.get("default_format") or DEFAULT_FORMAT
        )
        if "default_format" in arguments or "X-ClickHouse-Format" in headers
        else "",
    )


def _credentials(
    arguments: Mapping[str, str], headers: Mapping[str, str], user: str
) -> tuple[str, str]:
    authorization = headers.get("Authorization", "")
    if "X-ClickHouse-User" in headers or "X-ClickHouse-Key" in headers:
        return headers.get("X-ClickHouse-User", user), headers.get("X-ClickHouse-Key", "")
    if authorization:
        kind, _, value = authorization.partition(" ")
        if kind.lower() != "basic":
            raise ServerError(AUTHENTICATION_FAILED, "Only Basic authorization is supported")
        try:
            text = base64.b64decode(value, validate=True).decode()
        except ValueError:  # no base64, no ASCII or no UTF-8
            raise ServerError(AUTHENTICATION_FAILED, "Malformed Basic authorization") from None
        name, _, password = text.partition(":")
        return name, password
    return arguments.get("user", user), arguments.get("password", "")


def format_name(form: str) -> str:
    """The name of a format, checked. Raises ServerError (INCORRECT_DATA)."""
    if not form.isascii() or not form.isidentifier():
        raise ServerError(INCORRECT_DATA, "The name of the format is malformed")
    return form


def _seconds(value: str | None) -> int:
    if value is None:
        return _DEFAULT_SESSION_S
    if not value.isascii() or not value.isdigit() or len(value) > 6:
        raise ServerError(INCORRECT_DATA, "session_timeout must be a number of seconds")
    return min(int(value), _MAX_SESSION_S)


# ClickHouse's exceptionCodeToHTTPStatus, as far as these codes occur here; all else is 500.
_STATUS = {
    403: (497, 516, 164, 192, 193),
    404: (46, 47, 16, 60, 81, 63, 20, 59, 28),
    400: (6, 26, 27, 38, 41, 42, 43, 44, 53, 57, 61, 62, 69, 70, 72, 73, 115, 117, 131, 130, 636),
    408: (159,),
    413: (158, 396),
    500: (241,),
    501: (48, 1),
    503: (202, 209, 210, 236),
    409: (373,),
}
_BY_CODE = {code: status for status, codes in _STATUS.items() for code in codes}


def status_of(code: int) -> int:
    """The HTTP status for a ClickHouse error code."""
    return _BY_CODE.get(code, 500)


_CONTENT_TYPES = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
}


def content_type(form: str) -> str:
    """The media type of an output format."""
    known = _CONTENT_TYPES.get(form)
    if known is not None:
        return known
    binary = form in ("Native", "RowBinary", "Parquet", "Arrow", "ArrowStream", "ORC", "Avro")
    return "application/octet-stream" if binary else "text/plain; charset=UTF-8"
