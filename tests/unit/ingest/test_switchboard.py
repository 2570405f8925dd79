"""The switchboard with switches of paper: who holds a call, changes of the plan, late voices."""

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import Any

import pytest

from ingest.call.types import Call, LineFound, NoLine
from ingest.trunks.driver import IncomingCall, LineEvent, Listener, MediaAddress, Medium, Order
from ingest.trunks.plan import SitePlan, SwitchPlan, TrunkPlan
from ingest.trunks.router import TrunkRouter
from ingest.trunks.status import REPEAT_MS, TrunkStatuses
from ingest.trunks.switchboard import Switchboard
from tests.unit.ingest.test_edge_calls import new_call


class PaperSwitch:
    medium: Medium = "rtp"
    sends_keys = False
    keeps_calls = False
    connected = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.listener: Listener | None = None
        self.hung_up: list[str] = []
        self.closed = False

    async def start(self, listener: Listener) -> None:
        self.listener = listener

    async def dial(self, order: Order) -> MediaAddress | None:
        raise NotImplementedError

    async def adopt(
        self, call_id: str, ours: MediaAddress | None, try_no: int = 1, answered: bool = False,
        placed_by: str = "", anew: bool = False,
    ) -> bool:  # fmt: skip
        return True

    def let_go(self, call_id: str) -> None:
        raise NotImplementedError

    async def send_keys(self, call_id: str, digits: str) -> None:
        raise NotImplementedError

    async def hang_up(self, call_id: str) -> None:
        self.hung_up.append(call_id)

    async def transfer(self, call_id: str, target: str) -> bool:
        return False

    async def close(self) -> None:
        self.closed = True


class Ear:
    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def on_progress(self, call_id: str, progress: LineEvent) -> None:
        self.heard.append((call_id, progress.kind))

    def on_media(self, call_id: str, theirs: MediaAddress) -> None:
        self.heard.append((call_id, "media"))

    async def came_in(self, call: IncomingCall) -> MediaAddress | None:
        return None

    def on_reachable(self, trunk: str, reachable: bool) -> None:
        self.heard.append((trunk, str(reachable)))

    def calls_on(self, switch: str) -> dict[str, str]:
        return {}


class Desk:
    """A switchboard of an edge, and all switches that were ever made for it."""

    def __init__(self) -> None:
        self.made: list[PaperSwitch] = []
        self.ear = Ear()
        self.work: list[asyncio.Task[None]] = []
        self.router = TrunkRouter(plan())
        self.board = Switchboard("e", self.router, self.spawn, self.make)

    def make(self, name: str, plan: SwitchPlan, trunks: Mapping[str, TrunkPlan]) -> PaperSwitch:
        if plan.url == "bad":
            raise ValueError("no password")
        self.made.append(PaperSwitch(name))
        return self.made[-1]

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self.work.append(asyncio.create_task(work))


def plan(urls: Mapping[str, str] | None = None, **trunks: dict[str, Any]) -> SitePlan:
    urls = urls or {"one": "u1", "two": "u2"}
    given = trunks or {"a": {"switch": "one", "endpoint": "SIP/{digits}"}, "b": {"switch": "two"}}
    switches = {name: {"type": "sim", "url": url} for name, url in urls.items()}
    return SitePlan.model_validate({"switches": switches, "trunks": given})


def call(n: int = 1) -> Call:
    made = new_call()
    return replace(made, identity=replace(made.identity, call_id=f"c{n}", task_id=f"t{n}"))


async def started() -> Desk:
    desk = Desk()
    await desk.board.start(desk.ear)
    return desk


async def test_a_call_is_held_by_the_switch_of_its_trunk() -> None:
    desk = await started()
    found = desk.board.find(call(), ["e"], 1_000)
    assert isinstance(found, LineFound)
    switch = {"a": "one", "b": "two"}[found.trunk]
    assert desk.board.of("c1").name == switch and desk.board.calls_of(switch) == ["c1"]
    routed = replace(call(), trunk="a", tries=2, caller_id="+8610")
    order = desk.board.order(routed, "+8613800000000", "pcmu", None, 9)
    assert (order.endpoint, order.try_no, order.caller_id) == ("SIP/8613800000000", 2, "+8610")
    desk.board.forget("c1")
    assert desk.board.calls_of(switch) == []
    desk.board.holds("c9", "b")
    assert desk.board.of("c9").name == "two"


async def test_a_try_that_was_given_up_and_rings_is_ended() -> None:
    desk = await started()
    one, two = desk.made
    desk.board.holds("c1", "b")
    assert one.listener is not None and two.listener is not None
    one.listener.on_progress("c1", LineEvent("ended", 1))
    one.listener.on_progress("c1", LineEvent("ringing", 2))
    one.listener.on_media("c1", MediaAddress("h", 1, None))
    two.listener.on_progress("c1", LineEvent("answered", 3))
    await asyncio.gather(*desk.work)
    assert desk.ear.heard == [("c1", "answered")] and one.hung_up == ["c1"]


async def test_a_changed_switch_is_made_anew_and_weights_are_not() -> None:
    desk = await started()
    heavier = plan(None, a={"switch": "one", "endpoint": "SIP/{digits}", "weight": 9},
                   b={"switch": "two"})  # fmt: skip
    assert await desk.board.follow(heavier) == [] and len(desk.made) == 2
    moved = plan({"one": "u9", "two": "u2"})
    assert await desk.board.follow(moved) == ["one"]
    assert desk.made[0].closed and desk.made[2].listener is not None and not desk.made[1].closed


async def test_what_a_driver_said_of_its_trunks_is_void_once_another_takes_over() -> None:
    """A trunk that nobody watches any more would rest for ever."""
    desk = await started()
    one, two = desk.made
    assert one.listener is not None and two.listener is not None
    one.listener.on_reachable("a", False)
    two.listener.on_reachable("b", False)
    await desk.board.follow(plan({"one": "u9", "two": "u2"}))
    assert desk.ear.heard == [("a", "False"), ("b", "False"), ("a", "True")]


async def test_a_switch_that_is_gone_keeps_its_calls_until_they_end() -> None:
    desk = await started()
    desk.board.holds("c1", "b")
    only = plan({"one": "u1"}, a={"switch": "one", "endpoint": "SIP/{digits}"})
    await desk.board.follow(only)
    assert desk.board.of("c1").name == "two" and not desk.made[1].closed
    desk.board.forget("c1")
    await desk.board.follow(only)
    assert desk.made[1].closed and desk.board.names == ["one"]


async def test_a_switch_that_cannot_be_used_is_passed_over() -> None:
    desk = await started()
    await desk.board.follow(plan({"one": "bad", "two": "u2"}))
    for n in range(20):
        found = desk.board.find(call(n), ["e"], 1_000 + n)
        assert isinstance(found, LineFound) and found.trunk == "b"
    await desk.board.follow(plan({"one": "bad", "two": "bad"}))
    assert desk.board.find(call(99), ["e"], 5_000) == NoLine(None)
    assert desk.board.of("c99").name == ""


@pytest.mark.parametrize("edges", [[], ["e"], ["e", "f"]])
async def test_an_edge_counts_itself_among_the_live_ones(edges: list[str]) -> None:
    desk = await started()
    desk.router.plan = plan(None, a={"switch": "one", "calls": 2})
    found = [desk.board.find(call(n), edges, 1_000) for n in range(3)]
    assert sum(isinstance(one, LineFound) for one in found) == (1 if "f" in edges else 2)


def test_a_breakers_step_is_told_at_once_and_figures_now_and_then() -> None:
    async def never(topic: str, event: object) -> "asyncio.Future[object]":
        raise NotImplementedError

    router = TrunkRouter(plan())
    statuses = TrunkStatuses(router, "e", "e-1", "default", never)
    assert [one.trunk for one in statuses.due(0)] == ["a", "b"] and statuses.due(1) == []
    router.told("a", False, 2)
    (told,) = statuses.due(3)
    assert (told.trunk, told.state, told.reason) == ("a", "open", "unreachable")
    desk_call = call()
    Switchboard("e", router, lambda *_: None, lambda name, *_: PaperSwitch(name)).find(
        desk_call, ["e"], 4
    )
    assert statuses.due(5) == []
    (later,) = statuses.due(REPEAT_MS)
    assert (later.trunk, later.running) == ("b", 1)
    assert later.event_id != told.event_id
