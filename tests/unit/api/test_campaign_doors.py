"""Campaigns over HTTP, with a log in memory."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from ringlog import yaml_source
from ringlog.campaigns.aggregate import CampaignChange, Who, decide
from ringlog.settings import root
from ringlog.site_key import site_key
from schemas.events import (
    Campaign,
    CampaignContact,
    CustomerChange,
    OptOut,
    RobotStatus,
    TaskRequested,
)
from schemas.phone import Numbers
from streams.api import campaigns, lists
from streams.api.contacts import ContactLog
from streams.api.standing import OptOuts
from tests.unit.api.test_doors import World
from tests.unit.campaigns.test_campaign_lists import table

SETTINGS = {"playbook": "promotion", "purpose": "service", "recording_notice": True}
LIST = """手机号,姓名,amount_due
13800138000,李明,12
13900139000,Ann,7
12,short,
138 0013 8000,again,
"""


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    world = World(tmp_path)

    async def of(_: ContactLog, campaign_id: str) -> AsyncIterator[list[CampaignContact]]:
        yield [e for e in world.log.events if isinstance(e, CampaignContact)]

    monkeypatch.setattr(ContactLog, "of", of)
    world.hub._fold(robot())
    async with world:
        yield world


def robot(**values: Any) -> RobotStatus:
    return RobotStatus.model_validate(
        {"event_id": "0" * 36, "occurred_at": 1, "producer": "t", "robot_id": "r",
         "pool": "default", "playbooks": ["promotion"]} | values
    )  # fmt: skip


async def made(api: World, **settings: Any) -> None:
    body = {"campaign_id": "spring", "settings": SETTINGS | settings, "actor": "ada"}
    status, told = await api.ask("POST", "/api/campaigns", json=body)
    assert (status, told["state"], told["version"]) == (201, "draft", 1)


async def step(api: World, name: str, **body: Any) -> tuple[int, Any]:
    return await api.ask("POST", f"/api/campaigns/spring/{name}", json=body)


async def test_a_campaigns_life_is_on_the_log_with_who_did_it(api: World) -> None:
    await made(api)
    body = {"campaign_id": "spring", "settings": SETTINGS, "actor": "ada"}
    assert (await api.ask("POST", "/api/campaigns", json=body))[0] == 200, "the same again"
    body["settings"] = SETTINGS | {"budget": 9}
    assert (await api.ask("POST", "/api/campaigns", json=body))[0] == 409
    assert (await step(api, "pause"))[0] == 409, "a draft cannot pause"
    for name, state in (("start", "running"), ("start", "running"), ("pause", "paused"),
                        ("resume", "running")):  # fmt: skip
        status, told = await step(api, name, actor="bob", reason="so")
        assert (status, told["state"]) == (200, state)
    change = {"settings": SETTINGS | {"budget": 5}, "actor": "eve"}
    status, told = await api.ask("PUT", "/api/campaigns/spring", json=change)
    assert (status, told["version"], told["settings"]["budget"]) == (200, 5, 5)
    assert (await step(api, "stop"))[1]["state"] == "ended"
    assert (await api.ask("PUT", "/api/campaigns/spring", json=change))[0] == 409
    versions = [e for e in api.log.events if isinstance(e, Campaign)]
    assert [(e.version, e.action, e.actor) for e in versions] == [
        (1, "created", "ada"), (2, "started", "bob"), (3, "paused", "bob"), (4, "resumed", "bob"),
        (5, "changed", "eve"), (6, "stopped", "api"),
    ]  # fmt: skip
    assert (await api.ask("GET", "/api/campaigns/none"))[0] == 404
    items = (await api.ask("GET", "/api/campaigns"))[1]["items"]
    assert [i["state"] for i in items] == ["ended"]


@pytest.mark.parametrize(
    "values", [{"state": "removed"}, {"pool": "other"}, {"playbooks": ["another"]}]
)
async def test_a_campaign_that_no_robot_can_call_for_does_not_start(
    api: World, values: dict[str, Any]
) -> None:
    """Dispatch would refuse its contacts for good."""
    await made(api)
    api.hub._fold(robot(**values))
    status, told = await step(api, "start")
    assert (status, told["type"]) == (409, "/problems/no-robot-for-it")
    assert "'default'" in told["detail"] and "'promotion'" in told["detail"]
    api.hub._fold(robot(state="paused"))
    assert (await step(api, "start"))[0] == 200


async def test_of_many_steps_at_once_each_version_is_made_once(api: World) -> None:
    await made(api)
    await step(api, "start")
    answers = await asyncio.gather(*(step(api, ("pause", "resume")[n % 2]) for n in range(20)))
    assert {status for status, _ in answers} <= {200, 409}
    versions = [e.version for e in api.log.events if isinstance(e, Campaign)]
    assert versions == list(range(1, len(versions) + 1))


@pytest.mark.parametrize("more", [0, 1])
async def test_a_change_that_another_process_was_ahead_of_is_409(
    api: World, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    """The other one wrote the same version, and perhaps the next one too, before ours is read."""
    await made(api)
    draft = api.hub.campaigns.get("spring")
    assert draft is not None
    theirs = decide(draft, CampaignChange("start"), Who("eve", 7))
    assert theirs is not None
    ahead = [theirs]
    if more:
        paused = decide(theirs, CampaignChange("pause"), Who("eve", 8))
        assert paused is not None
        ahead.append(paused)
    send = api.log.send

    async def late(topic: str, event: Any) -> None:
        for other in ahead:
            await send(topic, other)
        await send(topic, event)

    monkeypatch.setattr(api.log, "send", late)
    status, told = await step(api, "start", actor="bob")
    assert (status, told["type"]) == (409, "/problems/changed-meanwhile")
    assert "eve has started the campaign" in told["detail"]


async def test_a_change_that_is_not_read_in_time_is_no_success(
    api: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await made(api)

    async def lost(topic: str, event: Any) -> None:
        api.log.events.append(event)

    monkeypatch.setattr(api.log, "send", lost)
    monkeypatch.setattr(campaigns, "SEEN_S", 0.05)
    status, told = await step(api, "start")
    assert (status, told["type"]) == (503, "/problems/not-seen-yet")


async def test_a_version_that_comes_as_its_waiter_gives_up_does_not_stop_the_fold(
    api: World,
) -> None:
    await made(api)
    draft = api.hub.campaigns.get("spring")
    assert draft is not None
    started = decide(draft, CampaignChange("start"), Who("ada", 7))
    assert started is not None
    with api.hub.version_of(started.event_id) as first:
        first.cancel()
        api.hub._fold(started)
    assert api.hub.campaigns.get("spring") == started


@pytest.mark.parametrize(
    "settings",
    [{"purpose": "fun"}, {"ahead": "1"}, {"recording_notice": 1}, {"caps": {"number_day": "2"}},
     {"windows": {"any": ["9-12"]}}, {"budget": 0}, {"nothing": 1},
     {"caller_ids": ["010"]}, {"calls_per_s": "fast"}],
)  # fmt: skip
async def test_wrong_settings_name_the_field(api: World, settings: dict[str, Any]) -> None:
    body = {"campaign_id": "spring", "settings": SETTINGS | settings}
    status, told = await api.ask("POST", "/api/campaigns", json=body)
    assert status == 422 and next(iter(settings)) in told["detail"]
    assert not api.log.events


async def test_a_list_is_loaded_rehearsed_and_adds_nobody_twice(api: World) -> None:
    await made(api)
    path = "/api/campaigns/spring/import?format=csv&actor=ada"
    status, told = await api.ask("POST", path, data=LIST.encode())
    assert status == 200
    counts = ("rows", "added", "duplicates", "invalid")
    assert [told[name] for name in counts] == [4, 2, 1, 1]
    assert [(e["row"], e["duplicate"]) for e in told["errors"]] == [(3, False), (4, True)]
    assert told["errors"][0]["cells"]["手机号"] == "12"
    again = (await api.ask("POST", path, data=LIST.encode()))[1]
    assert [again[name] for name in counts] == [4, 0, 3, 1]
    contacts = [e for e in api.log.events if isinstance(e, CampaignContact)]
    changes = [e for e in api.log.events if isinstance(e, CustomerChange)]
    assert [c.phone for c in contacts] == [c.phone for c in changes]
    assert contacts[0].actor == "ada" and changes[0].attributes == {"amount_due": "12"}
    barred = Numbers("CN", site_key(api.config)).hash("+8613800138000")
    api.hub._fold(
        OptOut(event_id="0" * 36, kind="opted_out", occurred_at=1, producer="t",
               phone_hash=barred, reason="asked")
    )  # fmt: skip
    status, told = await step(api, "dry-run")
    assert status == 415, "a JSON body is no list"
    status, told = await api.ask("POST", "/api/campaigns/spring/dry-run")
    assert (status, told["rows"], told["never"]) == (200, 2, {"do_not_call": 1})
    assert told["ready"] + sum(x["contacts"] for x in told["later"].values()) == 1
    assert "1 on the do-not-call list" in told["words"]
    path = "/api/campaigns/spring/dry-run?format=csv"
    told = (await api.ask("POST", path, data=LIST.encode()))[1]
    assert (told["rows"], told["invalid"], told["duplicates"]) == (4, 1, 1)
    assert "1 rows not valid" in told["words"]


async def test_an_import_tells_how_far_it_is(api: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await made(api)
    path = "/api/campaigns/spring/import"
    assert (await api.ask("GET", path))[1]["state"] == "none"
    monkeypatch.setattr(campaigns, "CHUNK", 1)
    send_all, seen = api.log.send_all, []

    async def slow(records: Any) -> None:
        seen.append((await api.ask("GET", path))[1])
        await send_all(records)

    monkeypatch.setattr(api.log, "send_all", slow)
    told = (await api.ask("POST", f"{path}?format=csv", data=LIST.encode()))[1]
    assert [(s["state"], s["rows"], s["added"]) for s in seen] == [
        ("loading", 0, 0), ("loading", 1, 1), ("loading", 2, 2), ("loading", 3, 2),
    ]  # fmt: skip
    counts = {name: told[name] for name in told if name != "errors"}
    assert (await api.ask("GET", path))[1] == counts | {"state": "done"}
    await api.ask("POST", f"{path}?format=csv", data=b"name\nx")
    assert (await api.ask("GET", path))[1]["state"] == "failed"
    assert (await api.ask("GET", "/api/campaigns/none/import"))[0] == 404


async def test_the_api_answers_others_while_a_list_is_rehearsed(
    api: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A contact is looked up in another thread, which asks the API meanwhile and waits for it."""
    await made(api)
    await api.ask("POST", "/api/campaigns/spring/import?format=csv", data=LIST.encode())
    scope, answers = OptOuts.scope, []

    def asking(self: OptOuts, *words: Any) -> Any:
        url = f"http://127.0.0.1:{api.port}/api/campaigns/spring"
        answers.append(urllib3.request("GET", url, timeout=30, retries=False).status)
        return scope(self, *words)

    monkeypatch.setattr(OptOuts, "scope", asking)
    for body in (None, LIST.encode()):
        path = f"/api/campaigns/spring/dry-run{'?format=csv' if body else ''}"
        assert (await api.ask("POST", path, data=body))[0] == 200
    assert answers == [200] * 4


@pytest.mark.parametrize(
    ("query", "data", "status"),
    [
        ("", b"phone\n1", 415),
        ("format=pdf", b"phone\n1", 422),
        ("format=csv", b"name\nx", 422),
        ("format=csv&map=name:phone&map=x", b"name\n13800138000", 422),
        ("format=csv&map=no:phone", b"name\n13800138000", 422),
        ("format=xlsx", b"PK", 422),
        ("format=csv&map=name:phone", b"name\n13800138000", 200),
        ("format=csv", b"phone\n", 200),
    ],
)
async def test_lists_that_cannot_be_read(api: World, query: str, data: bytes, status: int) -> None:
    await made(api)
    found, told = await api.ask("POST", f"/api/campaigns/spring/import?{query}", data=data)
    assert found == status, told


async def test_an_excel_file_is_loaded(api: World, tmp_path: Path) -> None:
    await made(api)
    file = table(tmp_path, "xlsx", [["手机", "金额"], [13800138000, 12], [13900139000.0, 1.5]])
    path = "/api/campaigns/spring/import?format=xlsx"
    status, told = await api.ask("POST", path, data=file.read_bytes())
    assert (status, told["added"]) == (200, 2)
    contacts = [e for e in api.log.events if isinstance(e, CampaignContact)]
    assert [c.attributes for c in contacts] == [{"金额": "12"}, {"金额": "1.5"}]


async def test_a_list_over_the_limit_is_413(api: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "MAX_BYTES", 100_000)
    await made(api)
    path = "/api/campaigns/spring/import?format=csv"
    assert (await api.ask("POST", path, data=b"x" * 300_000))[0] == 413


async def test_a_list_of_numbers_is_barred_and_undone_and_barred_again(api: World) -> None:
    path = "/api/optouts/import?format=csv&reason=register&actor=ada"
    data = "手机,x\n13800138000,1\n12,2\n138 0013 8000,3\n13900139000,4\n".encode()
    status, told = await api.ask("POST", path, data=data)
    assert (status, told["rows"], told["invalid"]) == (200, 4, 1)
    assert told["errors"][0]["cells"] == {"手机": "12", "x": "2"}
    assert (await api.ask("POST", path, data=data))[1]["standing"] == 3
    items = (await api.ask("GET", "/api/optouts"))[1]["items"]
    assert {(i["reason"], i["source"], i["actor"]) for i in items} == {("register", "list", "ada")}
    assert len(items) == 2
    await api.ask("DELETE", f"/api/optouts/{items[0]['id']}")
    assert (await api.ask("POST", path, data=data))[1]["added"] >= 1
    assert len((await api.ask("GET", "/api/optouts"))[1]["items"]) == 2
    for query in ("format=csv", "format=csv&reason=x&scope=mine",
                  "format=csv&reason=x&scope=campaign"):  # fmt: skip
        assert (await api.ask("POST", f"/api/optouts/import?{query}", data=data))[0] == 422
    assert (await api.ask("POST", path, data=b"x\n1\n"))[0] == 422
    tenant = path + "&scope=tenant"
    assert (await api.ask("POST", tenant, data=data))[0] == 200


async def test_a_test_call_belongs_to_no_campaign(api: World) -> None:
    await made(api)
    status, told = await step(api, "test-call", phone="138 0013 8000")
    assert status == 202
    task = next(e for e in api.log.events if isinstance(e, TaskRequested))
    assert (task.task_id, task.phone, task.campaign_id, task.playbook) == (
        told["task_id"], "+8613800138000", None, "promotion",
    )  # fmt: skip
    assert (await step(api, "test-call", phone="110"))[0] == 422


async def test_the_example_is_valid(api: World) -> None:
    file = root() / "examples" / "campaign.yaml"
    await made(api, **yaml_source.parse(file.read_text(encoding="utf-8"), file.name).data)


async def test_rows_that_are_loaded_already_leave_room_for_those_at_fault(
    api: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaigns, "DUPLICATES_SHOWN", 2)
    monkeypatch.setattr(campaigns, "ERRORS_SHOWN", 2)
    monkeypatch.setattr(campaigns, "ERRORS_CHARACTERS", 40)
    await made(api)
    rows = ["phone,x", *["13800138000,a"] * 9, "12,a", "13,a", "14,a", "15," + "b" * 40]
    status, told = await api.ask(
        "POST", "/api/campaigns/spring/import?format=csv", data="\n".join(rows).encode()
    )
    assert (status, told["duplicates"], told["invalid"]) == (200, 8, 4)
    shown = [(e["row"], e["duplicate"]) for e in told["errors"]]
    assert shown == [(2, True), (3, True), (10, False), (11, False)]


async def test_a_list_in_a_broken_encoding_is_refused(api: World) -> None:
    await made(api)
    headers = {"Content-Encoding": "gzip", "Content-Type": "text/csv", "Connection": "close"}
    for door in ("import", "dry-run"):
        found, told = await api.ask(
            "POST", f"/api/campaigns/spring/{door}", data=b"phone\n13800138000", headers=headers
        )
        assert (found, told["type"]) == (400, "/problems/unreadable-body")
