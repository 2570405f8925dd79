"""Compares ClickHouse's rows of a demo run with the records seen on Kafka."""

import asyncio
import time

from clickhouse_driver import Client
from clickhouse_driver.errors import Error

from demo.observer import Observer
from ringlog.settings import Settings

_VIEWS = ("calls", "transcripts", "turns", "tasks", "customers", "intents_by_minute")
_WAIT_S = 30.0


def client(config: Settings) -> Client:
    """A clickhouse-driver client on the settings' server."""
    host, port = config.clickhouse_native
    return Client(
        host,
        port=port,
        user=config.clickhouse_user,
        password=config.clickhouse_password.get_secret_value(),
        database=config.clickhouse_database,
        compression="lz4",
    )


def _finals(ch: Client, calls: list[str]) -> list[str]:
    rows = ch.execute(
        "select toString(event_id) from transcripts where call_id in %(calls)s", {"calls": calls}
    )
    return [row[0] for row in rows]


async def check(config: Settings, seen: Observer) -> tuple[dict[str, int], list[str]]:
    """(rows by table, how ClickHouse differs from Kafka); waits for the sink to catch up."""
    deadline = time.monotonic() + _WAIT_S
    while True:
        try:
            rows, failures = await asyncio.to_thread(_compare, config, seen)
        except (Error, OSError) as error:
            rows, failures = {}, [f"ClickHouse: {str(error).splitlines()[0]}"]
        if not failures or time.monotonic() > deadline:
            return rows, failures
        await asyncio.sleep(0.5)


def _compare(config: Settings, seen: Observer) -> tuple[dict[str, int], list[str]]:
    ch = client(config)
    try:
        failures = []
        expected = sorted(f.event_id for f in seen.finals)
        calls = sorted({f.call_id for f in seen.finals if f.call_id}) or [""]
        found = sorted(_finals(ch, calls))
        if found != expected:
            missing, extra = set(expected) - set(found), set(found) - set(expected)
            failures.append(
                f"transcripts in ClickHouse: {len(found)} of {len(expected)}; "
                f"missing {sorted(missing)[:3]}, extra {sorted(extra)[:3]}"
            )
        ended = ch.execute(
            "select count() from calls where campaign_id = %(c)s and state = 'ended'",
            {"c": seen.campaign_id},
        )[0][0]
        if ended != len(seen.terminals):
            failures.append(f"ended calls in ClickHouse: {ended} of {len(seen.terminals)}")
        rows = {view: ch.execute(f"select count() from {view}")[0][0] for view in _VIEWS}
        return rows, failures
    finally:
        ch.disconnect()
