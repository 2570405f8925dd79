"""The edge as a process, on a real broker, with a carrier and telephones over real sockets."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from websockets.asyncio.client import connect
from yarl import URL

from ingest.keys import media_token
from ringlog.settings import Settings
from ringlog.site_key import derived_key, edge_control_key, site_key
from schemas.events import CallEvent, Campaign, DispatchInbox, Lease
from schemas.ids import call_id, root_id
from tests.integration.ingest.edge_world import World, now_ms
from tests.integration.ingest.test_twilio import Twilio

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


@pytest.fixture
async def world(stack: Settings, tmp_path: Path) -> AsyncIterator[World]:
    async with World(stack, tmp_path) as world:
        yield world


async def test_a_call_from_assignment_to_its_end(world: World) -> None:
    log, sha = world.log, world.prompt(600)
    call, phone = await world.answered_call()
    asked = world.carrier.asked[-1]
    assert asked["call_id"] == call and asked["codec"] == "pcmu"
    assert asked["rtp_port"] in world.config.rtp_ports and asked["rtp_port"] % 2 == 0
    dialing = log.call(call)[0]
    assert (dialing.kind, dialing.robot_id, dialing.playbook, dialing.profile) == (
        "dialing", "r1", "loan", '{"level":"gold"}',
    )  # fmt: skip
    assert dialing.optout_offset is not None and dialing.direction == "outbound"

    # The robot speaks; an old epoch does not; a repeated record does nothing.
    await log.barrier(call, 5)
    said = await log.direct(call, "say", 5, prompt_sha256=sha, prompt_id="hello", barge_in="words")
    old = await log.direct(call, "say", 4, prompt_sha256=sha, prompt_id="old")
    missing = await log.direct(call, "say", 5, prompt_sha256="f" * 64, prompt_id="none")
    await log.direct(call, "listen", 5, turn_silence_ms=321)
    await log.until(
        lambda: (
            {said, missing} <= {e.directive_id for e in log.call(call) if e.heard_ms is not None}
        ),
        "playout_ended of both",
    )
    by_id = {(e.directive_id, e.kind): e for e in log.call(call)}
    assert by_id[said, "playout_ended"].heard_ms == by_id[said, "playout_started"].prompt_ms == 600
    assert by_id[missing, "playout_ended"].disposition == "prompt_missing"
    assert not any(directive == old for directive, _ in by_id)
    await log.until(lambda: len(phone.voiced()) == 30, "the prompt at the far end")
    await log.until(
        lambda: any(c.turn_silence_ms == 321 for c in log.chunks(call, "customer")), "new silence"
    )

    # A stop cuts a prompt; then the robot hangs up after what it says.
    cut = await log.direct(call, "say", 5, prompt_sha256=world.prompt(20_000), barge_in="words")
    await log.until(
        lambda: (cut, "playout_started") in {(e.directive_id, e.kind) for e in log.call(call)},
        "start",
    )
    await log.direct(call, "stop", 5)
    last = await log.direct(call, "say", 5, prompt_sha256=sha)
    await log.direct(call, "hangup", 5, reason="completed")
    await log.until(lambda: "ended" in log.kinds(call), "the end")
    by_id = {(e.directive_id, e.kind): e for e in log.call(call)}
    heard = by_id[cut, "playout_ended"].heard_ms
    assert heard is not None and heard < 20_000
    assert by_id[last, "playout_ended"].heard_ms == 600
    ended = log.call(call)[-1]
    assert (ended.kind, ended.disposition, ended.cause_q850) == ("ended", "completed", 16)
    await log.until(lambda: world.carrier.hung_up == [call], "the carrier is told")

    # The sound of both legs is on the log, whole.
    await log.until(
        lambda: all(
            log.chunks(call, leg) and log.chunks(call, leg)[-1].kind == "end"
            for leg in ("customer", "robot")
        ),
        "ends of the legs",
    )
    customer = [c for c in log.chunks(call, "customer") if c.kind == "chunk"]
    octets = b"".join(c.payload for c in customer)
    first = customer[0].rtp_ts // 160
    assert octets == b"".join(
        bytes([n % 100]) * 160 for n in range(first, first + len(octets) // 160)
    )
    assert (
        all(c.rtp_ts % 800 == 0 for c in customer[1:]) and customer[0].leg_start_ts == first * 160
    )
    assert {c.asr_profile for c in customer} == {"demo"} and {c.pool for c in customer} == {"sales"}
    robot = [c for c in log.chunks(call, "robot") if c.kind == "chunk"]
    assert sum(len(c.payload) for c in robot) == (600 + heard + 600) * 8
    assert [c.rtp_ts for c in robot] == sorted({c.rtp_ts for c in robot})


@pytest.mark.heavy
async def test_a_line_that_is_cut_is_not_completed_by_a_robot_that_gives_up(world: World) -> None:
    """Its carrier is dead: nobody hangs up, and the robot asks twice and says goodbye."""
    log = world.log
    call, phone = await world.answered_call()
    await log.until(lambda: sum(len(c.payload) for c in log.chunks(call, "customer")) > 6 * 8_000,
                    "6 s of sound")  # fmt: skip
    phone.close()
    await log.until(lambda: log.chunks(call, "customer")[-1].kind == "silent", "silence")
    await log.direct(call, "say", prompt_sha256=world.prompt(12_000))
    await log.direct(call, "hangup", reason="completed")
    await log.until(lambda: "ended" in log.kinds(call), "the end")
    ended = log.call(call)[-1]
    assert (ended.disposition, ended.cause_q850) == ("half_closed", 41)


async def test_the_edge_tells_what_it_hears_of_who_answered(world: World) -> None:
    log = world.log
    call, _ = await world.answered_call()
    await log.barrier(call, 5)
    await log.direct(call, "listen", 5, reason="answerer")
    await log.until(lambda: "amd" in log.kinds(call), "what it heard, within 2 s")
    heard = next(e for e in log.call(call) if e.kind == "amd")
    assert heard.answered_by is not None and heard.edge_id == log.call(call)[0].edge_id
    await log.direct(call, "hangup", 5, reason="machine")
    await log.until(lambda: "ended" in log.kinds(call), "the end")
    assert log.call(call)[-1].disposition == "machine"


async def test_a_number_that_opted_out_is_not_dialled(world: World) -> None:
    await world.log.opt_out("+8613999999999", site_key(world.config))
    call = await world.log.assign("+8613999999999")
    await world.log.until(lambda: world.log.kinds(call) == ["ended"], "the refusal")
    ended = world.log.call(call)[0]
    assert ended.disposition == "opted_out" and ended.task_id is not None
    assert all(asked["call_id"] != call for asked in world.carrier.asked)


async def test_a_call_that_the_law_forbids_by_now_is_not_dialled(world: World) -> None:
    """The permit stands, and the campaign's window has closed since; then it is not even known."""
    opens = datetime.now(ZoneInfo("Asia/Shanghai")) + timedelta(hours=8)
    settings = {"playbook": "loan", "purpose": "survey", "recording_notice": True,
                "windows": {"any": [f"{opens:%H}:00-{opens:%H}:30"]}}  # fmt: skip
    await world.log.producer.send("campaigns", Campaign(
        event_id=root_id("law", os.getpid()), occurred_at=now_ms(), producer="test", version=2,
        campaign_id="law", name="Law", state="running", settings=json.dumps(settings),
    ))  # fmt: skip
    closed = {"campaign-windows", "cn-other-hours"}
    for terms, rules in (("law@2", closed), ("law@3", {"campaign"})):
        call = await world.log.assign(campaign_id="law", terms=terms)
        await world.log.until(partial(world.log.kinds, call), "the refusal")
        assert world.log.kinds(call) == ["ended"]
        ended = world.log.call(call)[0]
        assert ended.disposition == "unlawful" and ended.rule in rules and ended.reason
        assert ended.lawful_at is not None and ended.lawful_at > ended.occurred_at
        assert all(asked["call_id"] != call for asked in world.carrier.asked)


async def test_a_number_in_a_call_gets_no_second_one(world: World) -> None:
    """No number is on two calls at once, however it is written and whoever wants it."""
    log = world.log
    elsewhere = call_id(root_id("elsewhere", os.getpid()), 1)
    await log.producer.send("calls.events", CallEvent(
        event_id=root_id(elsewhere, "dialing"), kind="dialing", occurred_at=now_ms(),
        producer="edge", call_id=elsewhere, source="edge", edge_id="edge-far",
        direction="outbound", phone="+8613877777778",
    ))  # fmt: skip
    await log.until(lambda: log.kinds(elsewhere), "another edge's call")
    first = await log.assign("+8613877777777")
    await log.until(lambda: first in world.carrier.phones, "the carrier was asked")
    second = await log.assign("138 7777 7777")
    await log.until(lambda: log.kinds(second) == ["ended"], "the refusal")
    assert log.call(second)[0].disposition == "number_in_call"
    await log.status(first, "ended", cause_q850=16)
    await log.until(lambda: "ended" in log.kinds(first), "the first call's end")
    third = await log.assign("+8613877777777")
    await log.until(lambda: third in world.carrier.phones, "the number is free again")
    fourth = await log.assign("+8613877777778")
    await log.until(lambda: "ended" in log.kinds(fourth), "the refusal")
    assert log.call(fourth)[-1].disposition == "number_in_call"
    assert {first, third} == {asked["call_id"] for asked in world.carrier.asked}
    await log.status(third, "ended", cause_q850=16)
    journal = world.config.home / "edge" / "calls"
    await log.until(lambda: not list(journal.glob("*.json")), "the last call's end")


async def test_prompts_come_from_the_log_before_anybody_is_dialled(
    world: World, tmp_path: Path
) -> None:
    """Without a shared disk: and no call is mute, for want of a prompt it is put off."""
    log, book = world.log, tmp_path.name.replace("_", "-")
    far = {sha: path.read_bytes() for sha, path in (
        (sha, world.config.prompts_dir / f"{sha}.wav") for sha in map(world.prompt, (310, 330))
    )}  # fmt: skip
    for sha in far:
        (world.config.prompts_dir / f"{sha}.wav").unlink()
    await log.store(book, far)
    call, phone = await world.answered_call(playbook=book)
    cached = world.config.home / "edge" / "prompts"
    assert {p.read_bytes() for p in cached.glob("*.wav")} == set(far.values())
    for sha in far:
        await log.direct(call, "say", prompt_sha256=sha)
    await log.until(lambda: log.kinds(call).count("playout_ended") == 2, "both prompts")
    assert len(phone.voiced()) == 16 + 17
    await log.direct(call, "hangup")
    lost = b"RIFF" + bytes(1_000)
    await log.store(f"{book}-2", {"a" * 64: lost}, lose="a" * 64)
    mute = await log.assign(playbook=f"{book}-2")
    await log.until(lambda: log.kinds(mute) == ["ended"], "the refusal")
    assert log.call(mute)[0].disposition == "prompt_missing"
    assert mute not in world.carrier.phones


async def test_an_expired_permit_and_a_busy_line(world: World) -> None:
    expired = await world.log.assign(permit_ms=-1)
    world.carrier.refuse_with = 486
    busy = await world.log.assign()
    await world.log.until(lambda: world.log.kinds(expired) == ["ended"], "the expiry")
    await world.log.until(
        lambda: world.log.kinds(busy) == ["dialing", "tried", "ended"], "the refusal"
    )
    ended = world.log.call(busy)[-1]
    assert (ended.cause_q850, ended.cause_sip, ended.disposition) == (17, 486, "busy")
    assert {asked["call_id"] for asked in world.carrier.asked} == {busy}


async def test_a_carriers_end_stops_the_robot_and_frees_the_call(world: World) -> None:
    log = world.log
    call, _ = await world.answered_call()
    said = await log.direct(call, "say", prompt_sha256=world.prompt(20_000))
    await log.until(lambda: "playout_started" in log.kinds(call), "the prompt")
    await log.until(
        lambda: any(
            isinstance(e, DispatchInbox) and e.kind == "calls_alive" and call in e.call_ids
            and e.pool == "sales" and e.edge_id == "edge"
            for e in log.events["dispatch.inbox"]
        ),
        "the call is renewed",
    )  # fmt: skip
    await log.status(call, "ended", cause_q850=16, disposition="abandoned")
    await log.until(lambda: "playout_ended" in log.kinds(call), "what was heard")
    ended = next(e for e in log.call(call) if e.kind == "playout_ended")
    assert ended.directive_id == said and ended.heard_ms is not None and ended.heard_ms < 20_000
    async with aiohttp.ClientSession() as http, http.get(f"{world.edge.url}/metrics") as answer:
        text = await answer.text()
    assert 'ringlog_calls_total{state="ended"} 1.0' in text
    assert "ringlog_rtp_packets_lost_total" in text
    assert call not in world.carrier.hung_up
    assert not list((world.config.home / "edge" / "calls").glob("*.json"))


@pytest.mark.parametrize("successor", ["itself", "spare"])
async def test_a_killed_edges_calls_go_on(world: World, successor: str) -> None:
    log = world.log
    if successor == "spare":
        await world.spare.start()
    call, phone = await world.answered_call()
    await log.direct(call, "say", prompt_sha256=world.prompt(400))
    await log.until(lambda: "playout_ended" in log.kinds(call), "the first prompt")
    unfinished = await log.direct(call, "say", prompt_sha256=world.prompt(1000))
    await log.until(lambda: log.kinds(call).count("playout_started") == 2, "the second prompt")
    asked = len(world.carrier.asked)
    serving = world.edge
    for _ in range(3):  # what a life knows of the far end's clocks it has from the life before
        before = len(log.chunks(call, "customer"))
        await serving.end(signal.SIGKILL)
        if successor == "itself":
            await serving.start()
        else:
            dead, serving = serving, world.spare if serving is world.edge else world.edge
            await serving.until_ready("serves")
            await dead.start()
        await log.until(lambda n=before: len(log.chunks(call, "customer")) > n + 5, "sound")  # type: ignore[misc]
    await log.until(
        lambda: any(
            e.kind == "playout_ended" and e.directive_id == unfinished for e in log.call(call)
        ),
        "the cut prompt is said again",
    )
    await log.direct(call, "hangup")
    await log.until(lambda: log.kinds(call)[-1] == "ended", "the end")
    assert len(world.carrier.asked) == asked, "nobody is dialled twice"
    customer = log.chunks(call, "customer")
    assert len({(c.ssrc, c.leg_start_ts, c.leg_start_ms) for c in customer}) == 1, "one leg"
    # Sound that comes late, as from a machine under load, may lie behind a mark of silence.
    sound = [(c.rtp_ts, c.rtp_ts + len(c.payload)) for c in customer if c.kind == "chunk"]
    back = [(a, b) for a, b in zip(sound, sound[1:], strict=False) if b[0] < a[1]]
    assert not back, "no sound twice, none out of order"
    for chunk in customer:
        n = chunk.rtp_ts // 160
        assert chunk.payload == b"" or chunk.payload[0] == n % 100, "true times after the restart"
    assert {p.ssrc for p in phone.heard} == {phone.heard[0].ssrc}
    numbers = [p.sequence for p in phone.heard]
    assert all(0 < (b - a) % 65536 < 30_000 for a, b in zip(numbers, numbers[1:], strict=False))


async def test_a_lost_edges_calls_are_ended_by_another_and_its_own_go_on(world: World) -> None:
    """Its machine is gone, no spare comes: nothing hangs open for longer than the lease."""
    log = world.log
    await world.far.start()
    here, phone = await world.answered_call()
    lost = [(await world.answered_call(edge="edge-2"))[0] for _ in range(2)]
    dialled = await log.assign(edge="edge-2")
    await log.until(lambda: dialled in world.carrier.phones, "the carrier was asked")
    said = await log.direct(here, "say", prompt_sha256=world.prompt(9_000), barge_in="never")
    await log.until(lambda: "playout_started" in log.kinds(here), "the prompt")
    await world.far.end(signal.SIGKILL)
    began = time.monotonic()
    for call in (*lost, dialled):
        await log.until(lambda c=call: "ended" in log.kinds(c), "the end")  # type: ignore[misc]
        ended = log.call(call)[-1]
        assert (ended.disposition, ended.cause_q850, ended.edge_id) == ("failed", 41, "edge-2")
    assert time.monotonic() - began > 3
    await log.until(lambda: {*lost, dialled} <= set(world.carrier.hung_up), "the carrier is told")
    claims = [
        e for e in log.events["robots.leases"]
        if isinstance(e, Lease) and e.kind == "claim" and e.shard == "edge/edge-2"
    ]  # fmt: skip
    assert len(claims) == 1
    await log.until(
        lambda: any(e.directive_id == said and e.heard_ms for e in log.call(here)), "all of it"
    )
    assert "ended" not in log.kinds(here) and len(phone.voiced()) == 450
    await world.far.start()  # it comes back, and finds its calls ended
    again, _ = await world.answered_call(edge="edge-2")
    assert [log.kinds(call).count("ended") for call in lost] == [1, 1]
    for call in (here, again):
        await log.direct(call, "hangup")
        await log.until(lambda c=call: log.kinds(c)[-1] == "ended", "the end")  # type: ignore[misc]


async def test_what_is_said_while_nobody_serves_is_heard(world: World) -> None:
    log = world.log
    await world.spare.start()
    call, _ = await world.answered_call()
    await log.until(lambda: len(log.chunks(call, "customer")) > 5, "sound")
    world.spare.send_signal(signal.SIGSTOP)
    await world.edge.end(signal.SIGKILL)
    await asyncio.sleep(1.5)
    world.spare.send_signal(signal.SIGCONT)
    await world.spare.until_ready("serves")
    before = len(log.chunks(call, "customer"))
    await log.until(lambda: len(log.chunks(call, "customer")) > before + 20, "sound")
    customer = log.chunks(call, "customer")
    for chunk in customer:
        assert chunk.payload == b"" or chunk.payload[0] == chunk.rtp_ts // 160 % 100, "true times"
    span = customer[-1].rtp_ts + len(customer[-1].payload) - customer[0].rtp_ts
    missing = span - sum(len(chunk.payload) for chunk in customer)
    assert 0 <= missing < 4_000, "all but what the dead edge had not written yet"
    await log.direct(call, "hangup")
    await log.until(lambda: log.kinds(call)[-1] == "ended", "the end")


async def test_a_stopped_edge_ends_its_calls_and_its_lease(world: World) -> None:
    call, _ = await world.answered_call()
    assert await world.edge.end() == 0
    log = world.log
    await log.until(lambda: log.kinds(call)[-1] == "ended", "the end")
    assert log.call(call)[-1].disposition == "failed"
    await log.until(lambda: world.carrier.hung_up == [call], "the carrier is told")
    await log.until(lambda: log.chunks(call, "customer")[-1].kind == "end", "the leg's end")
    leases = [e for e in log.events["robots.leases"] if isinstance(e, Lease)]
    ours = [e.kind for e in leases if e.shard == "edge/edge"]  # other tests have edges of their own
    assert "heartbeat" in ours and ours[-1] == "release"
    assert "Traceback" not in world.edge.log.read_text()


async def test_a_stopped_edge_hands_its_calls_to_a_spare(world: World) -> None:
    log = world.log
    await world.spare.start()
    call, _ = await world.answered_call()
    said = await log.direct(call, "say", prompt_sha256=world.prompt(2000))
    await log.until(lambda: "playout_started" in log.kinds(call), "the prompt")
    assert await world.edge.end() == 0
    await world.spare.until_ready("serves")
    await log.until(
        lambda: any(e.kind == "playout_ended" and e.directive_id == said for e in log.call(call)),
        "the prompt is said again",
    )
    ended = next(e for e in log.call(call) if e.kind == "playout_ended")
    assert ended.heard_ms == 2000 and "ended" not in log.kinds(call)
    before = len(log.chunks(call, "customer"))
    await log.until(lambda: len(log.chunks(call, "customer")) > before + 5, "sound goes on")
    assert "Traceback" not in world.edge.log.read_text()
    status, session = await open_session(world, call_id=f"{call}-foreign")
    assert status == 201 and session["call_id"] == f"{call}-foreign"


def key(world: World) -> dict[str, str]:
    """The API's key to the edge."""
    return {"Authorization": f"Bearer {edge_control_key(world.config)}"}


async def open_session(world: World, **fields: Any) -> tuple[int, dict[str, Any]]:
    body = {"call_id": "foreign|x".replace("|", "-"), "customer_id": "c9", "campaign_id": "spring",
            "playbook": "loan", "pool": "sales"} | fields  # fmt: skip
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            f"{world.edge.control_url}/media/sessions", json=body, headers=key(world)
        ) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


async def test_a_foreign_call_over_the_websocket(world: World, tmp_path: Path) -> None:
    call = f"foreign-{tmp_path.name}"
    log = world.log
    status, session = await open_session(world, call_id=call)
    assert status == 201 and session["call_id"] == call
    assert set(session) == {"call_id", "rtp_host", "rtp_port", "ssrc", "ws_url", "token"}
    await log.until(lambda: log.kinds(call) == ["answered"], "the first record")
    first = log.call(call)[0]
    assert (first.direction, first.playbook, first.customer_id) == ("foreign", "loan", "c9")
    assert (await open_session(world, call_id=call))[0] == 409
    sounds: list[bytes] = []
    async with connect(session["ws_url"]) as peer:
        for n in range(20):
            await peer.send(bytes([n]) * 160)
        await peer.send(json.dumps({"type": "dtmf", "digits": "4"}))
        await log.direct(call, "say", prompt_sha256=world.prompt(200))
        async with asyncio.timeout(90):
            async for message in peer:
                if isinstance(message, str) and json.loads(message)["type"] == "mark":
                    break
                if isinstance(message, bytes) and message != b"\xff" * 160:
                    sounds.append(message)
        assert len(sounds) == 10
        await peer.send(json.dumps({"type": "hangup"}))
        await log.until(lambda: "ended" in log.kinds(call), "the end")
    chunks = [c for c in log.chunks(call, "customer") if c.kind == "chunk"]
    assert b"".join(c.payload for c in chunks) == b"".join(bytes([n]) * 160 for n in range(20))
    assert "4" in [e.digits for e in log.call(call)]
    assert log.call(call)[-1].disposition == "abandoned"


async def test_a_twilio_stream_opens_its_call(world: World, tmp_path: Path) -> None:
    """Through the real edge: the stream's first message opens the session, which takes no port."""
    call, log, config = f"twilio-{tmp_path.name}", world.log, world.config
    token = media_token(derived_key(site_key(config), "media-token"), call)
    url = f"ws://127.0.0.1:{config.port(config.media_ws_port)}/media/twilio"
    async with connect(url) as peer:
        twilio = Twilio(peer)
        listening = asyncio.create_task(twilio.listen())
        await twilio.start(call_id=call, token=token, customer_id="c9", campaign_id="spring",
                           playbook="loan")  # fmt: skip
        await log.until(lambda: log.kinds(call) == ["answered"], "the first record")
        assert (log.call(call)[0].direction, log.call(call)[0].playbook) == ("foreign", "loan")
        for n in range(20):
            await twilio.media(bytes([n]) * 160)
        await twilio.say("dtmf", dtmf={"track": "inbound_track", "digit": "4"})
        await log.direct(call, "say", prompt_sha256=world.prompt(200))
        await log.until(lambda: "playout_ended" in log.kinds(call), "the prompt's end")
        await log.until(lambda: len(twilio.marks) == 2, "the mark after the prompt")
        assert len([s for s in twilio.heard if s != b"\xff" * 160]) == 10
        await twilio.say("stop", stop={"accountSid": "AC", "callSid": "CA1"})
        await log.until(lambda: "ended" in log.kinds(call), "the end")
        await listening
    chunks = [c for c in log.chunks(call, "customer") if c.kind == "chunk"]
    assert b"".join(c.payload for c in chunks) == b"".join(bytes([n]) * 160 for n in range(20))
    assert "4" in [e.digits for e in log.call(call)]
    assert log.call(call)[-1].disposition == "abandoned"
    async with connect(url) as peer:
        await Twilio(peer).start(call_id=call, token=token, customer_id="c9", campaign_id="spring",
                                 playbook="loan")  # fmt: skip
        await peer.wait_closed()
        assert peer.close_reason == "the call is over"


async def test_a_foreign_call_survives_the_edge(world: World, tmp_path: Path) -> None:
    call, log = f"survivor-{tmp_path.name}", world.log
    _, session = await open_session(world, call_id=call)
    sent = [bytes([n]) * 160 for n in range(20)]

    def enough(octets: int) -> bool:
        return sum(len(c.payload) for c in log.chunks(call, "customer")) >= octets

    for n, half in enumerate((sent[:10], sent[10:])):
        async with connect(session["ws_url"]) as peer:
            for frame in half:
                await peer.send(frame)
            await log.until(partial(enough, 1600 * (n + 1)), "the sound")
            if n == 0:
                await world.edge.end(signal.SIGKILL)
                await world.edge.start()
    chunks = log.chunks(call, "customer")
    assert b"".join(c.payload for c in chunks) == b"".join(sent)
    assert len({(c.ssrc, c.leg_start_ts, c.leg_start_ms) for c in chunks}) == 1
    assert all(
        b.rtp_ts >= a.rtp_ts + len(a.payload) and b.first_seq > a.first_seq
        for a, b in zip(chunks, chunks[1:], strict=False)
    )


async def test_foreign_calls_are_checked_and_closed(world: World, tmp_path: Path) -> None:
    call = f"closed-{tmp_path.name}"
    for wrong in ({"codec": "g729"}, {"remote": "127.0.0.1:0"}, {"remote": "999.1.1.1:5"},
                  {"playbook": ""}, {"more": 1}, {"call_id": "a|b"}, {"phone": "110"},
                  {"call_id": "a/b"}, {"call_id": ".."}, {"call_id": "50%"}):  # fmt: skip
        status, problem = await open_session(world, **{"call_id": call, **wrong})
        assert status == 422 and problem["title"], wrong
    status, problem = await open_session(world, call_id=call, asr_profile="fsmn")
    assert (status, problem["field"], problem["known"]) == (422, "asr_profile", ["demo", "zh"])
    assert (await open_session(world, call_id=call, remote="127.0.0.1:9"))[0] == 201
    async with aiohttp.ClientSession(headers=key(world)) as http:
        url = f"{world.edge.control_url}/media/sessions/{call}"
        async with http.delete(url) as answer:
            assert answer.status == 204
        async with http.delete(url) as answer:
            assert answer.status == 404
    await world.log.until(lambda: world.log.kinds(call) == ["answered", "ended"], "the end")


async def test_R4_an_id_of_another_script_works_everywhere(world: World, tmp_path: Path) -> None:
    call, log = f"客户一-{tmp_path.name}", world.log
    status, session = await open_session(world, call_id=call, codec="l16/16000")
    assert status == 201
    async with connect(session["ws_url"]) as peer:
        await peer.send(b"\1\0" * 320)
        await log.until(lambda: log.chunks(call, "customer"), "its sound")
        async with aiohttp.ClientSession(headers=key(world)) as http:
            url = f"{world.edge.control_url}/media/sessions/{quote(call, safe='')}"
            async with http.delete(URL(url, encoded=True)) as answer:
                assert answer.status == 204
    await log.until(lambda: log.kinds(call) == ["answered", "ended"], "the end")
    first = log.call(call)[0]
    assert (first.asr_profile, first.pool, first.robot_id) == ("demo", "sales", "r1")
