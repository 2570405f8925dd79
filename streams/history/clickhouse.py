"""ClickHouse over HTTP: inserts of Avro containers, and queries. A server or the embedded one."""

import re
from collections.abc import Sequence
from urllib.parse import urlencode

import crc32c
import urllib3
from urllib3.util import Timeout

from ringlog.settings import Settings

_CODE = re.compile(r"Code: (\d+)")

_DATA_CODES = frozenset({
    6, 26, 27, 33, 41, 69, 70, 72, 117, 128, 131, 190, 321, 349, 376, 467,
})  # fmt: skip
"""Errors of the data itself (ClickHouse's ErrorCodes.cpp: parsing, conversion, ranges). All others,
including wrong column types, are the database's and may be mended there."""

_FOREIGN_EXCEPTION = 1001  # the Avro library's, among others


class InsertRefused(Exception):
    """ClickHouse cannot take this data. Sending it again would not help."""


class Away(Exception):
    """ClickHouse did not answer, or could not work. Sending again may help."""


class ClickHouse:
    """One database of one server."""

    def __init__(self, config: Settings, timeout_s: float = 60.0) -> None:
        self._url = config.clickhouse_http + "/"
        self._database = config.clickhouse_database
        self._headers = {
            "X-ClickHouse-User": config.clickhouse_user,
            "X-ClickHouse-Key": config.clickhouse_password.get_secret_value(),
        }
        self._http = urllib3.PoolManager(
            timeout=Timeout(connect=5.0, read=timeout_s), retries=False, maxsize=2
        )

    def insert(self, table: str, columns: Sequence[str], container: bytes, token: str) -> None:
        """Writes a container's records; they are there when this returns.

        The same token and data again within the table's window changes nothing. Raises
        InsertRefused or Away.
        """
        names = ", ".join(f"`{c}`" for c in columns)
        self._post(
            f"INSERT INTO {table} ({names}) SETTINGS "
            f"insert_deduplication_token = '{token}:{crc32c.crc32c(container):08x}', "
            # Clocks may be wrong by years: no number of months in a block is an error.
            "max_partitions_per_insert_block = 0 "
            "FORMAT Avro",
            container,
        )

    def query(self, sql: str) -> list[list[str]]:
        """Rows of a query, every value as text; raises InsertRefused or Away."""
        body = self._post(None, f"{sql} FORMAT TabSeparatedRaw".encode()).decode()
        return [line.split("\t") for line in body.splitlines()]

    def execute(self, sql: str) -> None:
        """Runs a statement; raises InsertRefused or Away."""
        self._post(None, sql.encode())

    def _post(self, sql: str | None, body: bytes) -> bytes:
        """`sql` precedes the body; a long statement is the body alone."""
        where = urlencode({"database": self._database} | ({"query": sql} if sql else {}))
        try:
            answer = self._http.request(
                "POST", f"{self._url}?{where}", body=body, headers=self._headers
            )
        except urllib3.exceptions.HTTPError as error:
            raise Away(f"ClickHouse at {self._url}: {type(error).__name__}") from None
        if answer.status == 200 and "X-ClickHouse-Exception-Code" not in answer.headers:
            return answer.data
        text = answer.data.decode("utf-8", "replace").strip()
        code = int(answer.headers.get("X-ClickHouse-Exception-Code") or _code_in(text))
        of_data = code in _DATA_CODES or (code == _FOREIGN_EXCEPTION and "avro" in text.lower())
        kind = InsertRefused if of_data else Away
        raise kind(f"ClickHouse: {text[:500] or f'HTTP status {answer.status}'}")


def _code_in(text: str) -> str:
    found = _CODE.search(text)
    return found[1] if found else "0"
