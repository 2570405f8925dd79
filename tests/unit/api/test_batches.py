"""`POST /api/tasks/assign` with many requests: each is answered alone, and a repeat goes on."""

from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError

from ringlog.clock import now_ms
from schemas import ids
from schemas.envelope import Event
from schemas.wire import TooLarge
from streams.api.models import BATCH_BYTES, BATCH_ITEMS, AssignRequest
from tests.unit.api.test_doors import BODY, JSON, World, api

__all__ = ["api"]

DOOR = "/api/tasks/assign"


def bodies(count: int) -> list[dict[str, Any]]:
    return [BODY | {"customer_id": f"c-{n}"} for n in range(count)]


async def ask(api: World, tasks: list[Any], key: str | None = None) -> list[dict[str, Any]]:
    headers = {} if key is None else {"Idempotency-Key": key}
    status, told = await api.ask("POST", DOOR, json={"tasks": tasks}, headers=headers)
    assert status == 207, told
    items: list[dict[str, Any]] = told["items"]
    return items


async def test_a_fault_in_one_request_is_answered_there_and_the_others_are_taken(
    api: World,
) -> None:
    good = bodies(3)
    late = BODY | {"deadline": now_ms() - 1_000}
    items = await ask(api, [good[0], "no object", good[1] | {"phone": "110"}, late, good[2]])
    assert [item["status"] for item in items] == [202, 422, 422, 422, 202]
    assert [item["problem"]["type"] for item in items[1:4]] == ["/problems/invalid-request"] * 3
    assert [e.customer_id for e in api.requests] == ["c-0", "c-2"]
    assert items[0]["task"] == {"task_id": api.requests[0].task_id, "status": "queued"}


async def test_a_batch_repeated_after_half_of_it_was_lost_gives_the_same_tasks(
    api: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, wanted = api.log.send, bodies(20)

    async def flaky(topic: str, event: Event) -> None:
        n = int((event.customer_id or "c-0")[2:])
        if n % 4 == 1:
            raise KafkaTimeoutError
        if n == 6:
            raise TooLarge("tasks.requested")
        await send(topic, event)

    monkeypatch.setattr(api.log, "send", flaky)
    first = await ask(api, wanted, "k")
    kinds = {n: item["problem"]["type"] for n, item in enumerate(first) if "problem" in item}
    assert kinds == dict.fromkeys((1, 5, 9, 13, 17), "/problems/not-recorded") | {
        6: "/problems/too-large"
    }
    monkeypatch.setattr(api.log, "send", send)
    again = await ask(api, wanted, "k")
    assert [item["status"] for item in again] == [202] * 20
    assert all(a == b for n, (a, b) in enumerate(zip(first, again, strict=True)) if n not in kinds)
    assert sorted(e.customer_id or "" for e in api.requests) == sorted(
        b["customer_id"] for b in wanted
    )
    assert await ask(api, wanted, "k") == again
    assert len(api.requests) == 20


async def test_another_body_at_a_place_is_a_conflict_there_alone(api: World) -> None:
    first = await ask(api, bodies(3), "k")
    changed = bodies(4)
    changed[1] = changed[1] | {"priority": "high"}
    again = await ask(api, changed, "k")
    assert [item["status"] for item in again] == [202, 409, 202, 202]
    assert again[1]["problem"]["task_id"] == first[1]["task"]["task_id"]
    assert len(api.requests) == 4


async def test_a_deadline_that_passes_does_not_change_the_answer_to_a_repeat(api: World) -> None:
    body = BODY | {"deadline": now_ms() + 60_000}
    first = await ask(api, [body], "k")
    digest = AssignRequest.model_validate(body | {"phone": "+8613800138000"}).sha256()
    (request,) = api.requests
    assert request.body_sha256 == digest
    past = BODY | {"deadline": now_ms() - 60_000}
    known = AssignRequest.model_validate(past | {"phone": "+8613800138000"}).sha256()
    status, told = await api.ask("POST", DOOR, json=past, headers={"Idempotency-Key": "old"})
    assert (status, told["detail"]) == (422, "deadline: it has passed")
    api.rows[ids.task_id("default", DOOR, "old")] = {"body_sha256": known}
    assert (await api.ask("POST", DOOR, json=past, headers={"Idempotency-Key": "old"}))[0] == 202
    assert await ask(api, [body], "k") == first


async def test_a_batch_and_a_single_request_of_one_key_are_different_tasks(api: World) -> None:
    (item,) = await ask(api, bodies(1), "k")
    _, single = await api.ask("POST", DOOR, json=bodies(1)[0], headers={"Idempotency-Key": "k#0"})
    assert item["task"]["task_id"] != single["task_id"]


async def test_while_clickhouse_is_away_only_what_is_known_here_is_answered(api: World) -> None:
    await ask(api, bodies(2), "k")
    api.away = True
    items = await ask(api, bodies(3), "k")
    assert [item["status"] for item in items] == [202, 202, 503]
    assert items[2]["problem"]["type"] == "/problems/history-does-not-answer"
    assert [item["status"] for item in await ask(api, bodies(2))] == [202, 202]


async def test_a_batch_has_limits(api: World) -> None:
    for tasks, status in (([], 422), (bodies(BATCH_ITEMS + 1), 422), ("x", 422)):
        assert (await api.ask("POST", DOOR, json={"tasks": tasks}))[0] == status
    assert (await api.ask("POST", DOOR, json={"tasks": bodies(1), "more": 1}))[0] == 422
    data = b'{"tasks": ["' + b"x" * BATCH_BYTES + b'"]}'
    assert (await api.ask("POST", DOOR, data=data, headers=JSON))[0] == 413
    assert not api.requests
    items = await ask(api, bodies(BATCH_ITEMS), "whole")
    assert {item["status"] for item in items} == {202} and len(api.requests) == BATCH_ITEMS
