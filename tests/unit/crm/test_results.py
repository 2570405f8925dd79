"""What is told to a CRM, and the tries to tell it."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from pydantic import SecretStr

from ringlog.settings import Settings
from ringlog.webhooks import keys_of, verified_id
from schemas.envelope import Event
from schemas.events import CallEvent, CrmDelivery, OptOut, TaskEvent
from streams.crm import outflow, told
from streams.crm.outflow import Outflow, Webhook
from streams.crm.results import CrmResult, Tried, outcome_of_status, result_of

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ENVELOPE = {"event_id": "00000000-0000-0000-0000-000000000001", "occurred_at": 1_769_824_800_000,
            "producer": "test", "customer_id": "c1", "task_id": "t1", "call_id": "k1"}  # fmt: skip
ENDED = CallEvent.model_validate(
    {**ENVELOPE, "kind": "ended", "disposition": "completed", "phone": "+8613800138000"}
)


def result() -> CrmResult:
    found = result_of(ENDED)
    assert found is not None
    return found


def other() -> CrmResult:
    found = result_of(ENDED.model_copy(update={"event_id": "00000000-0000-0000-0000-000000000002"}))
    assert found is not None
    return found


def test_a_call_that_ended_is_told_without_its_number() -> None:
    content = json.loads(result().body)
    assert (content["type"], content["id"]) == ("call.ended", result().result_id)
    assert content["timestamp"] == "2026-01-31T02:00:00.000Z"
    assert content["data"]["customer_id"] == "c1"
    assert content["data"]["disposition"] == "completed"
    assert b"13800138000" not in result().body


@pytest.mark.parametrize(
    ("model", "kind", "wanted"),
    [
        (TaskEvent, "refused", "task.refused"),
        (TaskEvent, "assigned", None),
        (CallEvent, "answered", None),
        (OptOut, "opted_out", "customer.opted_out"),
        (OptOut, "opted_in", "customer.opted_in"),
    ],
)
def test_only_what_is_final_is_told(model: type[Event], kind: str, wanted: str | None) -> None:
    more = {"phone_hash": "h", "reason": "said so"} if model is OptOut else {}
    found = result_of(model.model_validate({**ENVELOPE, "kind": kind, **more}))
    assert (found.kind if found else None) == wanted


@pytest.mark.parametrize(
    ("status", "kind"),
    [(200, "delivered"), (204, "delivered"), (302, "failed"), (400, "refused"), (410, "refused"),
     (404, "failed"), (408, "failed"), (429, "failed"), (500, "failed"), (503, "failed")],
)  # fmt: skip
def test_what_an_answer_means(status: int, kind: str) -> None:
    assert outcome_of_status(status).kind == kind


class Endpoint:
    """A CRM's webhook that answers as told, and keeps what it got."""

    def __init__(self, *statuses: int) -> None:
        self.statuses, self.got = list(statuses), list[tuple[dict[str, str], bytes]]()

    async def take(self, request: web.Request) -> web.Response:
        self.got.append(({n.lower(): v for n, v in request.headers.items()}, await request.read()))
        return web.Response(status=self.statuses.pop(0))

    async def __aenter__(self) -> "Endpoint":
        app = web.Application()
        app.router.add_post("/hook", self.take)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/hook"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()


class Recorder:
    """Stands for the producer."""

    def __init__(self) -> None:
        self.events: list[CrmDelivery] = []

    async def send(self, topic: str, event: CrmDelivery) -> None:
        assert topic == "crm.deliveries"
        self.events.append(event)


async def test_a_webhook_is_signed_tried_again_and_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outflow, "pause_s", lambda failures: 0.0)
    recorder = Recorder()
    async with Endpoint(503, 429, 200, 400) as endpoint:
        webhook = Webhook(
            Settings(crm_results_url=endpoint.url, crm_results_secret=SecretStr(SECRET))
        )
        life = cast(Any, SimpleNamespace(settings=None, service="crm"))
        flow = Outflow(life, cast(Any, recorder), "webhook", webhook.deliver)
        await flow._bring(result())
        await flow._bring(other())
        # A second end of a call has the id of the first, whatever it says; the refused one is over.
        await flow._bring(replace(result(), body=b"{}"))
        await flow._bring(other())
        await webhook.close()
    assert [e.kind for e in recorder.events] == ["failed", "failed", "delivered", "refused"]
    assert [e.status for e in recorder.events] == [503, 429, 200, 400]
    assert len({e.event_id for e in recorder.events}) == 4
    ids = {
        verified_id(keys_of(SECRET), headers, body, int(headers["webhook-timestamp"]))
        for headers, body in endpoint.got
    }
    assert ids == {result().result_id, other().result_id}
    assert {body for _, body in endpoint.got} == {result().body, other().body}


def test_of_many_results_the_newest_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told, "MOST", 3)
    known = told.ToldResults()
    for n in range(5):
        known.add(str(n))
    assert [n for n in range(5) if str(n) in known] == [2, 3, 4]


async def test_an_endpoint_that_is_away_is_a_failed_try() -> None:
    webhook = Webhook(Settings(crm_results_url="http://127.0.0.1:9/hook",
                               crm_results_secret=SecretStr(SECRET)))  # fmt: skip
    outcome = await webhook.deliver(result())
    await webhook.close()
    assert outcome == Tried("failed", reason="ClientConnectorError")
