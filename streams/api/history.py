"""Answers from ClickHouse, which may be away, for what is older than the folded span."""

import json
from typing import Any

import aiohttp

from ringlog.settings import Settings

_CALL = """
select call_id, state, task_id, customer_id, campaign_id, pool, robot_id,
       toUnixTimestamp64Milli(started_at) as started_at,
       toUnixTimestamp64Milli(answered_at) as answered_at,
       toUnixTimestamp64Milli(ended_at) as ended_at, cause_q850, disposition
from calls where call_id = {id:String} limit 1"""

_TASK = """
select body_sha256, customer_id, campaign_id, pool
from raw_tasks_requested where task_id = {id:String} and kind = 'requested'
order by _partition, _offset limit 1"""

_TASK_STATE = """
select task_id, status, reason, call_id, robot_id, attempt, customer_id, campaign_id, pool
from tasks where task_id = {id:String} limit 1"""


class HistoryRows:
    """Rows of history. Every method returns None for 'not there', and raises HistoryAway."""

    def __init__(self, config: Settings) -> None:
        self._url = config.clickhouse_http + "/"
        self._database = config.clickhouse_database
        self._headers = {
            "X-ClickHouse-User": config.clickhouse_user,
            "X-ClickHouse-Key": config.clickhouse_password.get_secret_value(),
        }

    async def call(self, call_id: str) -> dict[str, Any] | None:
        """A call's row."""
        return await self._row(_CALL, call_id)

    async def request(self, task_id: str) -> dict[str, Any] | None:
        """The request that made a task."""
        return await self._row(_TASK, task_id)

    async def task(self, task_id: str) -> dict[str, Any] | None:
        """A task's row."""
        return await self._row(_TASK_STATE, task_id)

    async def _row(self, query: str, key: str) -> dict[str, Any] | None:
        timeout = aiohttp.ClientTimeout(total=5)
        params = {
            "database": self._database,
            "default_format": "JSONEachRow",
            "output_format_json_quote_64bit_integers": "0",
            "param_id": _escaped(key),
        }
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(
                    self._url, params=params, data=query.encode(), headers=self._headers
                ) as answer,
            ):
                if answer.status != 200:
                    raise HistoryAway((await answer.text())[:300])
                text = (await answer.text()).strip()
        except (TimeoutError, aiohttp.ClientError) as error:
            raise HistoryAway(type(error).__name__) from None
        if not text:
            return None
        row: dict[str, Any] = json.loads(text.splitlines()[0])
        return row


def _escaped(text: str) -> str:
    """A query parameter as ClickHouse reads it: as a field of a tab-separated file."""
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


class HistoryAway(Exception):
    """ClickHouse did not answer; the text says how."""
