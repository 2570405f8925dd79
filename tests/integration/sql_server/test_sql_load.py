"""Many clients, large data, and nothing that stays behind."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_driver.errors import Error

from tests.integration.sql_server.support import ServerProcess, wait_for

MIB = 1 << 20


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that takes INSERTs of 8 MiB and writes them in pieces of 1 MiB."""
    server = ServerProcess(
        tmp_path_factory.mktemp("small") / "data", "--insert-mb", "8", "--insert-piece-mb", "1"
    )
    yield server
    assert server.stop() == 0


def test_many_writers_and_readers_lose_nothing(server: ServerProcess, table: str) -> None:
    setup = server.client()
    setup.execute(f"CREATE TABLE {table} (w UInt8, n UInt32) ENGINE = MergeTree ORDER BY (w, n)")
    failures: list[BaseException] = []
    done = threading.Event()

    def write(writer: int) -> None:
        client = server.client(compression="lz4" if writer % 2 else False)
        try:
            for batch in range(15):
                rows = [(writer, batch * 200 + number) for number in range(200)]
                client.execute(f"INSERT INTO {table} VALUES", rows)
        except BaseException as error:
            failures.append(error)
        finally:
            client.disconnect()

    def read() -> None:
        client = server.client()
        try:
            while not done.is_set():
                ((count, most),) = client.execute(f"SELECT count(), max(n) FROM {table}")
                assert count % 200 == 0, "half an insert was seen"
        except BaseException as error:
            failures.append(error)
        finally:
            client.disconnect()

    writers = [threading.Thread(target=write, args=(number,)) for number in range(5)]
    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in writers + readers:
        thread.start()
    for thread in writers:
        thread.join(120)
    done.set()
    for thread in readers:
        thread.join(120)
    assert not failures
    found = setup.execute(f"SELECT w, count(), uniqExact(n) FROM {table} GROUP BY w ORDER BY w")
    assert found == [(writer, 3000, 3000) for writer in range(5)]
    setup.disconnect()


def test_connections_leave_nothing_behind(server: ServerProcess) -> None:
    def held() -> tuple[int, int]:
        base = Path(f"/proc/{server.process.pid}")
        return len(os.listdir(base / "fd")), len(os.listdir(base / "task"))

    def use(count: int) -> None:
        clients = [server.client() for _ in range(count)]
        for client in clients:
            client.execute("SELECT 1")
        for client in clients:
            client.disconnect()

    use(40)
    wait_for(lambda: held()[0] < 200, "the first connections to be gone")
    files, threads = held()
    memory = server.resident_bytes()
    for _ in range(5):
        use(40)
    wait_for(lambda: held()[0] <= files + 5 and held()[1] <= threads + 5, "them to be gone")
    assert server.resident_bytes() - memory < 100 * MIB


def test_a_client_that_does_not_read_holds_little_memory(server: ServerProcess) -> None:
    client = server.client()
    before = server.resident_bytes()
    client.execute_iter("SELECT repeat('x', 1000) FROM numbers(20000000)")  # 20 GB
    other = server.client()
    for _ in range(50):
        other.execute("SELECT sum(number) FROM numbers(100000)")
    assert server.resident_bytes() - before < 700 * MIB
    client.disconnect()
    other.disconnect()


def test_a_large_insert_is_written_in_pieces(small: ServerProcess, table: str) -> None:
    client = small.client(compression="lz4")
    client.execute(f"CREATE TABLE {table} (a UInt32, s String) ENGINE = MergeTree ORDER BY a")
    rows = ((number, "x" * 1000) for number in range(30_000))  # 30 MB, above the limit of one
    client.execute(f"INSERT INTO {table} VALUES", rows, settings={"insert_block_size": 500})
    assert client.execute(f"SELECT count(), sum(a) FROM {table}") == [(30_000, 449_985_000)]
    parts = "SELECT count() FROM system.parts WHERE table = %(t)s AND level = 0"
    assert client.execute(parts, {"t": table}) >= [(2,)]
    client.disconnect()


def test_a_late_piece_that_fails_fails_the_insert(small: ServerProcess, table: str) -> None:
    client = small.client()
    client.execute(
        f"CREATE TABLE {table} (a UInt32, s String, CONSTRAINT c CHECK a != 9999) "
        "ENGINE = MergeTree ORDER BY a"
    )
    rows = ((number, "x" * 1000) for number in range(20_000))
    with pytest.raises(Error) as caught:
        client.execute(f"INSERT INTO {table} VALUES", rows, settings={"insert_block_size": 500})
    assert caught.value.code == 469
    assert client.execute("SELECT 1") == [(1,)]  # in step
    client.disconnect()


def test_an_insert_with_a_token_is_one(small: ServerProcess, table: str) -> None:
    client = small.client()
    client.execute(
        f"CREATE TABLE {table} (a UInt32, s String) ENGINE = MergeTree ORDER BY a "
        "SETTINGS non_replicated_deduplication_window = 100"
    )

    def insert(count: int, token: str) -> None:
        rows = [(number, "x" * 1000) for number in range(count)]
        settings = {"insert_block_size": 500, "insert_deduplication_token": token}
        client.execute(f"INSERT INTO {table} VALUES", rows, settings=settings)

    insert(4000, "first")
    insert(4000, "first")
    assert client.execute(f"SELECT count() FROM {table}") == [(4000,)]
    with pytest.raises(Error) as caught:
        insert(12_000, "second")  # 12 MB does not fit into one
    assert caught.value.code == 241
    insert(100, "third")
    assert client.execute(f"SELECT count() FROM {table}") == [(4100,)]
    client.disconnect()
