"""What an edge lives among, for tests: a carrier, a telephone, and the log."""

import asyncio
import hashlib
import itertools
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import aiohttp
import numpy as np
from aiohttp import web

from ingest.rtp.packet import RtpPacket, parse, serialise
from ringlog.audio import wav
from ringlog.kafka.producer import EventProducer
from ringlog.kafka.reader import BEGINNING, TopicReader
from ringlog.settings import Settings
from schemas.envelope import Event
from schemas.events import (
    CallEvent,
    Directive,
    MediaChunk,
    OptOut,
    Playbook,
    PromptList,
    PromptRef,
    PromptSound,
    RobotStatus,
    TaskEvent,
)
from schemas.ids import call_id, call_once_id, call_status_id, root_id
from schemas.partition import partition_of
from schemas.phone import Numbers
from stack.services import edge_settings

TIMEOUT_S = 90.0
SILENCE = b"\xff" * 160
_n = itertools.count()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Telephone(asyncio.DatagramProtocol):
    """The far end of one call: sends numbered frames, keeps what it hears."""

    def __init__(self, edge: tuple[str, int], ssrc: int) -> None:
        self.edge, self.ssrc = edge, ssrc
        self.heard: list[RtpPacket] = []
        self.sent = 0
        self.address = ("", 0)
        self._socket: asyncio.DatagramTransport | None = None
        self._talk: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast(asyncio.DatagramTransport, transport)
        self.address = transport.get_extra_info("sockname")

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.append(parse(data))

    def error_received(self, exc: Exception) -> None:
        pass  # the edge is dead just now

    def talk(self) -> None:
        """Sends a frame every 20 ms until closed; frame n is octet n % 100, the time is n."""

        async def run() -> None:
            began = time.monotonic()
            while True:
                n = self.sent
                payload = bytes([n % 100]) * 160
                assert self._socket is not None
                packet = RtpPacket(0, n & 0xFFFF, 160 * n, self.ssrc, payload)
                self._socket.sendto(serialise(packet), self.edge)
                self.sent += 1
                await asyncio.sleep(max(0.0, began + self.sent * 0.02 - time.monotonic()))

        self._talk = asyncio.create_task(run())

    def voiced(self) -> list[bytes]:
        """Frames heard that are not silence."""
        return [p.payload for p in self.heard if p.payload_type == 0 and p.payload != SILENCE]

    def close(self) -> None:
        if self._talk is not None:
            self._talk.cancel()
        if self._socket is not None:
            self._socket.close()


class Carrier:
    """The sim carrier's HTTP side, answering with a telephone each. Port 0 is any free one."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked: list[dict[str, Any]] = []
        self.hung_up: list[str] = []
        self.phones: dict[str, Telephone] = {}
        self.refuse_with: int | None = None
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.add_routes(
            [web.post("/calls", self._place), web.delete("/calls/{call_id}", self._hang_up)]
        )
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def _place(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self.asked.append(asked)
        if self.refuse_with is not None:
            return web.Response(status=self.refuse_with)
        call = asked["call_id"]
        if call not in self.phones:
            ssrc = int.from_bytes(call.encode()[-4:], "big")
            phone = Telephone((asked["rtp_host"], asked["rtp_port"]), ssrc)
            loop = asyncio.get_running_loop()
            await loop.create_datagram_endpoint(lambda: phone, local_addr=("127.0.0.1", 0))
            self.phones[call] = phone
        host, port = self.phones[call].address
        return web.json_response(
            {"rtp_host": host, "rtp_port": port, "ssrc": self.phones[call].ssrc}
        )

    async def _hang_up(self, request: web.Request) -> web.Response:
        self.hung_up.append(request.match_info["call_id"])
        return web.Response(status=204)

    async def stop(self) -> None:
        for phone in self.phones.values():
            phone.close()
        if self._runner is not None:
            await self._runner.cleanup()


class EdgeProcess:
    """`python -m ingest`, as the supervisor runs it."""

    def __init__(
        self, config: Settings, log: Path, spare: bool = False, name: str = "edge"
    ) -> None:
        self.config = config
        self.log = log
        self._arguments = ["--name", name, *(["--spare"] if spare else [])]
        self._service = f"{name}-b" if spare else name
        self._env = {
            "RINGLOG_EDGE_ID": name,
            "RINGLOG_MEDIA_WS_PORT": str(config.media_ws_port),
            "RINGLOG_EDGE_CONTROL_PORT": str(config.edge_control_port),
            "RINGLOG_RTP_PORT_MIN": str(config.rtp_port_min),
            "RINGLOG_RTP_PORT_MAX": str(config.rtp_port_max),
            "RINGLOG_EDGE_LEASE_S": "4",
        }
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.config.metrics_port_of(self._service)}"

    @property
    def control_url(self) -> str:
        return self.config.edge_control_url

    async def start(self) -> None:
        with self.log.open("ab") as out:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "ingest", *self._arguments,
                stdout=out, stderr=out, env={**os.environ, **self._env},
            )  # fmt: skip
        await self.until_ready()

    async def until_ready(self, role: str | None = None) -> None:
        """Waits for /readyz, and for a role."""
        async with asyncio.timeout(TIMEOUT_S), aiohttp.ClientSession() as http:
            while True:
                assert self._process is not None
                assert self._process.returncode is None, self.log.read_text()[-3000:]
                try:
                    async with http.get(f"{self.url}/readyz") as answer:
                        ready = answer.status == 200
                    async with http.get(f"{self.url}/healthz") as answer:
                        found = (await answer.json())["role"]
                    if ready and role in (None, found):
                        return
                except (aiohttp.ClientError, KeyError):
                    pass
                await asyncio.sleep(0.05)

    def send_signal(self, sig: int) -> None:
        assert self._process is not None
        self._process.send_signal(sig)

    async def end(self, sig: int = signal.SIGTERM) -> int:
        """Sends a signal and waits; returns the exit status, 0 if it never ran."""
        if self._process is None:
            return 0
        if self._process.returncode is None:
            self._process.send_signal(sig)
        async with asyncio.timeout(TIMEOUT_S):
            return await self._process.wait()


class Log:
    """Writes and reads the topics around the edge."""

    TOPICS = ("calls.events", "media.audio", "dispatch.inbox", "robots.leases", "dead_letters")

    def __init__(self, config: Settings) -> None:
        self.producer = EventProducer(config, "test")
        self._reader = TopicReader(config, self.producer, self.TOPICS, since_ms=BEGINNING)
        self.events: dict[str, list[Event]] = {name: [] for name in self.TOPICS}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.producer.start()
        await self._reader.start()

        async def follow() -> None:
            async for batch in self._reader.batches():
                for received in batch:
                    self.events[received.topic].append(received.event)

        self._task = asyncio.create_task(follow())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        await self._reader.stop()
        await self.producer.stop()

    async def until(self, condition: Callable[[], Any], what: str = "") -> Any:
        """Waits for a condition on what was read; the time-out is a safety net."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while not (found := condition()):
                    assert self._task is None or not self._task.done(), "the reader died"
                    await asyncio.sleep(0.01)
                return found
        except TimeoutError:
            raise AssertionError(f"never happened: {what}") from None

    def call(self, call: str) -> list[CallEvent]:
        """Records of one call, the first of each id."""
        found: dict[str, CallEvent] = {}
        for event in self.events["calls.events"]:
            if isinstance(event, CallEvent) and event.call_id == call:
                found.setdefault(event.event_id, event)
        return list(found.values())

    def kinds(self, call: str) -> list[str]:
        return [e.kind for e in self.call(call)]

    def chunks(self, call: str, leg: str) -> list[MediaChunk]:
        found: dict[str, MediaChunk] = {}
        for event in self.events["media.audio"]:
            if isinstance(event, MediaChunk) and (event.call_id, event.leg) == (call, leg):
                found.setdefault(event.event_id, event)
        return list(found.values())

    async def assign(
        self,
        phone: str | None = None,
        permit_ms: int = 60_000,
        edge: str = "edge",
        playbook: str = "loan",
        campaign_id: str = "spring",
        terms: str | None = None,
    ) -> str:
        """An assignment by dispatch, of a number of its own; returns the call's id."""
        n = next(_n)
        task = root_id("test-task", os.getpid(), n, now_ms())
        call = call_id(task, 1)
        await self.producer.send(
            "tasks.events",
            TaskEvent(
                event_id=root_id(task, "assigned"), kind="assigned", occurred_at=now_ms(),
                producer="test", call_id=call, task_id=task, customer_id="c1",
                campaign_id=campaign_id, terms=terms, pool="sales", robot_id="r1", edge_id=edge,
                attempt=1, phone=phone or f"+8613800{n:06d}", playbook=playbook,
                playbook_version="1", asr_profile="demo",
                profile='{"level":"gold"}', profile_version=3,
                permit_expires_at=now_ms() + permit_ms,
            ),
        )  # fmt: skip
        return call

    async def status(self, call: str, kind: Any, **fields: Any) -> None:
        """What the API writes for a carrier."""
        once = kind in ("answered", "ended")
        at = now_ms()
        event_id = call_once_id(call, kind) if once else call_status_id("sim", call, kind, at)
        if kind == "refused":
            event_id = root_id(call, kind, fields["try_no"])
        await self.producer.send(
            "calls.events",
            CallEvent(
                event_id=event_id, kind=kind, occurred_at=at, producer="api", call_id=call,
                source="sim", **fields,
            ),
        )  # fmt: skip

    async def direct(self, call: str, kind: Any, epoch: int = 9, **fields: Any) -> str:
        """A robot worker's directive, of an epoch above every barrier here; returns its id."""
        n = next(_n)
        await self.producer.send(
            "dialogue.directives",
            Directive(
                event_id=root_id("test-directive", os.getpid(), n, call), kind=kind,
                occurred_at=now_ms(), producer="test", call_id=call, epoch=epoch,
                directive_id=f"d{n}", seq=n, **fields,
            ),
        )  # fmt: skip
        return f"d{n}"

    async def barrier(self, call: str, epoch: int) -> None:
        """A takeover of the call's partition."""
        event = Directive(
            event_id=root_id("barrier", os.getpid(), next(_n), epoch), kind="takeover",
            occurred_at=now_ms(), producer="test", epoch=epoch, directive_id="t", seq=0,
        )  # fmt: skip
        await self.producer.send("dialogue.directives", event, partition_of(call, 8))

    async def publish(self, playbook: str, robot: str, pool: str) -> None:
        """A script, and a robot that knows it."""
        root: dict[str, Any] = {"occurred_at": now_ms(), "producer": "test"}
        script = Playbook(
            event_id=root_id("script", playbook), kind="published", playbook=playbook,
            version="1", sha256="", body="", **root,
        )  # fmt: skip
        await self.producer.send("playbooks", script)
        status = RobotStatus(
            event_id=root_id("robot", robot), robot_id=robot, pool=pool, playbooks=[playbook],
            **root,
        )  # fmt: skip
        await self.producer.send("robots.status", status)

    async def store(self, playbook: str, sounds: dict[str, bytes], lose: str = "") -> None:
        """Puts prompts on the log, but not the sound of `lose`."""
        refs: list[PromptRef] = []
        for name, sound in sounds.items():
            sha256, offsets = hashlib.sha256(sound).hexdigest(), []
            for n, part in enumerate((sound[:500], sound[500:])):
                event = PromptSound(
                    event_id=root_id(sha256, n), occurred_at=now_ms(), producer="test",
                    sha256=sha256, part=n, parts=2, payload=part,
                )  # fmt: skip
                _, offset = await self.producer.send("prompts.audio", event)
                offsets.append(offset if name != lose else offset - 1)
            refs.append(PromptRef(name=name, sha256=sha256, size=len(sound), offsets=offsets))
        listed = PromptList(
            event_id=root_id(playbook, lose), occurred_at=now_ms(), producer="test",
            playbook=playbook, version="1", voice="", prompts=refs,
        )  # fmt: skip
        await self.producer.send("prompts", listed)

    async def opt_out(self, phone: str, site_key: bytes) -> None:
        hashed = Numbers("CN", site_key).hash(phone)
        event = OptOut(
            event_id=root_id("optout", hashed), kind="opted_out", occurred_at=now_ms(),
            producer="test", phone_hash=hashed, reason="test",
        )  # fmt: skip
        await self.producer.send("compliance.optouts", event)


class World:
    """All of it; `far` is an edge of another id, for tests that start it."""

    def __init__(self, config: Settings, folder: Path) -> None:
        two = config.model_copy(update={"edges": 2})
        self.far = EdgeProcess(edge_settings(two, 1), folder / "edge-2.log", name="edge-2")
        config = edge_settings(two, 0)
        self.config = config
        self.log = Log(config)
        self.carrier = Carrier(config.port(config.sim_port))
        self.edge = EdgeProcess(config, folder / "edge.log")
        self.spare = EdgeProcess(config, folder / "edge-b.log", spare=True)

    async def __aenter__(self) -> Self:
        await self.carrier.start()
        await self.log.start()
        await self.log.publish("loan", "r1", "sales")
        await self.edge.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.far.end(signal.SIGKILL)
        await self.edge.end(signal.SIGKILL)
        await self.spare.end(signal.SIGKILL)
        await self.log.stop()
        await self.carrier.stop()

    def prompt(self, ms: int) -> str:
        """Makes a prompt of that length; returns its hash."""
        sha = f"{ms:064x}"
        samples = 4000 * np.sin(2 * np.pi * 300 * np.arange(ms * 8) / 8000)
        self.config.prompts_dir.mkdir(parents=True, exist_ok=True)
        wav.write(self.config.prompts_dir / f"{sha}.wav", samples.astype(np.int16))
        return sha

    async def answered_call(self, **wish: Any) -> tuple[str, Telephone]:
        """A call that was assigned, dialled, answered, and is talking."""
        call = await self.log.assign(**wish)
        await self.log.until(lambda: call in self.carrier.phones, "the carrier was asked")
        phone = self.carrier.phones[call]
        await self.log.status(call, "ringing")
        await self.log.status(call, "answered")
        phone.talk()
        await self.log.until(lambda: self.log.chunks(call, "customer"), "customer's sound")
        return call, phone
