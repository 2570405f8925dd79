"""FreeSWITCH places our calls: originate, answer, keys, transfer, hang-up over its event socket.

A call is a channel whose id derives from ours, parked; its sound comes by mod_audio_stream to our
media WebSocket. The switch is connected again with back-off whenever the connection is lost: calls
that it no longer has are told as ended, and channels of ours that are nobody's call are ended.
"""

import asyncio
import json
import re
import uuid
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote

from ingest.freeswitch.causes import outcome_of
from ingest.freeswitch.esl import EslEvent
from ingest.freeswitch.socket import EslLost, EslSocket
from ingest.trunks.driver import (
    IncomingCall,
    LineEvent,
    LineEventKind,
    Listener,
    MediaAddress,
    Medium,
    NotTaken,
    Order,
    Refused,
)
from ingest.trunks.reach import Reach
from ringlog import log
from ringlog.clock import now_ms
from schemas.ids import root_id

logger = log.logger("ringlog.ingest.freeswitch")

RETRY_S: Final = (0.25, 10.0)
"""First and longest wait before the next try to connect; it doubles between."""

PROBE_S: Final = 2.0
"""How often the switch is asked whether it lives; no answer for 5 s is a lost connection."""

DECIDED_S: Final = 4.0
"""How long `dial` waits for the first sign; a carrier's refusal in that time is `Refused`."""

Q850_NORMAL: Final = 16
Q850_OUT_OF_ORDER: Final = 38
Q850_INVALID_NUMBER: Final = 28
Q850_TEMPORARY: Final = 41

_NUMBER: Final = re.compile(r"\+?[0-9*#]{1,32}")
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TARGET: Final = re.compile(r"[A-Za-z0-9_.+*#@-]{1,64}( [A-Za-z0-9_.-]{1,32}){0,2}")
_KEYS: Final = re.compile(r"[0-9A-D*#]{1,64}")
_ENDPOINT: Final = re.compile(r"[^\s{}\[\]<>&|,'\"\\]{1,255}")
_CHANNEL: Final = re.compile(r"[0-9A-Za-z-]{1,64}")
_MARK: Final = "ringlog/"
_MARKED: Final = re.compile(r"ringlog/([^/]*)/([^/]*)/([0-9]{1,4})")

_GATEWAY: Final = re.compile(r"sofia/gateway/([A-Za-z0-9_.:-]{1,64})/.*")
_STATUS: Final = re.compile(r"<status>\s*([A-Z]{1,16})\b")

_SPACE: Final = uuid.UUID("8e2d2a5c-6a0d-5d0e-9a53-5f1d4c1c7f10")


@dataclass(frozen=True, slots=True)
class FreeSwitchConfig:
    """Where a FreeSWITCH is, and how it dials.

    `dial`: the endpoint, with `{trunk}` and `{phone}`. `raw`: whether its mod_audio_stream plays
    binary sound itself (1.0.3 and later). `edge_id` marks the channels of one edge. `gateways`: our
    trunks by the gateway that they dial.
    """

    host: str
    port: int
    password: str
    edge_id: str
    name: str = "freeswitch"
    dial: str = "sofia/gateway/{trunk}/{phone}"
    raw: bool = True
    gateways: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(slots=True)
class _Channel:
    """A try of a call that this switch has, or was asked for."""

    call_id: str
    try_no: int
    media_url: str
    rate_khz: int
    answered: bool = False
    streaming: bool = False
    over: bool = False
    decided: asyncio.Event = field(default_factory=asyncio.Event)
    refused: Refused | None = None


class FreeSwitch:
    """The driver."""

    medium: Medium = "socket"
    sends_keys = True
    keeps_calls = False

    def __init__(self, config: FreeSwitchConfig, media_url_of: Callable[[str], str]) -> None:
        """`media_url_of`: a call's URL on our media WebSocket, with its token."""
        self._config = config
        self._media_url_of = media_url_of
        self._listener: Listener | None = None
        self._reach = Reach(config.gateways)
        self._socket: EslSocket | None = None
        self._connected = asyncio.Event()
        self._channels: dict[str, _Channel] = {}
        self._jobs: dict[str, str] = {}  # job -> channel
        self._of_call: dict[str, str] = {}  # call -> channel of its newest try
        self._adopting: dict[str, tuple[int, bool]] = {}  # call -> its try, whether it is answered
        self._given_up: set[str] = set()  # asked for, no answer came: ended if they appear
        self._work: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[object]] = set()

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self._config.name

    # The connection ------------------------------------------------------------------------------

    async def start(self, listener: Listener) -> None:
        """Connects in the background, again and again."""
        self._listener = listener
        self._work = asyncio.create_task(self._stay_connected(), name=f"freeswitch {self.name}")

    @property
    def connected(self) -> bool:
        """Whether the event socket is there."""
        return self._connected.is_set()

    async def close(self) -> None:
        """Ends the connection; calls go on."""
        tasks = [*self._background, *([self._work] if self._work is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()

    async def _stay_connected(self) -> None:
        wait_s, told = RETRY_S[0], ""
        while True:
            socket = EslSocket(self._on_event)
            try:
                await socket.connect(self._config.host, self._config.port, self._config.password)
                reading = asyncio.create_task(socket.run())
                try:
                    self._socket = socket
                    self._jobs.clear()
                    await self._compare(socket)
                    await self._ask_gateways(socket)
                    self._connected.set()
                    await self._take_up_all()
                    wait_s, told = RETRY_S[0], ""
                    logger.info("connected", switch=self.name)
                    await self._probe(socket, reading)
                finally:
                    self._connected.clear()
                    reading.cancel()
                    await asyncio.gather(reading, return_exceptions=True)
            except EslLost as lost:
                if str(lost) != told:  # once, not at every try
                    told = str(lost)
                    logger.warning("not connected", switch=self.name, reason=told)
            finally:
                socket.close()
                self._socket = None
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, RETRY_S[1])

    async def _probe(self, socket: EslSocket, reading: "asyncio.Task[None]") -> None:
        while True:
            await asyncio.wait((reading,), timeout=PROBE_S)
            if reading.done():
                reading.result()
            await socket.api("uptime")

    async def _compare(self, socket: EslSocket) -> None:
        """What the switch has against what we know, after a connection was lost."""
        assert self._listener is not None, "start() first"
        found = channels_of(await socket.api("show channels as json"), self._config.edge_id)
        for channel_id, channel in list(self._channels.items()):
            if channel_id not in found:
                channel.refused = Refused(Q850_TEMPORARY, None, "failed", "lost by the switch")
                self._end(channel_id, channel, Q850_TEMPORARY, None, "failed")
        ours = self._listener.calls_on(self.name)
        for channel_id, mark in found.items():
            given_up = channel_id in self._given_up
            if given_up or (mark.call_id not in ours and channel_id not in self._channels):
                logger.warning("a channel is nobody's call: ended", call_id=mark.call_id)
                await socket.api(f"uuid_kill {channel_id} NORMAL_TEMPORARY_FAILURE")

    async def _ask_gateways(self, socket: EslSocket) -> None:
        """Later changes come as events."""
        for name in self._reach.names:
            shown = await socket.api(f"sofia xmlstatus gateway {name}")
            found = _STATUS.search(shown)
            self._on_gateway(name, found[1] if found is not None else "")

    def _on_gateway(self, name: str, status: str) -> None:
        """FreeSWITCH dials by no gateway that is DOWN: it does not answer SIP OPTIONS (`ping`), or
        its registration has failed."""
        reachable = status != "DOWN"
        for trunk in self._reach.news(name, reachable):
            if self._listener is not None:
                self._listener.on_reachable(trunk, reachable)

    async def _api(self, words: str) -> str:
        if self._socket is None:
            raise EslLost("not connected")
        return await self._socket.api(words)

    def _spawn(self, words: str, call_id: str, or_else: str = "") -> None:
        """A command whose answer nobody waits for; `or_else` follows when it is refused."""

        async def work() -> None:
            try:
                if (answer := await self._api(words)).startswith("+OK"):
                    return
                logger.warning(
                    "command refused", command=words.partition(" ")[0], call_id=call_id,
                    answer=answer[:200],
                )  # fmt: skip
                if or_else:
                    await self._api(or_else)
            except EslLost as lost:
                logger.warning("command lost", call_id=call_id, reason=str(lost))

        self._run(work())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task: asyncio.Task[object] = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # Calls ---------------------------------------------------------------------------------------

    async def dial(self, order: Order) -> MediaAddress | None:
        """Asks for a call, and waits a moment for a refusal; raises Refused."""
        channel_id = channel_id_of(order.call_id, order.try_no)
        if channel_id in self._channels:
            return None  # asked for before
        words = originate_of(self._config, order, channel_id)
        if self._socket is None or not self._connected.is_set():
            raise Refused(Q850_OUT_OF_ORDER, None, "failed", "the event socket is not connected")
        rate_khz = 16 if order.codec == "l16/16000" else 8
        channel = _Channel(order.call_id, order.try_no, self._media_url_of(order.call_id), rate_khz)
        self._channels[channel_id] = channel
        self._of_call[order.call_id] = channel_id
        job = str(uuid.uuid4())
        self._jobs[job] = channel_id
        answer = ""
        try:
            answer = await self._socket.bgapi(words, job)
            if not answer.startswith("+OK"):
                raise EslLost(answer[:200])
            async with asyncio.timeout(DECIDED_S):
                await channel.decided.wait()
        except TimeoutError:
            channel.decided.set()  # no sign yet: it is on its way, and events tell the rest
        except EslLost as lost:
            self._forget(channel_id, channel)
            self._jobs.pop(job, None)
            if not answer:
                self._given_up.add(channel_id)
            raise Refused(Q850_OUT_OF_ORDER, None, "failed", str(lost), unsure=not answer) from None
        if channel.refused is not None:
            raise channel.refused
        return None

    async def adopt(
        self, call_id: str, ours: MediaAddress | None, try_no: int = 1, answered: bool = False,
        placed_by: str = "", anew: bool = False,
    ) -> bool:  # fmt: skip
        """Takes up a channel of ours; its sound is streamed anew, since the module does not
        reconnect. Without a connection that is done once there is one, and what became of the call
        meanwhile is told then."""
        self._adopting[call_id] = try_no, answered
        if not self._connected.is_set():
            return True
        try:
            return await self._take_up(call_id)
        except EslLost:
            return True  # the next connection brings it

    async def _take_up(self, call_id: str) -> bool:
        """Whether the switch has a call that an earlier edge placed; raises EslLost."""
        shown = channels_of(await self._api("show channels as json"), self._config.edge_id)
        tries = [(mark.try_no, one) for one, mark in shown.items() if mark.call_id == call_id]
        if not tries:
            self._adopting.pop(call_id, None)
            return False
        try_no, channel_id = max(tries)
        channel = self._channels.get(channel_id)
        if channel is None:
            channel = _Channel(call_id, try_no, self._media_url_of(call_id), 8)
            channel.decided.set()
        if call_id in self._adopting:
            self._channels[channel_id] = channel
            self._of_call[call_id] = channel_id
        disposition = await self._api(f"uuid_getvar {channel_id} endpoint_disposition")
        await self._api(f"uuid_audio_stream {channel_id} stop")
        if (known := self._adopting.pop(call_id, None)) is None:  # hung up meanwhile
            await self._api(f"uuid_kill {channel_id} NORMAL_CLEARING")
            return True
        if disposition == "ANSWER" and not channel.answered:
            channel.answered = True
            if not known[1]:
                self._tell(channel, "answered")
        channel.streaming = False
        self._stream(channel_id, channel)
        return True

    async def _take_up_all(self) -> None:
        """Calls that were to be adopted while there was no connection; raises EslLost."""
        for call_id, (try_no, _) in list(self._adopting.items()):
            if not await self._take_up(call_id) and self._listener is not None:
                self._listener.on_progress(
                    call_id,
                    LineEvent("ended", now_ms(), cause_q850=Q850_TEMPORARY, disposition="failed",
                              try_no=try_no),
                )  # fmt: skip

    def let_go(self, call_id: str) -> None:
        """Never called: it keeps no calls."""

    async def send_keys(self, call_id: str, digits: str) -> None:
        """Sends keys; no error if the call is over."""
        channel_id = self._of_call.get(call_id)
        if channel_id is not None and _KEYS.fullmatch(digits):
            await self._try(f"uuid_send_dtmf {channel_id} {digits}", call_id)

    async def hang_up(self, call_id: str) -> None:
        """Ends a call; no error if it is already over."""
        self._adopting.pop(call_id, None)
        channel_id = self._of_call.get(call_id)
        if channel_id is not None:
            self._channels[channel_id].decided.set()
            await self._try(f"uuid_kill {channel_id} NORMAL_CLEARING", call_id)

    async def transfer(self, call_id: str, target: str) -> bool:
        """Sends the customer to an extension: `NUMBER [DIALPLAN [CONTEXT]]`."""
        channel_id = self._of_call.get(call_id)
        if channel_id is None or not _TARGET.fullmatch(target):
            return False
        if not await self._try(f"uuid_transfer {channel_id} {target}", call_id):
            return False
        channel = self._channels[channel_id]
        self._forget(channel_id, channel)  # its end is no longer ours to tell
        if channel.streaming:
            self._spawn(f"uuid_audio_stream {channel_id} stop", call_id)
        self._spawn(f"uuid_setvar {channel_id} presence_data", call_id)  # nor an orphan's
        return True

    async def _try(self, words: str, call_id: str) -> bool:
        try:
            return (await self._api(words)).startswith("+OK")
        except EslLost as lost:
            logger.warning("command lost", call_id=call_id, reason=str(lost))
            return False

    # Events --------------------------------------------------------------------------------------

    def _on_event(self, event: EslEvent) -> None:
        if event.name == "BACKGROUND_JOB":
            self._on_job(event)
            return
        if event.name == "sofia::gateway_state":
            self._on_gateway(event.get("Gateway"), event.get("Ping-Status"))
            return
        channel_id = event.get("Unique-ID")
        channel = self._channels.get(channel_id)
        if channel_id in self._given_up:
            self._given_up.discard(channel_id)
            if event.name != "CHANNEL_HANGUP_COMPLETE":
                self._spawn(f"uuid_kill {channel_id} NORMAL_TEMPORARY_FAILURE", "given up")
        if event.name == "CHANNEL_PARK" and channel is None:
            if event.get("variable_ringlog_edge") == self._config.edge_id:
                self._run(self._came_in(channel_id, event))
            return
        if channel is None or channel.over:
            return
        match event.name:
            case "CHANNEL_PROGRESS":
                self._tell(channel, "ringing")
            case "CHANNEL_PROGRESS_MEDIA":
                self._tell(channel, "early_media")
                self._stream(channel_id, channel)
            case "CHANNEL_ANSWER":
                channel.answered = True
                self._tell(channel, "answered")
                self._stream(channel_id, channel)
            case "DTMF":
                digit = event.get("DTMF-Digit")
                if _KEYS.fullmatch(digit):
                    source = f"{channel_id}.{event.get('Event-Sequence')}"
                    self._tell(channel, "dtmf", digit, source)
            case "CHANNEL_HANGUP_COMPLETE":
                self._on_hang_up(channel_id, channel, event)
            case "mod_audio_stream::play":
                self._on_play(channel_id, channel, event.body)
            case "mod_audio_stream::json":
                if '"do":"break"' in event.body:
                    self._spawn(f"uuid_break {channel_id} all", channel.call_id)

    async def _came_in(self, channel_id: str, event: EslEvent) -> None:
        """A call to a number of ours, parked by the dial plan."""
        if self._listener is None or not _CHANNEL.fullmatch(channel_id):
            return
        call_id = root_id(self.name, channel_id)
        channel = _Channel(call_id, 1, self._media_url_of(call_id), 8, answered=True)
        channel.decided.set()
        self._channels[channel_id] = channel
        self._of_call[call_id] = channel_id
        called, caller = (
            event.get("Caller-Destination-Number"),
            event.get("Caller-Caller-ID-Number"),
        )
        try:
            await self._listener.came_in(
                IncomingCall(call_id, self.name, called, caller, self.medium)
            )
            mark = mark_of(self._config.edge_id, call_id, 1)
            await self._api(f"uuid_setvar {channel_id} presence_data {mark}")
            await self._api(f"uuid_answer {channel_id}")
        except NotTaken as refused:
            logger.warning("a call is not taken", switch=self.name, reason=str(refused))
            self._forget(channel_id, channel)
            self._spawn(f"uuid_kill {channel_id} {refused.cause_q850}", call_id)
            return
        except EslLost as lost:
            logger.warning("command lost", call_id=call_id, reason=str(lost))
            return
        if channel.over:  # the caller has hung up before the call was known
            self._end(channel_id, channel, Q850_NORMAL, None, "abandoned")
        else:
            self._stream(channel_id, channel)

    def _on_job(self, event: EslEvent) -> None:
        """The result of an originate; a failure before any progress is a refusal."""
        channel_id = self._jobs.pop(event.get("Job-UUID"), "")
        channel = self._channels.get(channel_id)
        if channel is None or event.body.startswith("+OK"):
            return
        name = event.body.removeprefix("-ERR").strip()
        q850, sip, disposition = outcome_of(channel.answered, name, "", "")
        if not channel.decided.is_set():
            channel.refused = Refused(q850, sip, disposition, name[:64])
        self._end(channel_id, channel, q850, sip, disposition)

    def _on_hang_up(self, channel_id: str, channel: _Channel, event: EslEvent) -> None:
        q850, sip, disposition = outcome_of(
            channel.answered, event.get("Hangup-Cause"), event.get("variable_hangup_cause_q850"),
            event.get("variable_proto_specific_hangup_cause")
            or event.get("variable_sip_term_status"),
        )  # fmt: skip
        if not channel.decided.is_set():
            name = event.get("Hangup-Cause")[:64]
            channel.refused = Refused(q850, sip, disposition, name)
        self._end(channel_id, channel, q850, sip, disposition)

    def _end(
        self, channel_id: str, channel: _Channel, q850: int, sip: int | None, disposition: str
    ) -> None:
        channel.over = True
        self._forget(channel_id, channel)
        undecided = not channel.decided.is_set()
        channel.decided.set()
        if self._listener is not None and not (undecided and channel.refused is not None):
            self._listener.on_progress(
                channel.call_id,
                LineEvent("ended", now_ms(), cause_q850=q850, cause_sip=sip,
                          disposition=disposition, try_no=channel.try_no),
            )  # fmt: skip

    def _forget(self, channel_id: str, channel: _Channel) -> None:
        self._channels.pop(channel_id, None)
        if self._of_call.get(channel.call_id) == channel_id:
            del self._of_call[channel.call_id]

    def _tell(
        self, channel: _Channel, kind: LineEventKind, digits: str = "", source: str = ""
    ) -> None:
        channel.decided.set()
        if self._listener is not None:
            self._listener.on_progress(
                channel.call_id,
                LineEvent(kind, now_ms(), digits=digits, source=source, try_no=channel.try_no),
            )

    def _stream(self, channel_id: str, channel: _Channel) -> None:
        """Begins the call's sound, once, at early media or at the answer."""
        if not channel.streaming:
            channel.streaming = True
            dialect = "audio_stream_raw" if self._config.raw else "audio_stream"
            url = f"{channel.media_url}&dialect={dialect}"
            self._spawn(
                f"uuid_audio_stream {channel_id} start {url} mono {channel.rate_khz}k ringlog",
                channel.call_id, or_else=f"uuid_kill {channel_id} NORMAL_TEMPORARY_FAILURE",
            )  # fmt: skip

    def _on_play(self, channel_id: str, channel: _Channel, body: str) -> None:
        """A file of the robot's voice, which the open module leaves to us to play."""
        try:
            file = json.loads(body).get("file")
        except (ValueError, AttributeError, RecursionError):
            return
        if isinstance(file, str) and re.fullmatch(r"/[\w./-]{1,200}", file) and ".." not in file:
            self._spawn(f"uuid_broadcast {channel_id} {file} aleg", channel.call_id)


def channel_id_of(call_id: str, try_no: int = 1) -> str:
    """The id of a call's channel: the same for the same try, so it is placed once."""
    return str(uuid.uuid5(_SPACE, f"{call_id}/{try_no}"))


def originate_of(config: FreeSwitchConfig, order: Order, channel_id: str) -> str:
    """The `originate` of an order; raises Refused for text that is no number or name."""
    caller_id = order.caller_id or ""
    if not _NUMBER.fullmatch(order.phone) or not _NAME.fullmatch(order.trunk):
        raise Refused(Q850_INVALID_NUMBER, None, "failed", "not a number, or not a trunk's name")
    if caller_id and not _NUMBER.fullmatch(caller_id):
        raise Refused(Q850_INVALID_NUMBER, None, "failed", "the caller's number is none")
    variables = {
        "origination_uuid": channel_id,
        "presence_data": mark_of(config.edge_id, order.call_id, order.try_no),
        "originate_timeout": str(max(1, order.ring_timeout_ms // 1000)),
        "hangup_after_bridge": "true",
    }
    if caller_id:
        variables |= {
            "origination_caller_id_number": caller_id,
            "origination_caller_id_name": caller_id,
        }
    given = ",".join(f"{name}={value}" for name, value in variables.items())
    endpoint = order.endpoint or config.dial.format(trunk=order.trunk, phone=order.phone)
    if not _ENDPOINT.fullmatch(endpoint):
        raise Refused(Q850_INVALID_NUMBER, None, "failed", "not an endpoint")
    return f"originate {{{given}}}{endpoint} &park()"


def gateways_of(endpoints: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Trunks by their gateway, from what each of them dials; `{trunk}` is its name. An event names
    a gateway without its profile (`external::west`)."""
    found: dict[str, tuple[str, ...]] = {}
    for trunk, endpoint in endpoints.items():
        if match := _GATEWAY.fullmatch(endpoint.replace("{trunk}", trunk)):
            name = match[1].rpartition("::")[2]
            found[name] = (*found.get(name, ()), trunk)
    return found


class ChannelMark(NamedTuple):
    """What `presence_data` of a channel of ours names."""

    call_id: str
    try_no: int


def mark_of(edge_id: str, call_id: str, try_no: int) -> str:
    """`presence_data` of a channel of ours."""
    return f"{_MARK}{quote(edge_id, safe='')}/{quote(call_id, safe='')}/{try_no}"


def channels_of(shown: str, edge_id: str) -> dict[str, ChannelMark]:
    """An edge's channels in `show channels as json`; raises EslLost."""
    try:
        rows = json.loads(shown).get("rows", [])
    except (ValueError, AttributeError, RecursionError):
        raise EslLost("show channels gave no JSON") from None
    found: dict[str, ChannelMark] = {}
    for row in rows if isinstance(rows, list) else []:
        mark, channel_id = (
            (row.get("presence_data"), row.get("uuid")) if isinstance(row, dict) else (None, None)
        )
        if not isinstance(mark, str) or not isinstance(channel_id, str):
            continue
        match = _MARKED.fullmatch(mark)
        if match is not None and unquote(match[1]) == edge_id:
            found[channel_id] = ChannelMark(unquote(match[2]), int(match[3]))
    return found
