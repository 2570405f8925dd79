"""Answers from ClickHouse, which may be away, for what is older than the folded span."""

import json
from collections.abc import Sequence
from typing import Any

import aiohttp

from ringlog.settings import Settings

_CALL = """
select call_id, state, task_id, customer_id, campaign_id, pool, robot_id,
       toUnixTimestamp64Milli(started_at) as started_at,
       toUnixTimestamp64Milli(answered_at) as answered_at,
       toUnixTimestamp64Milli(ended_at) as ended_at, cause_q850, disposition
from calls where call_id = {id:String} limit 1"""

_DIGESTS = """
select task_id, argMin(body_sha256, (_partition, _offset)) as body_sha256
from raw_tasks_requested where task_id in {id:Array(String)} and kind = 'requested'
group by task_id"""

_TASK_STATE = """
select task_id, status, reason, call_id, robot_id, attempt, customer_id, campaign_id, pool
from tasks where task_id = {id:String} limit 1"""


class HistoryRows:
    """Rows of history. None is 'not there'; every method raises HistoryAway."""

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

    async def digests(self, task_ids: Sequence[str]) -> dict[str, str]:
        """Digests of the requests that made tasks, for those of these tasks that are there."""
        if not task_ids:
            return {}
        rows = await self._rows(
            _DIGESTS, "[" + ",".join(f"'{task_id}'" for task_id in task_ids) + "]"
        )
        return {str(row["task_id"]): str(row["body_sha256"]) for row in rows}

    async def task(self, task_id: str) -> dict[str, Any] | None:
        """A task's row."""
        return await self._row(_TASK_STATE, task_id)

    async def _row(self, query: str, key: str) -> dict[str, Any] | None:
        rows = await self._rows(query, key)
        return rows[0] if rows else None

    async def _rows(self, query: str, key: str) -> list[dict[str, Any]]:
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
        return [json.loads(line) for line in text.splitlines()]


def _escaped(text: str) -> str:
    """A query parameter as ClickHouse reads it: as a field of a tab-separated file."""
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


class HistoryAway(Exception):
    """ClickHouse did not answer; the text says how."""
