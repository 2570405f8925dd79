"""Who asks not to be called is not, and a call that is taken back ends with a goodbye: from a voice
on the telephone to what the stores hold."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
import pytest

from demo.campaign import PLAYBOOK, POOL, carrier_of, customer_of, tell_crm
from demo.observer import Observer
from demo.people import Expected, Person, load, phone_of
from ringlog.clock import now_ms
from ringlog.kafka.producer import EventProducer
from ringlog.settings import Settings
from stack import environment

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(600)]

PATIENCE_S = 120.0


class Desk:
    """Asks for calls, and watches what comes of them."""

    def __init__(self, config: Settings, name: str, cast: dict[str, Person]) -> None:
        self.config, self.name, self.cast = config, name, cast
        self.seen = Observer(name)
        self.http = aiohttp.ClientSession()

    async def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The answer, whatever its status."""
        async with self.http.post(f"{self.config.api_url}{path}", json=body or {}) as answer:
            found: dict[str, Any] = await answer.json()
            return found | {"http": answer.status}

    async def assign(self, n: int, **fields: Any) -> dict[str, Any]:
        """A call to the n-th person."""
        body = {
            "customer_id": customer_of(self.name, n), "phone": list(self.cast)[n], "pool": POOL,
            "playbook": PLAYBOOK, "campaign_id": self.name, "wait_ms": 0,
        }  # fmt: skip
        return await self.post("/api/tasks/assign", body | fields)

    async def until(self, what: str, look: Callable[[], Any]) -> Any:
        """What `look` finds in what was seen; raises AssertionError."""
        end = time.monotonic() + PATIENCE_S
        while not (found := look()):
            assert time.monotonic() < end, f"waited in vain for {what}"
            await asyncio.sleep(0.1)
        return found

    async def over(self, task_id: str) -> tuple[str, str | None]:
        """Kind and reason of the task's last event, once it is over."""
        await self.until("the task's end", lambda: task_id in self.seen.finished_tasks())
        last = self.seen.tasks[task_id][-1]
        return last.kind, last.reason


@asynccontextmanager
async def desk_of(
    config: Settings, monkeypatch: pytest.MonkeyPatch, *people: Person
) -> AsyncIterator[Desk]:
    """A carrier with these people, and their records in a CRM."""
    for name, value in environment.of_services(config).items():
        monkeypatch.setenv(name, value)
    run = int(time.time())
    name = f"stop-{run}"
    desk = Desk(config, name, {phone_of(run, n): person for n, person in enumerate(people)})
    async with (
        carrier_of(config, name, desk.cast),
        EventProducer(config, "test-stop") as producer,
        desk.http,
    ):
        following = asyncio.create_task(desk.seen.follow(config, producer, now_ms()))
        try:
            await tell_crm(producer, name, desk.cast)
            yield desk
        finally:
            following.cancel()


def silent(**fields: Any) -> Person:
    """Somebody who answers and says nothing."""
    return Person(
        name="silent", voice="cmn-latn-pinyin+m5", expects=Expected(disposition="completed"),
        **fields,
    )  # fmt: skip


async def test_a_running_call_that_is_taken_back_ends_with_a_goodbye(
    product: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk_of(product, monkeypatch, silent()) as desk:
        task = (await desk.assign(0))["task_id"]

        def speaking() -> Any:
            return [e for call in desk.seen.calls.values() for e in call
                    if e.kind == "playout_started"]  # fmt: skip

        await desk.until("the greeting", speaking)
        assert (await desk.post(f"/api/tasks/{task}/cancel"))["http"] in (200, 202)
        assert await desk.over(task) == ("cancelled", "cancelled")
        [(call_id, events)] = desk.seen.calls.items()
        kinds = [e.kind for e in events]
        assert kinds.count("withdrawn") == kinds.count("ended") == 1
        assert next(e for e in events if e.kind == "ended").disposition == "cancelled"
        # The goodbye was said to its end, and the robot hung up behind it.
        [turn] = [t for t in desk.seen.turns if t.input_kind == "withdrawn"]
        said = [d for d in desk.seen.directives if d.directive_id in turn.directive_ids]
        assert [d.kind for d in said if d.kind in ("say", "hangup")] == ["say", "hangup"]
        [goodbye] = [d.directive_id for d in said if d.kind == "say"]
        played = [e for e in events if e.directive_id == goodbye]
        assert [e.kind for e in played] == ["playout_started", "playout_ended"]
        assert played[-1].heard_ms == played[-1].prompt_ms
        assert {t.call_id for t in desk.seen.turns} == {call_id}
    verified(product)


async def test_an_opt_out_said_on_the_telephone_counts_from_that_second(
    product: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    hates_it = next(p for p in load() if p.expects.disposition == "opted_out")
    async with desk_of(product, monkeypatch, hates_it, silent()) as desk:
        first = (await desk.assign(0))["task_id"]
        later = now_ms() + 3_600_000
        # The same customer waits in the queue with this number, and with another one.
        waits = [
            (await desk.assign(0, not_before=later))["task_id"],
            (await desk.assign(0, not_before=later, phone=list(desk.cast)[1]))["task_id"],
        ]
        for task in waits:
            await desk.until("the queue", partial(desk.seen.tasks.get, task))
        await desk.over(first)
        for task in waits:
            assert await desk.over(task) == ("refused", "opted_out")
        for phone in desk.cast:
            answer = await desk.assign(0, phone=phone)
            assert await desk.over(answer["task_id"]) == ("refused", "opted_out")
    verified(product)


def verified(config: Settings) -> None:
    """Nothing is wrong on the log or in the stores."""
    run = subprocess.run(
        [sys.executable, "-m", "cli.main", "verify", "--settle", "60"],
        env=environment.of_services(config), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-5_000:] + run.stderr[-1_000:]
