"""clickhouse-driver against the server: queries, inserts, errors, cancel."""

from __future__ import annotations

import socket
import threading
from typing import Any

import clickhouse_driver
import pytest
from clickhouse_driver.errors import Error, ServerException

from tests.integration.sql_server.support import ServerProcess, wait_for


def code_of(client: clickhouse_driver.Client, *arguments: Any, **options: Any) -> int:
    with pytest.raises(Error) as caught:
        client.execute(*arguments, **options)
    code: int = caught.value.code
    return code


def running(server: ServerProcess, marker: str) -> int:
    """How many queries with this text run now."""
    client = server.client()
    try:
        found = client.execute(
            "SELECT count() FROM system.processes WHERE position(query, %(m)s) > 0 "
            "AND position(query, 'system.processes') = 0",
            {"m": marker},
        )
        count: int = found[0][0]
        return count
    finally:
        client.disconnect()


def test_select_in_the_default_database(client: clickhouse_driver.Client) -> None:
    assert client.execute("SELECT 1, currentDatabase()") == [(1, "ringlog")]
    engines = client.execute(
        "SELECT name, engine FROM system.databases WHERE name IN ('default', 'ringlog') ORDER BY 1"
    )
    assert engines == [("default", "Atomic"), ("ringlog", "Atomic")]


def test_large_results_come_in_order(client: clickhouse_driver.Client) -> None:
    rows = client.execute_iter("SELECT number, toString(number) FROM numbers(200000)")
    assert all(row == (index, str(index)) for index, row in enumerate(rows))


def test_an_empty_result_has_types(client: clickhouse_driver.Client) -> None:
    found = client.execute(
        "SELECT number AS n, toString(number) AS s FROM numbers(0)", with_column_types=True
    )
    assert found == ([], [("n", "UInt64"), ("s", "String")])
    found = client.execute("SHOW TABLES LIKE 'no such table'", with_column_types=True)
    assert found == ([], [("name", "String")])


def test_show_describe_exists_explain(client: clickhouse_driver.Client, table: str) -> None:
    client.execute(f"CREATE TABLE {table} (a UInt8) ENGINE = MergeTree ORDER BY a")
    assert (table,) in client.execute("SHOW TABLES")
    assert client.execute(f"DESCRIBE TABLE {table}")[0][:2] == ("a", "UInt8")
    assert client.execute(f"EXISTS TABLE {table}") == [(1,)]
    assert client.execute("EXPLAIN SELECT 1")
    assert table in client.execute(f"SHOW CREATE TABLE {table}")[0][0]
    client.execute(f"DROP TABLE {table}")
    assert client.execute(f"EXISTS TABLE {table}") == [(0,)]


def test_inserts_by_row_by_column_and_inline(client: clickhouse_driver.Client, table: str) -> None:
    client.execute(f"CREATE TABLE {table} (a UInt32, b String) ENGINE = MergeTree ORDER BY a")
    assert client.execute(f"INSERT INTO {table} VALUES", [(1, "x"), (2, "y")]) == 2
    assert client.execute(f"INSERT INTO {table} (b, a) VALUES", [["z"], [3]], columnar=True) == 1
    client.execute(f"INSERT INTO {table} VALUES (4, concat('a', 'b')), (5, 'c;d')")
    client.execute(f'INSERT INTO {table} FORMAT JSONEachRow {{"a": 6, "b": "e"}}')
    client.execute(f"INSERT INTO {table} SELECT a + 10, b FROM {table} WHERE a = 1")
    assert client.execute(f"SELECT * FROM {table} ORDER BY a") == [
        (1, "x"), (2, "y"), (3, "z"), (4, "ab"), (5, "c;d"), (6, "e"), (11, "x"),
    ]  # fmt: skip


def test_an_insert_of_many_blocks(client: clickhouse_driver.Client, table: str) -> None:
    client.execute(f"CREATE TABLE {table} (a UInt32, b String) ENGINE = MergeTree ORDER BY a")
    rows = ((number, str(number)) for number in range(30_000))
    sent = client.execute(f"INSERT INTO {table} VALUES", rows, settings={"insert_block_size": 7000})
    assert sent == 30_000
    assert client.execute(f"SELECT count(), sum(a), uniqExact(b) FROM {table}") == [
        (30_000, 30_000 * 29_999 // 2, 30_000)
    ]


def test_defaults_materialized_and_ephemeral_columns(
    client: clickhouse_driver.Client, table: str
) -> None:
    client.execute(
        f"CREATE TABLE {table} (a UInt32, b String DEFAULT concat('d', e), m UInt32 MATERIALIZED "
        "a + 1, e String EPHEMERAL 'q') ENGINE = MergeTree ORDER BY a"
    )
    client.execute(f"INSERT INTO {table} (a) VALUES", [(1,)])
    client.execute(f"INSERT INTO {table} (a, e) VALUES", [(2, "w")])
    client.execute(f"INSERT INTO {table} VALUES", [(3, "own")])
    client.execute(f"INSERT INTO {table} (* EXCEPT (b)) VALUES", [(4,)])
    assert client.execute(f"SELECT a, b, m FROM {table} ORDER BY a") == [
        (1, "dq", 2), (2, "dw", 3), (3, "own", 4), (4, "dq", 5),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT * FROM nosuch", 60),
        ("SELEC 1", 62),
        ("SELECT FROM WHERE", 62),
        ("SELECT 1; SELECT 2", 62),
        ("SELECT 'unclosed", 62),
        ("", 62),
        ("SELECT * FROM nosuch.t", 81),
        ("SELECT nosuch", 47),
        ("SELECT throwIf(number = 100000) FROM numbers(200000)", 395),
        ("SELECT toUInt8('x')", 6),
        ("SELECT * FROM file('/etc/passwd')", 497),
        ("SELECT * FROM default.`/etc/passwd`", 60),
        ("SELECT * FROM `/etc/passwd`", 60),
        ("INSERT INTO nosuch VALUES (1)", 60),
        ("SET nosuch = 1", 115),
    ],
)
def test_errors_carry_their_codes(client: clickhouse_driver.Client, sql: str, code: int) -> None:
    assert code_of(client, sql) == code
    assert client.execute("SELECT 7") == [(7,)]  # the connection goes on


def test_failed_inserts_say_so(client: clickhouse_driver.Client, table: str) -> None:
    client.execute(
        f"CREATE TABLE {table} (a UInt32, CONSTRAINT small CHECK a < 10) "
        "ENGINE = MergeTree PARTITION BY a ORDER BY a"
    )
    assert code_of(client, f"INSERT INTO {table} VALUES", [(1,), (20,)]) == 469
    assert code_of(client, f"INSERT INTO {table} (nosuch) VALUES", [(1,)]) in (16, 47)
    assert code_of(client, "INSERT INTO nosuch VALUES", [(1,)]) == 60
    too_many = [(number % 10,) for number in range(20)]
    settings = {"max_partitions_per_insert_block": 5}
    assert code_of(client, f"INSERT INTO {table} VALUES", too_many, settings=settings) == 252
    assert client.execute(f"SELECT count() FROM {table}") == [(0,)]
    client.execute(f"INSERT INTO {table} VALUES", [(1,)])
    assert client.execute(f"SELECT count() FROM {table}") == [(1,)]


def test_a_failing_materialized_view_fails_the_insert(
    client: clickhouse_driver.Client, table: str
) -> None:
    client.execute(f"CREATE TABLE {table} (a UInt32) ENGINE = MergeTree ORDER BY a")
    client.execute(
        f"CREATE MATERIALIZED VIEW {table}_v ENGINE = MergeTree ORDER BY a AS "
        f"SELECT a, throwIf(a = 3) AS x FROM {table}"
    )
    assert code_of(client, f"INSERT INTO {table} VALUES", [(3,)]) == 395


def test_settings_hold_for_their_query_only(client: clickhouse_driver.Client) -> None:
    get = "SELECT value FROM system.settings WHERE name = 'max_threads'"
    before = client.execute(get)
    assert client.execute(get, settings={"max_threads": 3}) == [("3",)]
    assert client.execute(get) == before
    client.execute("SET max_threads = 5")
    assert client.execute(get) == [("5",)]
    sql = "SELECT count() FROM numbers(1000000000000)"
    assert code_of(client, sql, settings={"max_execution_time": 1}) == 159
    important = {"nosuch_setting": 1}
    with pytest.raises(ServerException) as caught:
        strict = clickhouse_driver.Client(
            "127.0.0.1",
            port=client.connection.hosts[0][1],
            settings=important,
            settings_is_important=True,
        )
        strict.execute("SELECT 1")
    assert caught.value.code == 115


def test_temporary_tables_and_use_belong_to_a_connection(server: ServerProcess) -> None:
    one, other = server.client(), server.client()
    one.execute("CREATE TEMPORARY TABLE mine (a UInt8)")
    one.execute("INSERT INTO mine VALUES", [(1,)])
    one.execute("USE system")
    assert one.execute("SELECT a, currentDatabase() FROM mine") == [(1, "system")]
    assert code_of(other, "SELECT * FROM mine") == 60
    assert other.execute("SELECT currentDatabase()") == [("ringlog",)]
    one.disconnect()
    other.disconnect()


def test_hello_chooses_the_database_and_refuses_strangers(server: ServerProcess) -> None:
    client = server.client(database="system")
    assert client.execute("SELECT currentDatabase()") == [("system",)]
    client.disconnect()
    assert code_of(server.client(database="nosuch"), "SELECT 1") == 81
    assert code_of(server.client(user="stranger"), "SELECT 1") == 516
    assert code_of(server.client(password="wrong"), "SELECT 1") == 516


LONG = "SELECT sleepEachRow(1) AS {} FROM numbers(600) SETTINGS max_block_size = 1"


def test_cancel_ends_the_query(server: ServerProcess, client: clickhouse_driver.Client) -> None:
    client.execute_iter(LONG.format("cancel_me"))
    wait_for(lambda: running(server, "cancel_me"), "the query to run")
    client.cancel()
    wait_for(lambda: not running(server, "cancel_me"), "the query to end")
    assert client.execute("SELECT 5") == [(5,)]


def test_a_disconnect_ends_the_query(server: ServerProcess) -> None:
    client = server.client()
    client.execute_iter(LONG.format("leave_me"))
    wait_for(lambda: running(server, "leave_me"), "the query to run")
    client.connection.socket.shutdown(socket.SHUT_RDWR)
    client.disconnect()
    wait_for(lambda: not running(server, "leave_me"), "the query to end")


def test_kill_query_from_another_connection(server: ServerProcess) -> None:
    victim, killer = server.client(), server.client()
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(code_of(victim, LONG.format("kill_me"))))
    thread.start()
    wait_for(lambda: running(server, "kill_me"), "the query to run")
    killer.execute("KILL QUERY WHERE position(query, 'kill_me') > 0 AND query NOT LIKE '%KILL%'")
    thread.join(60)
    assert codes == [394]
    victim.disconnect()
    killer.disconnect()


def test_a_long_query_does_not_block_inserts(server: ServerProcess, table: str) -> None:
    busy, writer = server.client(), server.client()
    writer.execute(f"CREATE TABLE {table} (a UInt32) ENGINE = MergeTree ORDER BY a")
    busy.execute_iter(LONG.format("busy"))
    wait_for(lambda: running(server, "busy"), "the query to run")
    for number in range(20):
        writer.execute(f"INSERT INTO {table} VALUES", [(number,)])
    assert writer.execute(f"SELECT count() FROM {table}") == [(20,)]
    assert running(server, "busy")
    busy.disconnect()
    writer.disconnect()
    wait_for(lambda: not running(server, "busy"), "the query to end")
