"""One call's host: carries out what its controller (`control`) decides, in order, by REST."""

import asyncio
from dataclasses import dataclass
from typing import Final, Protocol, assert_never

from ingest.asterisk.ari import Ari, AriAnswer, AriLost, ari_path
from ingest.asterisk.causes import EndCauses, disposition_of
from ingest.asterisk.control import decide, evolve
from ingest.asterisk.events import AriMalformed, parse_channel
from ingest.asterisk.facts import (
    BridgeGone,
    BridgeMade,
    DialOut,
    EndBridge,
    EndChannel,
    Gone,
    Join,
    Joined,
    LineCall,
    LineCommand,
    LineInput,
    Made,
    MakeAgent,
    MakeBridge,
    MakeLine,
    MakeMedia,
    NotMade,
    PickUp,
    TellConnected,
    TellOver,
    TellStep,
)
from ingest.asterisk.legs import LegMaker
from ingest.asterisk.names import name_of
from ingest.sound.rate import KeyRate
from ingest.trunks.driver import LineEvent, MediaAddress, Refused
from ringlog import log
from ringlog.clock import now_ms

logger = log.logger("ringlog.ingest.asterisk")

SET_UP_S: Final = 10.0
"""How long a channel may take from being asked for to the bridge. One that waits for a connection
that never comes is told by nobody."""

AGENT_RING_S: Final = 30
"""How long a transfer may ring, seconds."""

MEDIA_AGAIN_S: Final = 0.1
"""Wait before another media leg after one that failed, times the failures."""

END_AGAIN_S: Final = 0.5
END_TIMES: Final = 6
"""How often an end is asked for while Asterisk does not answer; what is left is swept later."""

Q850_OUT_OF_ORDER: Final = 38
Q850_TIMEOUT: Final = 102


@dataclass(frozen=True, slots=True)
class LineOrder:
    """What is dialled. `variables` are set on the channel before."""

    endpoint: str
    variables: dict[str, str]
    ring_timeout_s: int
    formats: str = ""
    caller_id: str | None = None


class News(Protocol):
    """What a hosted call tells."""

    def tell(self, call: "HostedCall", event: LineEvent) -> None:
        """A step of the call."""
        ...

    def media_at(self, call: "HostedCall", theirs: MediaAddress) -> None:
        """Where a new media leg takes our RTP."""
        ...

    def forget(self, call: "HostedCall") -> None:
        """Nothing of it is left on the switch."""
        ...


class HostedCall:
    """One try of one call."""

    def __init__(
        self, ari: Ari, legs: LegMaker, news: News, call: LineCall, order: LineOrder | None = None,
        names: str = "",
    ) -> None:  # fmt: skip
        """`names`: the application after which its channels are named, if not ours: that of the
        edge which placed it."""
        self.call = call
        self.call_id = call.call_id
        self.names = names or ari.app
        self.bridge = name_of(self.names, call.call_id, call.try_no, "bridge")
        self.media: MediaAddress | None = None
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.keys = KeyRate()
        self._ari = ari
        self._legs = legs
        self._news = news
        self._order = order
        self._commands: asyncio.Queue[LineCommand | str] = asyncio.Queue()
        self._connected: dict[str, asyncio.Future[bool]] = {}
        self._timers: list[asyncio.TimerHandle] = []
        self._work = asyncio.create_task(self._run(), name=f"asterisk {self.call_id}")

    def give(self, given: LineInput) -> None:
        """The call's next input."""
        commands = decide(self.names, self.call, given)
        self.call = evolve(self.names, self.call, given)
        for command in commands:
            match command:
                case TellStep(kind):
                    if not self.call.inbound:
                        event = LineEvent(kind, now_ms(), try_no=self._told_try)
                        self._news.tell(self, event)
                case TellConnected(name, ok):
                    waiting = self._connected.pop(name, None)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(ok)
                case TellOver(causes, answered):
                    self._over(causes, answered)
                case _:
                    self._commands.put_nowait(command)
        if self.call.forgotten:
            self._legs.over(self.bridge)
            self._news.forget(self)

    def send_keys(self, digits: str) -> None:
        """Sends keys after everything that was asked before."""
        self._commands.put_nowait(digits)

    def is_line(self, name: str) -> bool:
        """Whether a channel is the customer's leg."""
        return self.call.line is not None and self.call.line.name == name

    @property
    def _told_try(self) -> int | None:
        """A call that came in has no tries."""
        return None if self.call.inbound else self.call.try_no

    def begin(self) -> None:
        """The call is on the switch; nobody waits for its placing any more."""
        if not self.begun.done():
            self.begun.set_result(None)

    def connected(self, agent: str) -> "asyncio.Future[bool]":
        """The outcome of the transfer to this leg."""
        waiting = self._connected[agent] = asyncio.get_running_loop().create_future()
        return waiting

    def close(self) -> None:
        """Stops working; the call goes on."""
        for timer in self._timers:
            timer.cancel()
        self._work.cancel()

    # What is told --------------------------------------------------------------------------------

    def _over(self, causes: EndCauses, answered: bool) -> None:
        disposition = disposition_of(causes, answered)
        if not self.begun.done():
            cause = Q850_OUT_OF_ORDER if causes.q850 is None else causes.q850
            refused = Refused(cause, causes.sip, disposition, "Asterisk could not place the call")
            self.begun.set_exception(refused)
            self.begun.exception()  # whoever waits is told; nobody may wait any more
            return
        self._news.tell(
            self,
            LineEvent(
                "ended", now_ms(), cause_q850=causes.q850, cause_sip=causes.sip,
                disposition=disposition, try_no=self._told_try,
            ),
        )  # fmt: skip

    # What is done --------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            command = await self._commands.get()
            try:
                await self._do(command)
            except AriLost as lost:
                logger.warning("request lost", call_id=self.call_id, reason=str(lost))
                await self._lost(command)

    async def _do(self, command: LineCommand | str) -> None:
        match command:
            case MakeBridge():
                path = ari_path("bridges", self.bridge)
                answer = await self._ari.request("POST", path, {"type": "mixing"})
                self.give(BridgeMade() if answer.ok else BridgeGone())
            case MakeLine(name):
                await self._make_line(name)
            case MakeMedia(name):
                await self._make_media(name)
            case MakeAgent(name, endpoint):
                await self._create(name, endpoint, {}, "")
            case Join(name):
                path = ari_path("bridges", self.bridge, "addChannel")
                answer = await self._ari.request("POST", path, {"channel": name})
                self.give(Joined(name) if answer.ok else NotMade(name))
                self._refused(command, answer)
            case DialOut(name):
                wait_s = AGENT_RING_S
                if self._order is not None and self.is_line(name):
                    wait_s = self._order.ring_timeout_s
                    await self._show(name, self._order.caller_id)
                path = ari_path("channels", name, "dial")
                answer = await self._ari.request("POST", path, {"timeout": str(wait_s)})
                self._refused(command, answer)
                if not answer.ok and not answer.gone:  # gone: its own end tells why
                    self.give(NotMade(name, EndCauses(Q850_OUT_OF_ORDER)))
            case PickUp(name):
                answer = await self._ari.request("POST", ari_path("channels", name, "answer"))
                self._refused(command, answer)
                if not answer.ok and not answer.gone:
                    self.give(NotMade(name, EndCauses(Q850_OUT_OF_ORDER)))
            case EndChannel(name):
                await self._end_channel(name)
            case EndBridge():
                await self._ari.request("DELETE", ari_path("bridges", self.bridge))
                self.give(BridgeGone())
            case str(digits):
                line = self.call.line
                if line is not None and not self.call.closing:
                    path = ari_path("channels", line.name, "dtmf")
                    answer = await self._ari.request("POST", path, {"dtmf": digits})
                    self._refused(command, answer)
            case TellStep() | TellConnected() | TellOver():
                raise AssertionError("told at once")
            case _:
                assert_never(command)

    async def _lost(self, command: LineCommand | str) -> None:
        """Asterisk did not answer: whatever it has done is undone."""
        match command:
            case MakeBridge():
                self.give(BridgeGone())
            case MakeLine(name) | MakeMedia(name) | MakeAgent(name):
                await self._end_channel(name)
                self.give(NotMade(name, EndCauses(Q850_OUT_OF_ORDER)))
            case Join(name) | DialOut(name) | PickUp(name):
                self.give(NotMade(name, EndCauses(Q850_OUT_OF_ORDER)))
            case EndBridge():
                self.give(BridgeGone())
            case _:
                pass  # an end was asked for again and again; keys are lost

    def _refused(self, command: LineCommand | str, answer: AriAnswer) -> None:
        if not answer.ok and not answer.gone:
            what = "keys" if isinstance(command, str) else type(command).__name__
            logger.warning("Asterisk refuses", what=what, call_id=self.call_id, why=answer.why)

    async def _show(self, name: str, caller_id: str | None) -> None:
        """The called party is shown the other side of its channel, the connected line. It is set
        last, since joining a bridge sets it, too."""
        if caller_id:
            path = ari_path("channels", name, "variable")
            query = {"variable": "CONNECTEDLINE(num)", "value": caller_id}
            answer = await self._ari.request("POST", path, query)
            if not answer.ok and not answer.gone:
                logger.warning("no caller id", call_id=self.call_id, status=answer.status)

    async def _make_line(self, name: str) -> None:
        assert self._order is not None, "only a call that we place has its line made"
        order = self._order
        await self._create(name, order.endpoint, order.variables, order.formats)

    async def _create(
        self, name: str, endpoint: str, variables: dict[str, str], formats: str
    ) -> None:
        if self.call.closing:
            self.give(NotMade(name))
            return
        query = {"endpoint": endpoint, "app": self._ari.app, "channelId": name}
        if formats:
            query["formats"] = formats
        answer = await self._ari.request(
            "POST", "/channels/create", query, {"variables": variables}
        )
        if answer.ok:
            self._watch(name)
            self.give(Made(name))
            return
        logger.warning("no channel", call_id=self.call_id, status=answer.status)
        self.give(NotMade(name, EndCauses(Q850_OUT_OF_ORDER)))

    async def _make_media(self, name: str) -> None:
        if self.call.failures:
            await asyncio.sleep(MEDIA_AGAIN_S * self.call.failures)
        try:
            query = self._legs.query(self.bridge, name)
        except KeyError:
            self.give(NotMade(name))
            return
        if self.call.closing:
            self.give(NotMade(name))
            return
        query |= {"app": self._ari.app, "channelId": name}
        answer = await self._ari.request("POST", "/channels/externalMedia", query)
        if not answer.ok:
            logger.warning("no media leg", call_id=self.call_id, why=answer.why)
            self.give(NotMade(name, EndCauses(Q850_OUT_OF_ORDER)))
            return
        try:
            theirs = self._legs.made(self.bridge, name, parse_channel(answer.body))
        except AriMalformed as error:
            logger.error("no media leg", call_id=self.call_id, why=str(error))
            self.give(Made(name))
            self.give(NotMade(name, EndCauses(Q850_OUT_OF_ORDER)))
            return
        self._watch(name)
        self.give(Made(name))
        if theirs is not None:
            self.media = theirs
            if self.begun.done():
                self._news.media_at(self, theirs)
        self.begin()

    def _watch(self, name: str) -> None:
        def late() -> None:
            channel = self.call.channels.get(name)
            if channel is not None and not channel.joined and not channel.gone:
                why, role = "a channel does not come up", channel.role
                logger.warning(why, call_id=self.call_id, role=role)
                self.give(NotMade(name, EndCauses(Q850_TIMEOUT)))

        self._timers.append(asyncio.get_running_loop().call_later(SET_UP_S, late))

    async def _end_channel(self, name: str) -> None:
        path = ari_path("channels", name)
        for attempt in range(END_TIMES):
            try:
                answer = await self._ari.request("DELETE", path)
            except AriLost:
                await asyncio.sleep(END_AGAIN_S * (attempt + 1))
                continue
            if answer.gone:
                self.give(Gone(name))
            return
        logger.warning("a channel's end is not confirmed", call_id=self.call_id)
        self.give(Gone(name))
