"""FreeSWITCH's event socket and audio stream, by a far end of our own (see freeswitch_world)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from ingest.freeswitch.switch import FreeSwitch, FreeSwitchConfig, channel_id_of
from ingest.trunks.driver import IncomingCall, LineEvent, MediaAddress, NotTaken, Order, Refused
from ringlog.audio import g711
from ringlog.settings import Settings
from tests.integration.ingest.doors_world import World, world_of
from tests.integration.ingest.freeswitch_world import PASSWORD, Channel, FakeFreeSwitch
from tests.integration.ingest.test_transports import prompt, until


class Told:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.events: dict[str, list[LineEvent]] = {}
        self.calls: dict[str, str] = {}
        self.came: list[IncomingCall] = []
        self.reachable: list[tuple[str, bool]] = []
        self.world: World | None = None

    def on_progress(self, call_id: str, progress: LineEvent) -> None:
        self.events.setdefault(call_id, []).append(progress)

    def on_media(self, call_id: str, theirs: MediaAddress) -> None:
        raise AssertionError("its sound comes by a socket")

    async def came_in(self, call: IncomingCall) -> MediaAddress | None:
        if self.world is None or call.called != "+861000":
            raise NotTaken(1, "no such number")
        self.came.append(call)
        self.world.make(call.call_id)
        return None

    def on_reachable(self, trunk: str, reachable: bool) -> None:
        self.reachable.append((trunk, reachable))

    def calls_on(self, switch: str) -> dict[str, str]:
        assert switch == "freeswitch"
        return self.calls

    def kinds(self, call_id: str) -> list[str]:
        return [event.kind for event in self.events.get(call_id, [])]


class Lab:
    """A switch of ours, the far end, and a media server."""

    def __init__(self, far: FakeFreeSwitch, world: World, raw: bool) -> None:
        self.far, self.world, self.told = far, world, Told()
        self.told.world = world
        self.config = FreeSwitchConfig(
            "127.0.0.1", far.port, PASSWORD, "edge", raw=raw, gateways={"west": ("west", "w2")}
        )
        self.switch = self.make()

    def make(self, password: str = PASSWORD) -> FreeSwitch:
        config = replace(self.config, port=self.far.port, password=password)
        return FreeSwitch(config, lambda call_id: (
            f"ws://127.0.0.1:{self.world.port}/media/{quote(call_id, safe='')}"
            f"?token={quote(f'secret-{call_id}')}"
        ))  # fmt: skip

    async def connected(self) -> None:
        await until(self.switch._connected.is_set)

    async def call(self, call_id: str, phone: str = "+8613800000000") -> Channel:
        self.world.make(call_id)
        self.told.calls[call_id] = "west"
        await self.switch.dial(order(call_id, phone))
        return self.far.call_of(call_id)


def order(call_id: str, phone: str = "+8613800000000") -> Order:
    return Order(call_id, phone, "west", "pcmu", None, caller_id="+861000")


@asynccontextmanager
async def lab_of(tmp_path: Path, raw: bool = True) -> AsyncIterator[Lab]:
    far = FakeFreeSwitch(raw)
    await far.start()
    async with world_of(lambda _: Settings(home=tmp_path)) as world:
        lab = Lab(far, world, raw)
        await lab.switch.start(lab.told)
        await lab.connected()
        yield lab
        await lab.switch.close()
        await far.close()


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with lab_of(tmp_path) as made:
        yield made


async def test_a_call_from_dial_to_hang_up(lab: Lab) -> None:
    channel = await lab.call("客户 1")
    assert channel.endpoint == "sofia/gateway/west/+8613800000000"
    assert channel.variables["origination_caller_id_number"] == "+861000"
    await until(lambda: lab.told.kinds("客户 1") == ["ringing", "answered"])
    assert await lab.switch.dial(order("客户 1")) is None and len(lab.far.channels) == 1

    # Sound both ways: the far end's frames are levels, and the robot's are L16 there.
    await until(lambda: len(lab.world.owner.sound("customer")) > 3200)
    frames = lab.world.owner.sound("customer")
    level = g711.encode("pcmu", g711.decode_l16((5 * 256).to_bytes(2, "big")))
    assert level * 160 in frames
    lab.world.session("客户 1").play(prompt("hello", 20))
    wire = b"".join(
        g711.decode("pcmu", frame).astype("<i2").tobytes()
        for frame in prompt("hello", 20).prompt.frames
    )
    await until(lambda: wire in bytes(channel.heard))

    lab.far.press(channel, "5")
    lab.far.press(channel, "5")
    await until(lambda: lab.told.kinds("客户 1").count("dtmf") == 2)
    keys = [event for event in lab.told.events["客户 1"] if event.kind == "dtmf"]
    assert [key.digits for key in keys] == ["5", "5"] and keys[0].source != keys[1].source
    await lab.switch.send_keys("客户 1", "42#")
    assert channel.keys == "42#"

    await lab.switch.hang_up("客户 1")
    await until(lambda: lab.told.kinds("客户 1")[-1] == "ended")
    assert lab.told.events["客户 1"][-1].cause_q850 == 16
    await lab.switch.hang_up("客户 1")
    await lab.switch.send_keys("客户 1", "1")
    assert lab.told.kinds("客户 1").count("ended") == 1


@pytest.mark.parametrize(
    ("number", "q850", "sip", "disposition"),
    [("13800000486", 17, 486, "busy"), ("13800000503", 41, None, "failed")],
)
async def test_a_refusal_is_one_and_no_event(
    lab: Lab, number: str, q850: int, sip: int | None, disposition: str
) -> None:
    with pytest.raises(Refused) as refused:
        await lab.call("c1", number)
    assert (refused.value.cause_q850, refused.value.disposition) == (q850, disposition)
    assert refused.value.cause_sip == sip and lab.told.events == {}


async def test_nobody_answers_after_ringing(lab: Lab) -> None:
    await lab.call("c1", "13800000480")
    await until(lambda: lab.told.kinds("c1") == ["ringing", "ended"])
    over = lab.told.events["c1"][-1]
    assert (over.cause_q850, over.cause_sip, over.disposition) == (18, 480, "no_answer")


async def test_early_media_is_heard_before_the_answer(lab: Lab) -> None:
    channel = await lab.call("c1", "13800000183")
    await until(lambda: lab.told.kinds("c1") == ["early_media", "answered"])
    await until(lambda: len(lab.world.owner.sound("customer")) > 0)
    assert len(channel.streams) == 1 and "dialect=audio_stream_raw" in channel.streams[0]


async def test_the_customer_hangs_up(lab: Lab) -> None:
    channel = await lab.call("c1")
    await until(lambda: lab.told.kinds("c1")[-1:] == ["answered"])
    lab.far.hang_up(channel, "NORMAL_CLEARING", "16", "sip:200")
    await until(lambda: lab.told.kinds("c1")[-1] == "ended")
    over = lab.told.events["c1"][-1]
    assert (over.cause_q850, over.cause_sip, over.disposition) == (16, None, "abandoned")


async def test_a_call_to_our_number_is_answered(lab: Lab) -> None:
    assert lab.far.arrive("u-0", "+861000", edge="another").streams == []
    channel = lab.far.arrive("u-1", "+861000")
    await until(lambda: len(lab.world.owner.sound("customer")) > 0)
    (came,) = lab.told.came
    assert (came.called, came.caller, came.medium) == ("+861000", "+8613900000000", "socket")
    assert channel.answered and lab.far.call_of(came.call_id) is channel
    lab.far.press(channel, "5")
    await until(lambda: "dtmf" in lab.told.kinds(came.call_id))
    lab.far.hang_up(channel, "NORMAL_CLEARING", "16")
    await until(lambda: lab.told.kinds(came.call_id)[-1] == "ended")

    lab.far.arrive("u-2", "+862000")
    await until(lambda: "u-2" in lab.far.ended)
    assert lab.far.ended["u-2"].cause == "1" and not lab.far.ended["u-2"].answered


async def test_a_transfer_takes_the_customer_away(lab: Lab) -> None:
    channel = await lab.call("c1")
    await until(lambda: lab.told.kinds("c1")[-1:] == ["answered"])
    assert not await lab.switch.transfer("c1", "1000\nexit")
    assert await lab.switch.transfer("c1", "1000 XML default")
    assert channel.transferred == "1000 XML default"
    await until(lambda: channel.talk is None and channel.variables["presence_data"] == "")
    lab.far.hang_up(channel, "NORMAL_CLEARING", "16")
    await asyncio.sleep(0.1)
    assert "ended" not in lab.told.kinds("c1"), "the robot's part ended with the transfer"


async def test_a_lost_connection_is_made_again_and_what_changed_is_told(lab: Lab) -> None:
    first, second = await lab.call("c1"), await lab.call("c2")
    await until(lambda: lab.told.kinds("c2")[-1:] == ["answered"])
    await lab.far.stop()
    with pytest.raises(Refused):
        await lab.call("c3")
    lab.far.hang_up(first, "NORMAL_CLEARING", "16")
    lab.far.channels["o1"] = Channel("o1", {"presence_data": "ringlog/edge/gone/1"}, "")
    lab.far.channels["o2"] = Channel("o2", {"presence_data": "ringlog/another/gone/1"}, "")
    await lab.far.start()
    await lab.connected()
    await until(lambda: "o1" not in lab.far.channels)
    assert "o2" in lab.far.channels, "another edge's"
    assert lab.told.kinds("c1")[-1] == "ended" and second.uuid in lab.far.channels
    assert lab.told.kinds("c2")[-1] == "answered"
    await lab.switch.hang_up("c2")
    await until(lambda: lab.told.kinds("c2")[-1] == "ended")


async def test_an_edge_that_restarted_takes_up_its_calls(lab: Lab) -> None:
    channel = await lab.call("c1")
    await until(lambda: lab.told.kinds("c1")[-1:] == ["answered"])
    await lab.switch.close()
    lab.switch = lab.make()
    await lab.switch.start(lab.told)
    assert await lab.switch.adopt("c1", None)
    assert await lab.switch.adopt("c2", None)  # it cannot know yet
    await until(lambda: len(channel.streams) == 2)
    await until(lambda: lab.told.kinds("c2") == ["ended"])
    assert not await lab.switch.adopt("c3", None)
    lab.far.hang_up(channel, "NORMAL_CLEARING", "16")
    await until(lambda: lab.told.kinds("c1")[-1] == "ended")
    assert lab.told.events["c1"][-1].disposition == "abandoned"


async def test_a_switch_that_is_away_while_an_edge_restarts_keeps_its_calls(lab: Lab) -> None:
    """What happened while nobody listened is told once the switch is back."""
    rings = await lab.call("c1", "+8613800000180")
    stays = await lab.call("c2")
    given_up = await lab.call("c3")
    await until(lambda: "answered" in lab.told.kinds("c2"))
    await lab.switch.close()
    await lab.far.stop()
    lab.told.events.clear()
    lab.switch = lab.make()
    await lab.switch.start(lab.told)
    assert await lab.switch.adopt("c1", None)
    assert await lab.switch.adopt("c2", None, answered=True)
    assert await lab.switch.adopt("c3", None)
    assert await lab.switch.adopt("c4", None)
    await lab.switch.hang_up("c3")
    del lab.told.calls["c3"]
    rings.answered = True
    await lab.far.start()
    await until(lambda: lab.told.kinds("c1") == ["answered"] and "c4" in lab.told.events)
    assert lab.told.kinds("c2") == [] and lab.told.kinds("c3") == []
    assert lab.told.events["c4"][0].disposition == "failed"
    await until(lambda: len(stays.streams) == 2 and given_up.cause != "")
    lab.far.hang_up(stays, "NORMAL_CLEARING", "16")
    await until(lambda: lab.told.kinds("c2") == ["ended"])


async def test_the_tries_of_a_call_are_channels_of_their_own(lab: Lab) -> None:
    with pytest.raises(Refused):
        await lab.switch.dial(order("c1", "13800000503"))
    lab.world.make("c1")
    again = Order("c1", "+861", "east", "pcmu", None, endpoint="sofia/gateway/east/861", try_no=2)
    await lab.switch.dial(again)
    await until(lambda: lab.told.kinds("c1") == ["ringing", "answered"])
    assert {event.try_no for event in lab.told.events["c1"]} == {2}
    (channel,) = lab.far.channels.values()
    assert channel.endpoint == "sofia/gateway/east/861"
    await lab.switch.hang_up("c1")
    await until(lambda: lab.told.kinds("c1")[-1] == "ended")


async def test_a_call_whose_sound_does_not_begin_is_ended(lab: Lab) -> None:
    lab.far.refuse_stream = True
    await lab.call("c1")
    await until(lambda: lab.told.kinds("c1")[-1:] == ["ended"])


async def test_a_switch_that_stops_answering_is_left(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.freeswitch.socket.ANSWER_S", 0.2)
    lab.far.mute = True
    with pytest.raises(Refused, match="no answer") as refused:
        await lab.call("c1")
    assert refused.value.unsure, "it may place the call after all"
    given_up = channel_id_of("c1")
    lab.far.channels[given_up] = Channel(given_up, {"presence_data": "ringlog/edge/c1/1"}, "")
    lab.far.mute = False
    await until(lambda: not lab.switch._connected.is_set())
    await lab.connected()
    assert given_up not in lab.far.channels, "nobody is called twice"


async def test_a_wrong_password_is_no_connection(lab: Lab) -> None:
    other = lab.make(password="wrong")
    await other.start(lab.told)
    await asyncio.sleep(0.2)
    with pytest.raises(Refused) as refused:
        await other.dial(order("c1"))
    assert refused.value.cause_q850 == 38
    await other.close()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Order("c1", "1\n\nexit", "west", "pcmu", None),
        lambda: Order("c1", "user/1000", "west", "pcmu", None),
        lambda: Order("c1", "138", "a b", "pcmu", None),
        lambda: Order("c1", "138", "west", "pcmu", None, caller_id="{x=y}"),
        lambda: Order("c1", "138", "west", "pcmu", None, endpoint="a &hangup()"),
    ],
)
async def test_text_that_is_no_number_is_no_command(lab: Lab, wrong: Callable[[], Order]) -> None:
    before = list(lab.far.commands)
    with pytest.raises(Refused) as refused:
        await lab.switch.dial(wrong())
    assert refused.value.cause_q850 == 28
    assert [c for c in lab.far.commands if c not in before and c != "uptime"] == []


async def test_the_open_module_plays_files_and_stops_them(tmp_path: Path) -> None:
    async with lab_of(tmp_path, raw=False) as lab:
        channel = await lab.call("c1")
        await until(lambda: lab.told.kinds("c1")[-1:] == ["answered"])
        await until(lambda: lab.world.session("c1").transport is not None)
        session = lab.world.session("c1")
        session.play(prompt("hello", 25))
        await until(lambda: len(channel.broadcasts) == 3)
        wire = b"".join(
            g711.decode("pcmu", frame).astype("<i2").tobytes()
            for frame in prompt("hello", 25).prompt.frames
        )
        assert bytes(channel.heard) == wire
        session.play(prompt("long", 500))
        await until(lambda: len(channel.broadcasts) > 4)
        session.flush()
        await until(lambda: channel.breaks == 1)


async def test_a_gateway_that_is_down_is_told_also_after_a_lost_connection(lab: Lab) -> None:
    lab.far.ping("west", "DOWN")
    lab.far.ping("west", "DOWN")
    lab.far.ping("east", "DOWN")  # no trunk of ours
    await until(lambda: lab.told.reachable == [("west", False), ("w2", False)])
    await lab.far.stop()
    await until(lambda: not lab.switch._connected.is_set())
    lab.far.gateways["west"] = "UP"
    await lab.far.start()
    await lab.connected()
    assert lab.told.reachable[2:] == [("west", True), ("w2", True)]
