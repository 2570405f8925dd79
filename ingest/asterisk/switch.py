"""The driver: one Asterisk, its calls and its events.

The edge's Stasis application is its own, so that Asterisk tells each edge of its own calls. When
another controller takes the application over (`ApplicationReplaced`), this one is fenced: it does
nothing more.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Final

import aiohttp

from ingest.asterisk.ari import Ari, AriLost, ari_path
from ingest.asterisk.causes import EndCauses
from ingest.asterisk.events import (
    ECHO,
    AriBridge,
    AriChannel,
    AriEvent,
    AriMalformed,
    parse_ari,
    parse_bridges,
    parse_channels,
    parse_ids,
)
from ingest.asterisk.facts import (
    Asked,
    CameIn,
    Entered,
    Found,
    Gone,
    HangupAsked,
    HangUpWanted,
    LineCall,
    LineInput,
    Stepped,
    TransferWanted,
)
from ingest.asterisk.hosted import HostedCall, LineOrder
from ingest.asterisk.legs import AudioSocketLegs, Find, LegMaker, RtpLegs, WebSocketLegs
from ingest.asterisk.names import (
    OurName,
    app_of,
    endpoint_of,
    name_of,
    ours,
    read_name,
)
from ingest.asterisk.plan import AsteriskPlan
from ingest.asterisk.reach import DeviceWatch
from ingest.sound.clock import monotonic_us
from ingest.trunks.driver import (
    IncomingCall,
    LineEvent,
    Listener,
    MediaAddress,
    Medium,
    NotTaken,
    Order,
    Refused,
)
from ringlog import log
from ringlog.clock import now_ms
from schemas.ids import root_id

logger = log.logger("ringlog.ingest.asterisk")

CONNECT_S: Final = 1.0
"""How long a call waits for the connection to Asterisk before it is refused."""

PLACE_S: Final = 10.0
"""How long Asterisk may take to set a call up, before it is dialled."""

CLOSE_S: Final = 2.0
"""How long ends that are on their way are waited for."""

SWEEP_S: Final = 15.0
"""Channels of ours that are no running call's are ended when they are seen twice, this far
apart."""

ECHO_S: Final = 2.0
"""How often an event goes to us through Asterisk, and how long it may take. A socket may be open
and deaf: Asterisk 22 forgets the application of one that opened while it closed an earlier one."""

Q850_NORMAL: Final = 16
Q850_OUT_OF_ORDER: Final = 38


class AsteriskSwitch:
    """Places calls through one Asterisk."""

    sends_keys = True
    keeps_calls = True

    def __init__(
        self, plan: AsteriskPlan, find: Find | None = None, token_of: Callable[[str], str] = str
    ) -> None:
        """`find` gives a call's line by its id, and `token_of` its secret: for media by sockets."""
        self.name = plan.name
        self.medium: Medium = "rtp" if plan.media == "rtp" else "socket"
        self.fenced = False
        self._plan = plan
        self._ari = Ari(plan.url, plan.user, plan.password, plan.app, plan.tls)
        self._legs = _legs_of(plan, find or (lambda call_id: None), token_of)
        self._listener: Listener | None = None
        self._devices = DeviceWatch(self._ari, plan.devices, self._reachable)
        self._connected = asyncio.Event()
        self._echoed = asyncio.Event()
        self._forgot = asyncio.Event()
        self._calls: dict[tuple[str, int], HostedCall] = {}
        self._tries: dict[str, int] = {}  # the present try of each call
        self._lines: dict[str, HostedCall] = {}  # calls that came in, by their channel
        self._coming: dict[str, asyncio.Task[None]] = {}  # those that are not answered yet
        self._left: set[str] = set()  # of those, callers who have hung up
        self._waiting: list[AriEvent] | None = None  # events that came while calls are compared
        self._suspects: frozenset[str] = frozenset()
        self._told: set[str] = set()  # channels not of our application that we are told of
        self._inherited: set[str] = set()  # applications of lost edges
        self._look = asyncio.Event()  # calls are to be compared now
        self._ending: set[asyncio.Task[None]] = set()
        self._work: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether Asterisk tells us of our calls."""
        return self._connected.is_set()

    # The connection ------------------------------------------------------------------------------

    async def start(self, listener: Listener) -> None:
        """Connects in the background, again and again."""
        self._listener = listener
        await self._legs.start()
        self._work = asyncio.create_task(self._stay_connected(), name=f"asterisk {self.name}")

    async def close(self) -> None:
        """Ends the connection to the switch; its calls go on, but those that are ending end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S if self.connected else 0):
                while any(call.call.closing for call in self._calls.values()):
                    self._forgot.clear()
                    await self._forgot.wait()
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        for call in self._calls.values():
            call.close()
        for task in (*self._coming.values(), *self._ending):
            task.cancel()
        await self._legs.stop()
        await self._ari.close()

    async def _stay_connected(self) -> None:
        async for socket in self._ari.events():
            self._waiting = []
            self._told.clear()
            watching = asyncio.create_task(self._watch(socket))
            try:
                await self._read(socket)
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
                self._connected.clear()
            if self.fenced:
                logger.error(
                    "another controller has taken this edge's application: no more calls here. "
                    "Do two edges have the same RINGLOG_EDGE_ID?",
                    switch=self.name, app=self._ari.app,
                )  # fmt: skip
                return
            logger.warning("the connection to Asterisk is lost", switch=self.name)

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type != aiohttp.WSMsgType.TEXT:
                continue
            try:
                event = parse_ari(message.data)
            except AriMalformed as error:
                logger.warning("not an event", switch=self.name, reason=str(error))
                continue
            if event is None:
                continue
            if event.kind == "replaced":
                self.fenced = True
                return
            if event.kind == "echo":
                self._echoed.set()
            elif event.kind == "device":
                self._devices.heard(event.device, event.state)
            elif self._waiting is not None:
                self._waiting.append(event)
            else:
                self._take(event)

    async def _watch(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Closes the socket when events do not come, and compares calls now and then."""
        compared_us: int | None = None
        path, query = ari_path("events", "user", ECHO), {"application": self._ari.app}
        while True:
            self._echoed.clear()
            try:
                async with asyncio.timeout(ECHO_S):
                    asked = await self._ari.request("POST", path, query)
                    if not asked.ok:
                        raise AriLost(asked.why)
                    await self._echoed.wait()
                if compared_us is None or monotonic_us() - compared_us > SWEEP_S * 1e6:
                    await self._devices.look()
                    self._look.clear()
                    await self._compare(sweep=True)
                    compared_us = monotonic_us()
                elif self._look.is_set():
                    self._look.clear()
                    await self._compare(sweep=False)
            except (AriLost, TimeoutError) as lost:
                logger.warning("no events come", switch=self.name, reason=str(lost))
                await socket.close()
                return
            except AriMalformed as error:
                logger.error("not Asterisk's answer", switch=self.name, reason=str(error))
            if not self._connected.is_set():
                logger.info("connected", switch=self.name, calls=len(self._calls))
                self._connected.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), ECHO_S)

    def _reachable(self, trunk: str, reachable: bool) -> None:
        assert self._listener is not None, "start() first"
        self._listener.on_reachable(trunk, reachable)

    async def _compare(self, sweep: bool) -> None:
        """What the switch has against what we know: calls go on or are told as over, and with
        `sweep` channels that are nobody's end."""
        before = dict(self._calls)
        made = {key: {n for n, c in call.call.channels.items() if c.made}
                for key, call in before.items()}  # fmt: skip
        if self._waiting is None:
            self._waiting = []
        try:
            channels, bridges = await self._list()
            strange: set[str] = set()
            for call in before.values():
                strange.update(_channels_of(call, channels, bridges.get(call.bridge)))
            strange -= self._told
            strange = {name for name in strange if ours(self._ari.app, name) is None}
            if strange:
                for name in sorted(strange):
                    await self._subscribe(name)
                channels, bridges = await self._list()  # what came until now was told to nobody
            for key, call in before.items():
                if self._calls.get(key) is call:
                    _tell_found(call, channels, bridges.get(call.bridge), made[key])
                    line = call.call.line
                    if call.call.inbound and line is not None:
                        self._lines[line.name] = call
            if sweep:
                await self._sweep(channels, bridges)
        finally:
            waiting, self._waiting = self._waiting, None
            for event in waiting or ():
                self._take(event)

    async def _list(self) -> tuple[dict[str, AriChannel], dict[str, AriBridge]]:
        listed = await self._ari.request("GET", "/channels")
        bridged = await self._ari.request("GET", "/bridges")
        if not (listed.ok and bridged.ok):
            raise AriLost(f"status {listed.status}, {bridged.status}")
        channels = {channel.id: channel for channel in parse_channels(listed.body)}
        bridges = {bridge.id: bridge for bridge in parse_bridges(bridged.body)}
        return channels, bridges

    async def _sweep(
        self, channels: Mapping[str, AriChannel], bridges: Mapping[str, AriBridge]
    ) -> None:
        assert self._listener is not None, "start() first"
        running = self._listener.calls_on(self.name)
        nobodys: set[str] = set()
        strays: set[str] = set()
        for bridge in bridges.values():
            named = self._swept(bridge.id)
            if named is not None and self._is_nobodys(named, running):
                strays.add(bridge.id)
                nobodys.update(name for name in bridge.channels if name in channels)
        for name in channels:
            named = self._swept(name)
            if named is not None and self._is_nobodys(named, running):
                nobodys.add(name)
        told = await self._ari.request("GET", ari_path("applications", self._ari.app))
        for name in parse_ids(told.body, "channel_ids") if told.ok else ():
            known = name in self._lines or name in self._coming or name in self._told
            known = known or root_id(self.name, name) in running
            if not known and name in channels and read_name(name) is None:
                nobodys.add(name)  # it came in, and whoever was to answer is gone
        for name in sorted((nobodys | strays) & self._suspects):
            logger.warning("ended what is no running call's", switch=self.name)
            kind = "channels" if name in nobodys else "bridges"
            await self._ari.request("DELETE", ari_path(kind, name))
        self._suspects = frozenset(nobodys | strays)

    def _swept(self, name: str) -> OurName | None:
        """Whose a name is, if we end what is nobody's of its application: ours, or a lost
        edge's."""
        found = read_name(name)
        if found is None or found[0] not in (self._ari.app, *self._inherited):
            return None
        return found[1]

    def _is_nobodys(self, named: OurName, running: Mapping[str, str]) -> bool:
        return (named.call_id, named.try_no) not in self._calls and named.call_id not in running

    # Events --------------------------------------------------------------------------------------

    def _take(self, event: AriEvent) -> None:
        name = event.channel.id
        found = read_name(name)
        if found is None:
            call = self._lines.get(name)
        else:
            app, named = found
            call = self._calls.get((named.call_id, named.try_no))
            call = call if call is not None and call.names == app else None
        if call is None:
            if found is None:
                self._take_strange(event)
            return
        given = _input_of(event)
        if given is not None:
            call.give(given)
        elif event.kind == "dtmf" and call.is_line(name) and call.keys.take(monotonic_us()):
            self.tell(call, LineEvent("dtmf", now_ms(), digits=event.digit, source=event.key))

    def _take_strange(self, event: AriEvent) -> None:
        """Somebody calls us, or hangs up before we have answered."""
        name = event.channel.id
        if event.kind == "entered" and name not in self._coming:
            task = asyncio.create_task(self._answer(event.channel), name="incoming call")
            self._coming[name] = task
            task.add_done_callback(lambda _: self._came(name))
        elif event.kind in ("left", "destroyed") and name in self._coming:
            self._left.add(name)

    def _came(self, name: str) -> None:
        self._coming.pop(name, None)
        self._left.discard(name)

    async def _answer(self, channel: AriChannel) -> None:
        """Opens a session for a call that has come in, and then answers it."""
        assert self._listener is not None, "start() first"
        path = ari_path("channels", channel.id)
        try:
            await self._subscribe(channel.id)
            call_id = root_id(self.name, channel.id)
            came = IncomingCall(call_id, self.name, channel.exten, channel.caller, self.medium)
            address = await self._listener.came_in(came)
        except NotTaken as refused:
            logger.warning("a call is not taken", switch=self.name, reason=str(refused))
            reason = {"reason_code": str(refused.cause_q850)}
            with contextlib.suppress(AriLost):
                await self._ari.request("DELETE", path, reason)
            return
        except AriLost as lost:
            logger.warning("a call is not taken", switch=self.name, reason=str(lost))
            return
        call = HostedCall(self._ari, self._legs, self, LineCall(call_id))
        call.begin()
        self._legs.expect(call.bridge, call_id, address, came.codec)
        self._calls[call_id, 1] = call
        self._tries[call_id] = 1
        self._lines[channel.id] = call
        call.give(CameIn(channel.id))
        if channel.id in self._left:
            call.give(Gone(channel.id, Q850_NORMAL))

    async def _subscribe(self, name: str) -> None:
        """Asterisk tells the end of a channel that we did not make only on request."""
        path = ari_path("applications", self._ari.app, "subscription")
        asked = await self._ari.request("POST", path, {"eventSource": f"channel:{name}"})
        if asked.ok:
            self._told.add(name)

    def tell(self, call: HostedCall, event: LineEvent) -> None:
        """A step of a call goes to the edge."""
        assert self._listener is not None, "start() first"
        self._listener.on_progress(call.call_id, event)

    def media_at(self, call: HostedCall, theirs: MediaAddress) -> None:
        """A new media leg takes our RTP elsewhere."""
        assert self._listener is not None, "start() first"
        self._listener.on_media(call.call_id, theirs)

    def forget(self, call: HostedCall) -> None:
        """Nothing of a call is left on the switch."""
        key = (call.call_id, call.call.try_no)
        if self._calls.get(key) is call:
            del self._calls[key]
        if self._tries.get(call.call_id) == call.call.try_no:
            del self._tries[call.call_id]
        self._lines = {name: one for name, one in self._lines.items() if one is not call}
        call.close()
        self._forgot.set()

    # What the edge asks --------------------------------------------------------------------------

    async def dial(self, order: Order) -> MediaAddress | None:
        """Asks for a call; gives where its sound goes. Raises Refused."""
        key = (order.call_id, order.try_no)
        call = self._calls.get(key)
        if call is None:
            call = await self._place(order)
        try:
            async with asyncio.timeout(PLACE_S):
                await asyncio.shield(call.begun)
        except TimeoutError:
            call.give(HangUpWanted())
            raise Refused(Q850_OUT_OF_ORDER, None, "failed", "Asterisk takes too long") from None
        return call.media

    async def _place(self, order: Order) -> HostedCall:
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._connected.wait()
        except TimeoutError:
            raise Refused(Q850_OUT_OF_ORDER, None, "failed", "Asterisk is not there") from None
        key = (order.call_id, order.try_no)
        if (known := self._calls.get(key)) is not None:
            return known  # asked for twice at once
        try:
            line = name_of(self._ari.app, order.call_id, order.try_no, "line")
            endpoint = order.endpoint or endpoint_of(self._plan.endpoint, order.phone)
        except ValueError as error:
            raise Refused(Q850_OUT_OF_ORDER, None, "failed", str(error)) from None
        fresh = LineCall(order.call_id, order.try_no)
        wanted = LineOrder(
            endpoint, _variables(order, endpoint), max(1, order.ring_timeout_ms // 1000),
            self._plan.formats, order.caller_id,
        )  # fmt: skip
        call = HostedCall(self._ari, self._legs, self, fresh, wanted)
        self._legs.expect(call.bridge, order.call_id, order.ours, order.codec)
        self._calls[key] = call
        self._tries[order.call_id] = order.try_no
        call.give(Asked(line))
        return call

    async def adopt(
        self, call_id: str, ours: MediaAddress | None, try_no: int = 1, answered: bool = False,
        placed_by: str = "", anew: bool = False,
    ) -> bool:  # fmt: skip
        """Takes up a call that an earlier edge placed. What became of it meanwhile is told once we
        are connected, its end too."""
        if (call_id, try_no) in self._calls:
            return True
        known = LineCall(call_id, try_no, was_answered=answered, anew=anew)
        names = app_of(placed_by) if placed_by else self._ari.app
        call = HostedCall(self._ari, self._legs, self, known, names=names)
        call.begin()
        self._legs.expect(call.bridge, call_id, ours, "pcmu")
        self._calls[call_id, try_no] = call
        self._tries[call_id] = try_no
        if names != self._ari.app:
            self._inherited.add(names)
        self._look.set()
        return True

    def let_go(self, call_id: str) -> None:
        """Another edge has the call: nothing more is done or told."""
        for key in [key for key in self._calls if key[0] == call_id]:
            call = self._calls.pop(key)
            self._lines = {name: one for name, one in self._lines.items() if one is not call}
            self._legs.over(call.bridge)
            call.close()
            for leg in call.call.of("media"):
                if leg.made and not (leg.found or leg.gone):  # it leads to us
                    task = asyncio.create_task(self._end_leg(leg.name), name="media leg")
                    self._ending.add(task)
                    task.add_done_callback(self._ending.discard)
        self._tries.pop(call_id, None)
        self._forgot.set()

    async def _end_leg(self, name: str) -> None:
        with contextlib.suppress(AriLost):
            await self._ari.request("DELETE", ari_path("channels", name))

    def _present(self, call_id: str) -> HostedCall | None:
        return self._calls.get((call_id, self._tries.get(call_id, 0)))

    async def send_keys(self, call_id: str, digits: str) -> None:
        """Sends keys to the customer; no error if the call is over."""
        if (call := self._present(call_id)) is not None:
            call.send_keys(digits)

    async def hang_up(self, call_id: str) -> None:
        """Ends a call; no error if it is already over."""
        if (call := self._present(call_id)) is not None:
            call.give(HangUpWanted())

    async def transfer(self, call_id: str, target: str) -> bool:
        """Connects the customer with a second leg in the same bridge; True once it has answered."""
        call = self._present(call_id)
        if call is None or not self._plan.transfer:
            if call is not None:
                logger.error("no endpoint for transfers is set", switch=self.name)
            return False
        try:
            endpoint = endpoint_of(self._plan.transfer, target)
        except ValueError as error:
            logger.warning("transfer refused", call_id=call_id, reason=str(error))
            return False
        before = call.call.agent
        call.give(TransferWanted(endpoint))
        agent = call.call.agent
        if agent is None or agent == before:
            return False
        return await call.connected(agent.name)


def _legs_of(plan: AsteriskPlan, find: Find, token_of: Callable[[str], str]) -> LegMaker:
    match plan.media:
        case "rtp":
            return RtpLegs(plan.rtp_host)
        case "audiosocket":
            return AudioSocketLegs(find, plan.bind_host, plan.host, plan.audiosocket_port)
        case "websocket":
            return WebSocketLegs(find, token_of, plan.url, plan.websocket_client, plan.json_control)
        case "websocket-in":
            return WebSocketLegs(
                find, token_of, plan.url, json_control=plan.json_control, tls=plan.tls
            )


def _variables(order: Order, endpoint: str) -> dict[str, str]:
    """What is set on a channel when it is made."""
    variables = {"RINGLOG_CALL_ID": order.call_id}
    if endpoint.startswith("PJSIP/"):
        variables["PJSIP_HEADER(add,X-Ringlog-Call-Id)"] = order.call_id
    return variables


def _input_of(event: AriEvent) -> LineInput | None:
    name = event.channel.id
    match event.kind:
        case "entered":
            return Entered(name)
        case "ringing" | "early_media" | "up":
            return Stepped(name, event.kind)
        case "hangup_asked":
            return HangupAsked(name, EndCauses(event.cause, event.tech_cause), event.soft)
        case "destroyed":
            return Gone(name, event.cause)
        case _:
            return None


def _tell_found(
    call: HostedCall, channels: Mapping[str, AriChannel], bridge: AriBridge | None,
    made: set[str],
) -> None:  # fmt: skip
    """Tells a call what the switch has of it. A call with a channel in the making waits until next
    time: `made` are those that were made before the switch was asked."""
    state = call.call
    if any(not c.gone and n not in made for n, c in state.channels.items()):
        return
    there = _channels_of(call, channels, bridge)
    inside = set() if bridge is None else set(bridge.channels)
    up = frozenset(name for name in there if channels[name].state == "Up")
    call.give(Found(there, up, frozenset(inside & there), bridge is not None))


def _channels_of(
    call: HostedCall, channels: Mapping[str, AriChannel], bridge: AriBridge | None
) -> frozenset[str]:
    """The call's channels by their names, and who came in, by the bridge."""
    key = (call.call_id, call.call.try_no)
    mine = {
        name for name in channels
        if (named := ours(call.names, name)) is not None and (named.call_id, named.try_no) == key
    }  # fmt: skip
    inside = set() if bridge is None else set(bridge.channels) & channels.keys()
    return frozenset(mine | {name for name in inside if read_name(name) is None})
