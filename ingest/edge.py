"""The edge's host: Kafka in and out, sockets, the shared ticker. `ingest.call` decides, and
`ingest.following` knows what the log tells."""

import asyncio
import socket
import uuid
from collections.abc import Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from aiokafka.errors import KafkaTimeoutError

from ingest.addresses import media_ws_url, rtp_host
from ingest.asr_profiles import asr_profiles_of
from ingest.call.actor import CallActor
from ingest.call.machine import decide
from ingest.call.records import answered_by_us, identity_of
from ingest.call.types import (
    Q850_TEMPORARY_FAILURE,
    Assigned,
    Call,
    Directed,
    HangUp,
    HungUp,
    Identity,
    LineFound,
    NoLine,
    NumberChecked,
    Phase,
    Progressed,
    Recorded,
    Write,
)
from ingest.draining import Drain
from ingest.failover.fence import Fence
from ingest.failover.handover import HandoverSender
from ingest.failover.inheritance import Inheritance
from ingest.failover.journal import Journal
from ingest.following import Follower, Following
from ingest.heartbeats import EdgeHeartbeats, Load
from ingest.inbound import answer
from ingest.keys import media_token
from ingest.opening import open_by_message
from ingest.optouts import READ_TIMEOUT_S, OptOuts
from ingest.past_calls import read_past_calls
from ingest.resuming import Resuming
from ingest.ring_backs import LastCall
from ingest.rtp.socket import PortPool
from ingest.sessions import SessionSpec, Site
from ingest.sound.apm import load
from ingest.sound.clean_line import CleanLine, CleanThreads
from ingest.sound.cleaning import Cleanings
from ingest.sound.clock import monotonic_us
from ingest.sound.log import MediaLog
from ingest.sound.pacer import Pacer
from ingest.sound.prompt_fetch import PromptFetcher
from ingest.sound.prompt_lists import PromptMissing
from ingest.sound.prompts import PromptStore
from ingest.sound.session import Session
from ingest.sound.types import PCMU, Format
from ingest.ticker import tick
from ingest.trunks.driver import IncomingCall, LineEvent, MediaAddress, Medium
from ingest.trunks.plan import Inbound, default_plan, of_called
from ingest.trunks.status import TrunkStatuses
from ingest.trunks.switchboard import Switchboard
from ingest.trunks.switches import SwitchMaker
from ingest.ws.doors import doors_of
from ingest.ws.line import WsLine
from ingest.ws.server import MediaServer
from ringlog import log
from ringlog.clock import now_ms
from ringlog.dispositions import EDGE_STOPPING
from ringlog.edges import Advertised
from ringlog.kafka.producer import EventProducer
from ringlog.law.site import law_of, rules_read
from ringlog.lifecycle import Lifecycle
from ringlog.metrics import CALLS
from ringlog.settings import Settings
from ringlog.site_key import derived_key, site_key
from ringlog.tls import Certificate, certificate_of
from ringlog.yaml_source import InvalidFile
from schemas.envelope import Event
from schemas.events import CallEvent, Directive, TaskEvent
from schemas.phone import Numbers
from schemas.wire import Codec

logger = log.logger("ringlog.ingest.edge")

STOP_S: Final = 5.0

JOIN_MS: Final = 2_000
"""How long an edge that joins others waits before it dials: by then they leave it its share of the
trunks' caps."""


def handover_path(config: Settings) -> Path:
    """The path at which an edge's spare listens for sockets."""
    return config.home / config.edge_id / "handover"


class Edge:
    """All calls of one edge process."""

    def __init__(self, life: Lifecycle, codec: Codec) -> None:
        """`codec` must know all schemas already, since its registry client blocks."""
        self.life = life
        self.config = life.settings
        self.edge_id = edge_id = self.config.edge_id
        self.instance = f"{edge_id}-{uuid.uuid4().hex[:8]}"
        self.producer = EventProducer(self.config, "edge", codec)
        site = site_key(self.config)
        self.numbers = Numbers(self.config.region, site)
        self.stopping = False
        self.drain = Drain(self.config.home / edge_id / "drain.json", self._on_drain)
        self.media_ws_url = media_ws_url(self.config)
        self.stream_secret = derived_key(site, "rtp")
        self._token_secret = derived_key(site, "media-token")
        self.optouts = OptOuts(self.config, self.producer)
        self.journal = Journal(self.config.home / edge_id / "calls")
        self.handover = HandoverSender(handover_path(self.config))
        self.ports = PortPool(self.config.rtp_ports, self.handover)
        self.media_log = MediaLog(self.producer)
        self.cleanings = Cleanings(self.config.clean)
        self._clean_threads = CleanThreads()
        profiles = asr_profiles_of(self.config)
        plan = default_plan(self.config)
        self.following = Following(
            edge_id, self.numbers, plan, profiles.default, law_of(self.config)
        )
        maker = SwitchMaker(self.config, edge_id, self._media_url_of, self._ws_line, self.token_of)
        self.switchboard = Switchboard(edge_id, self.following.router, self.spawn, maker)
        self._fetcher = PromptFetcher(self.config, codec)
        self.prompts = PromptStore(self.config.prompts_dir, self.following.prompts, self._fetcher)
        self._follower = Follower(life, self.producer, self.following.take, self.following.wants)
        self.site = Site(
            edge_id, self.config.tenant_id, self.config.region, self.following.defaults, profiles
        )
        self.rtp_host = rtp_host(self.config)
        self.pacer = Pacer(monotonic_us())
        self.sessions: dict[str, Session] = {}
        self.actors: dict[str, CallActor] = {}
        self._ws = MediaServer(
            self._ws_line, self.token_of, partial(open_by_message, self),
            doors_of(self.config, self.media_ws_url, self.is_over, self.customer_of),
        )  # fmt: skip
        self._background: set[asyncio.Task[Any]] = set()
        self._plan_changed = asyncio.Event()
        self._began_ms = 0
        self._trunk_status = TrunkStatuses(
            self.following.router, edge_id, self.instance, self.config.tenant_id, self.queue
        )
        reached = Advertised(
            self.rtp_host, self.media_ws_url, self.config.edge_control_url,
            self.config.edge_capacity,
        )  # fmt: skip
        self._fence = Fence(self.instance, self.config.edge_takeover_ms)
        self._resuming = Resuming(self, self._fence, self._follower.to_the_end)
        self._inheritance = Inheritance(
            self.config, self.instance, self.producer, self._fence, self._resuming
        )
        self._heartbeats = EdgeHeartbeats(
            edge_id, self.instance, self.config.tenant_id, self.queue, reached, self._load,
            lambda n: self._fence.sent(n, monotonic_us()),
        )  # fmt: skip

    # Start and stop ------------------------------------------------------------------------------

    async def follow(self, spare: bool = False) -> None:
        """Reads what the log tells, and goes on reading; serves nothing yet. Poison goes to
        `dead_letters`, but a spare leaves that to the edge that serves. Raises KafkaError."""
        waiting = self.life.health.set_waiting
        await rules_read(self.life)
        waiting("kafka")
        if self.cleanings.site.any:
            await asyncio.to_thread(load)  # while no call's frames wait for it
        await self.producer.start()
        await self.producer.announce()
        waiting("do-not-call list")
        await self.optouts.start()
        self.life.spawn(self.optouts.run(), "optouts")
        await self.optouts.caught_up()
        waiting("calls, directives and assignments")
        await self._follower.start(bury=not spare)
        if self.config.ring_back_days:
            reading = read_past_calls(self.config, self.producer, self.following.take_past)
            self.life.spawn(reading, "past-calls")

    async def start(self, handed_over: dict[int, socket.socket] | None = None) -> None:
        """After `follow`: resumes running calls, takes new ones. `handed_over` are the previous
        edge's RTP sockets, by port. Raises KafkaError, OSError."""
        self.life.health.set_waiting("the log's end")
        self.ports.handed_over = handed_over or {}
        self.life.spawn(self.media_log.run(), "media-log")
        self.drain.look_again()
        self._follower.bury()
        await self._follower.to_the_end()
        self.pacer = Pacer(monotonic_us())
        self.life.spawn(
            tick(self.pacer, self.sessions, self.actors, lambda: self.drain.is_over(now_ms())),
            "ticker",
        )
        self.handover.connect()
        self._began_ms = now_ms()
        await self._take_plan()
        await self._resuming.resume()
        await self.switchboard.start(self)
        self._resuming.adopt_on(self.switchboard.names)
        self.ports.close_unclaimed()
        self.life.spawn(self.handover.run(), "handover")
        certificate = certificate_of(self.config)
        if certificate is None:
            await self._ws.start(*self._media_address)
        else:
            self.life.spawn(self._serve_tls(certificate), "tls")
        self.following.dial()
        self.life.spawn(self._heartbeats.tell_calls(self._running), "calls-alive")
        self.life.spawn(self._heartbeats.tell_lease(), "lease")
        self.life.spawn(self._inheritance.run(), "inheritance")
        self.life.spawn(self._follow_plan(), "trunks")
        self.life.spawn(self._trunk_status.tell(now_ms), "trunks.status")
        self.life.health.set_ready()
        logger.info("ready", calls=len(self.actors), optouts_known=True)

    @property
    def _media_address(self) -> tuple[str, int]:
        return self.config.bind_host, self.config.port(self.config.media_ws_port)

    async def _serve_tls(self, certificate: Certificate) -> None:
        """Calls by RTP go on without it."""
        context = await certificate.first()
        await self._ws.start(*self._media_address, context)
        await certificate.follow(context)

    async def stop(self, hand_over: bool = False) -> None:
        """Ends all calls with their records, or leaves them to a successor; then flushes."""
        self.stopping = True  # first of all: from now on nobody is dialled
        self._heartbeats.tell_now()
        if not hand_over:
            await self._let_end()
        self.life.health.set_waiting("stopping")
        self.handover.close()
        if hand_over:
            await self._ws.stop()
        actors = list(self.actors.values())
        for actor in actors:
            if hand_over:
                actor.leave()
            else:
                dialled = actor.call.phase >= Phase.PLACED
                why = "failed" if dialled else EDGE_STOPPING
                actor.put(HungUp(why, Q850_TEMPORARY_FAILURE))
        if hand_over:
            logger.info("calls handed over", calls=len(actors))
            for task in self._background:
                task.cancel()
        elif actors:
            ends = [asyncio.create_task(actor.over.wait()) for actor in actors]
            _, late = await asyncio.wait(ends, timeout=STOP_S)
            for task in late:
                task.cancel()
            if late:
                logger.warning("calls did not end in time", calls=len(late))
        if not hand_over:
            await self._ws.stop()  # only now, so that peers have been told the end of their calls
        if self._background:
            await asyncio.wait(tuple(self._background), timeout=STOP_S)
        if not await self.media_log.drain(STOP_S):
            logger.error("chunks were not acknowledged in time")
        try:
            async with asyncio.timeout(STOP_S):
                await self.producer.send("robots.leases", self._heartbeats.lease("release", 0))
        except Exception as error:  # stopping goes on whatever the broker answers
            logger.warning("lease not released", error=f"{type(error).__name__}: {error}")

    async def _let_end(self) -> None:
        """Waits for running calls, as long as the site allows."""
        ends = [asyncio.create_task(actor.over.wait()) for actor in self.actors.values()]
        if ends and self.config.drain_s > 0:
            logger.info("waiting for calls to end", calls=len(ends), s=self.config.drain_s)
            await asyncio.wait(ends, timeout=self.config.drain_s)
        for task in ends:
            task.cancel()

    async def disconnect(self) -> None:
        """After `stop` and the end of all spawned work."""
        self._clean_threads.stop()
        await self._follower.stop()
        await self._fetcher.stop()
        await self.optouts.stop()
        await self.switchboard.close()
        await self.producer.stop()

    @property
    def draining(self) -> bool:
        """Whether no new calls are taken."""
        return self.stopping or self.drain.active

    def _on_drain(self) -> None:
        self._heartbeats.tell_now()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Runs work whose failure concerns one call, not the service."""
        task = asyncio.create_task(work, name=name)
        self._background.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("failed", work=task.get_name(), error=f"{type(error).__name__}: {error}")

    async def check_number(self, identity: Identity, phone: str) -> NumberChecked:
        """Whether a number may be dialled now; then it is this call's until its end."""
        if not await self._knows_the_others(identity):
            return NumberChecked(None, None)
        mute = not await self._has_prompts(identity)
        opted_out, offset = await self.optouts.look_up(
            self.numbers.hashes(phone), identity.tenant_id, identity.campaign_id
        )
        free = self.following.numbers_in_calls.claim(
            self.numbers.hash(phone), identity.call_id, now_ms()
        )
        others = (actor.call.phase for one, actor in self.actors.items() if one != identity.call_id)
        busy = sum(Phase.PERMITTED < phase < Phase.ENDED for phase in others)
        return NumberChecked(
            opted_out, offset, in_call=not free, stopping=self.draining,
            full=busy >= self.config.edge_capacity, mute=mute,
            unlawful=self.following.law.refusal(identity, phone, now_ms()),
        )  # fmt: skip

    async def _knows_the_others(self, identity: Identity) -> bool:
        """Reads to the log's end what other edges dial, where there are any, once our own dial is
        written: of two edges that dial one number at once, one at least sees the other. False where
        the log cannot be read."""
        actor, at_ms = self.actors.get(identity.call_id), now_ms()
        if actor is not None and actor.call.phase < Phase.DIALING:
            return True  # it is checked again before the switch is asked
        if all(edge.edge_id == self.edge_id for edge in self.following.fleet.serving(at_ms)):
            return True
        return await self._follower.reaches_the_end(READ_TIMEOUT_S)

    def clean_line(self, call_id: str, trunk: str, sound: Format) -> CleanLine | None:
        """What cleans a call of that trunk; None where nothing does."""
        cleaning = self.cleanings.processing_for(trunk)
        return CleanLine(call_id, cleaning, sound, self._clean_threads) if cleaning.any else None

    async def _has_prompts(self, identity: Identity) -> bool:
        """Brings all prompts that a call may play to this machine; False when one is missing."""
        known = self.following.defaults
        version = identity.playbook_version or known.newest(identity.playbook)
        try:
            await self.prompts.bring(
                self.following.prompts.of(
                    identity.playbook, version, known.voice(identity.robot_id)
                )
            )
        except PromptMissing as error:
            logger.error("a call is put off", call_id=identity.call_id, why=str(error))
            return False
        return True

    async def queue(self, topic: str, event: Event) -> "asyncio.Future[object]":
        """Hands a record to the producer; tries for as long as the broker accepts none."""
        while True:
            try:
                return await self.producer.queue(topic, event)
            except KafkaTimeoutError:
                logger.warning("the broker accepts no records", topic=topic)

    def on_written(self, future: "asyncio.Future[object]") -> None:
        """The broker's answer to a record; a refusal stops the service."""
        if not future.cancelled() and (error := future.exception()) is not None:
            self.life.spawn(_raise(error), "calls.events")

    async def find_line(self, call: Call) -> LineFound | NoLine:
        """The trunk of a call's next try; it counts from now on."""
        at_ms = now_ms()
        edges = [edge.edge_id for edge in self.following.fleet.serving(at_ms)]
        if edges not in ([], [self.edge_id]) and at_ms < self._began_ms + JOIN_MS:
            return NoLine(JOIN_MS // 4)  # the others do not yet leave us our share
        return self.switchboard.find(call, edges, at_ms)

    def on_plan(self) -> None:
        """The site's trunks have changed."""
        self._plan_changed.set()

    async def _follow_plan(self) -> None:
        while True:
            await self._plan_changed.wait()
            self._plan_changed.clear()
            await self._take_plan()

    async def _take_plan(self) -> None:
        """Works by what is published, if that is whole and can be read."""
        try:
            plan = self.following.published.plan()
        except ValueError as error:
            logger.error("the published trunks cannot be read", reason=str(error))
            return
        if plan is None or plan == self.switchboard.router.plan:
            return
        self.cleanings = Cleanings(
            self.config.clean, {name: trunk.clean for name, trunk in plan.trunks.items()}
        )
        self._resuming.adopt_on(await self.switchboard.follow(plan))
        logger.info("trunks", trunks=len(plan.trunks), switches=len(plan.switches))

    def on_reachable(self, trunk: str, reachable: bool) -> None:
        """A switch has tried a trunk by itself."""
        if self.switchboard.router.told(trunk, reachable, now_ms()):
            logger.info("trunk", trunk=trunk, reachable=reachable)

    def on_progress(self, call_id: str, progress: LineEvent) -> None:
        """A switch has told a step of a call."""
        if (actor := self.actors.get(call_id)) is not None:
            actor.put(Progressed(progress))

    def on_media(self, call_id: str, theirs: MediaAddress) -> None:
        """A switch takes a call's sound elsewhere."""
        if (actor := self.actors.get(call_id)) is not None:
            self.spawn(actor.move_media(theirs), "media")

    def calls_on(self, switch: str) -> dict[str, str]:
        """The running calls on a switch, with their trunks: ours, and where it keeps calls, those
        of other edges as well, since they may have been ours."""
        running = {
            call_id: actor.call.trunk
            for call_id, actor in self.actors.items()
            if actor.call.phase < Phase.ENDED and self.switchboard.of(call_id).name == switch
        }
        for call in self.following.running.all():
            on = self.switchboard.by_trunk(call.trunk)
            if on.name == switch and on.keeps_calls:
                running.setdefault(call.identity.call_id, call.trunk)
        return running

    # From the log --------------------------------------------------------------------------------

    def on_recorded(self, call_id: str, event: CallEvent, first: bool) -> None:
        """A record of one of our calls; `first` of its kind."""
        if first:
            CALLS.labels(event.kind).inc()
        if (actor := self.actors.get(call_id)) is not None:
            actor.put(Recorded(event))

    def on_directive(self, call_id: str, directive: Directive) -> bool:
        """A directive that counts; False when the call is not in our hands."""
        if (actor := self.actors.get(call_id)) is None:
            return False
        actor.put(Directed(directive))
        return True

    def on_assigned(self, task: TaskEvent) -> None:
        """A call that dispatch gave to this edge."""
        if self.stopping:
            return  # a successor dials it, or dispatch assigns it again when its permit ends
        identity = identity_of(task, self.site.asr_profiles.default)
        if identity is None:
            logger.error("assignment lacks what dialling needs", call_id=task.call_id)
            return
        if identity.call_id in self.actors:
            return
        actor = self.add(Call(identity, ""), PCMU)
        actor.put(Assigned())
        self.spawn(self.work(actor), identity.call_id)

    def add(self, call: Call, sound: Format) -> CallActor:
        """From now on records of the call reach its actor."""
        actor = CallActor(self, call, sound)
        self.following.began(actor.call_id)
        self.actors[actor.call_id] = actor
        return actor

    async def work(self, actor: CallActor) -> None:
        """Works until the call is over, or another edge's."""
        try:
            await actor.run()
        except Exception as error:  # whatever failed, the call gets its end
            logger.exception("call failed", call_id=actor.call_id, error=str(error))
            failure = HungUp("failed", Q850_TEMPORARY_FAILURE)
            for command in decide(replace(actor.call, closing=False), failure, now_ms()):
                if isinstance(command, Write):
                    await (await self.queue("calls.events", command.event))
                elif isinstance(command, HangUp):
                    await self.switchboard.of(actor.call_id).hang_up(actor.call_id)
        finally:
            self.actors.pop(actor.call_id, None)
            self.switchboard.forget(actor.call_id)
            if not actor.left:
                self.following.over(actor.call_id)

    async def may_act(self, call: Call) -> bool:
        """Whether the call is still ours; waits where another edge may have taken it."""
        return await self._resuming.may_act(call)

    # External calls ------------------------------------------------------------------------------

    def token_of(self, call_id: str) -> str:
        """The secret of a call's media WebSocket."""
        return media_token(self._token_secret, call_id)

    def _media_url_of(self, call_id: str) -> str:
        path = f"{self.media_ws_url}/{quote(call_id, safe='')}"
        return f"{path}?token={self.token_of(call_id)}"

    def _ws_line(self, call_id: str) -> WsLine | None:
        actor = self.actors.get(call_id)
        return None if actor is None or actor.session is None else actor.ws

    def _running(self) -> list[tuple[str, str]]:
        """(pool, call id) of every call in progress that has a pool."""
        return [
            (actor.call.identity.pool, call_id)
            for call_id, actor in self.actors.items()
            if actor.call.identity.pool is not None and actor.call.phase < Phase.ENDED
        ]

    def _load(self) -> Load:
        return Load(len(self.actors), self.draining)

    def knows(self, call_id: str) -> bool:
        """Whether a call with this id runs on any edge, or ended recently on this one."""
        known = self.following.knows(call_id) or call_id in self.actors
        return known or self.following.running.edge_of(call_id) is not None

    @property
    def takes_calls(self) -> bool:
        """Whether another call may begin here."""
        return not self.draining and len(self.actors) < self.config.edge_capacity

    def is_over(self, call_id: str) -> bool:
        """Whether a call ended lately."""
        return self.following.knows(call_id) and call_id not in self.actors

    def customer_of(self, phone: str) -> str:
        """An id for the customer of a number that no system has named."""
        return f"caller-{self.numbers.hash(phone)[:16]}"

    def last_call(self, phone: str, called: str, campaign_id: str | None) -> LastCall | None:
        """The call of ours that a caller answers who rings `called`; both E.164."""
        return self.following.ring_backs.of(self.numbers.hash(phone), called, campaign_id)

    async def came_in(self, call: IncomingCall) -> MediaAddress | None:
        """Somebody calls us on a switch; raises NotTaken."""
        return await answer(self, call)

    def of_called(self, number: str) -> tuple[str, Inbound] | None:
        """The trunk and the entry of a number of ours, E.164."""
        try:
            return of_called(self.switchboard.router.plan, self.config, number)
        except InvalidFile as error:
            logger.error("trunks.yaml cannot be read", reason=str(error))
            return None

    async def open_incoming(self, spec: SessionSpec, came: IncomingCall, trunk: str) -> CallActor:
        """Takes a call that has come in on a trunk: media, then its first record.

        Raises NoPort, OSError, KafkaError.
        """
        self.switchboard.holds(came.call_id, trunk)
        return await self.open_external(spec, came.medium, trunk)

    async def open_external(
        self, spec: SessionSpec, medium: Medium = "rtp", trunk: str = "foreign"
    ) -> CallActor:
        """Takes a call that another system placed: media, then its first record. With the medium
        `socket` the caller attaches the transport.

        Raises NoPort, OSError, KafkaError.
        """
        identity = spec.identity
        actor = self.add(Call(identity, trunk), spec.sound)
        try:
            await actor.open_media(
                spec.remote, event_type=spec.event_type, medium=medium, wire=spec.wire
            )
        except BaseException:
            del self.actors[actor.call_id]
            self.following.unknown(actor.call_id)
            raise
        if identity.phone:
            hashed = self.numbers.hash(identity.phone)
            self.following.numbers_in_calls.began(hashed, identity.call_id, now_ms())
        self.spawn(self.work(actor), actor.call_id)
        try:
            first = answered_by_us(actor.call, now_ms())
            await self.producer.send("calls.events", first)
        except BaseException:
            actor.put(HungUp("failed", Q850_TEMPORARY_FAILURE))
            raise
        return actor


async def _raise(error: BaseException) -> None:
    raise error
