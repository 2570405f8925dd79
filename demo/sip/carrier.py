"""The far end of a trunk: a SIP user agent on one UDP port whose calls follow scripts."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import cast

from demo.sip import scripts
from demo.sip.call import REASONS, Header, SipCall, SipEnding, incoming
from demo.sip.message import SipMessage, SipRefused, parse

_log = logging.getLogger(__name__)


class SipCarrier(asyncio.DatagramProtocol):
    """A carrier. `calls` has all its calls in order, also those that are over.

    A call follows the script of the first pattern (`fnmatch`) that its number matches, else
    `default`. Port 0 takes a free one. It may be killed and started again, or be deaf: then it
    answers nothing at all.
    """

    def __init__(
        self, name: str, host: str, port: int, codecs: tuple[str, ...] = ("pcma", "pcmu")
    ) -> None:
        self.name, self.host, self.port, self.codecs = name, host, port, codecs
        self.default: scripts.Script = scripts.answer()
        self.calls: list[SipCall] = []
        self.deaf = False
        self.options = 0
        """How many OPTIONS it was asked."""
        self._scripts: list[tuple[str, scripts.Script]] = []
        self._live: dict[str, SipCall] = {}
        self._arrived: asyncio.Queue[SipCall] = asyncio.Queue()
        self._transport: asyncio.DatagramTransport | None = None

    def when(self, pattern: str, script: scripts.Script) -> None:
        """Calls to numbers of this pattern, such as `*486`, follow the script; the newest first."""
        self._scripts.insert(0, (pattern, script))

    async def start(self) -> "SipCarrier":
        """Listens; again after `kill`. Raises OSError when the port is taken."""
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=(self.host, self.port))
        return self

    async def next_call(self, timeout_s: float = 10.0) -> SipCall:
        """The next call that comes in; raises TimeoutError."""
        return await asyncio.wait_for(self._arrived.get(), timeout_s)

    @property
    def live(self) -> list[SipCall]:
        """Calls that are not over."""
        return list(self._live.values())

    async def dial(
        self,
        switch: tuple[str, int],
        number: str,
        caller: str = "13900000000",
        headers: Sequence[Header] = (),
    ) -> SipCall:
        """Places a call to a number at the switch's SIP address; wait for `answered`, `ended`."""
        call_id = f"{random.getrandbits(64):016x}@{self.host}"
        call = SipCall(self, switch, number, caller, call_id)
        self._live[call_id] = call
        self.calls.append(call)
        call.begin_outgoing(headers)
        return call

    def kill(self) -> None:
        """Gone as by SIGKILL: no BYE, all ports closed."""
        self._close_socket()
        for call in self.live:
            call.end(SipEnding("killed", time.time()))

    async def stop(self) -> None:
        """Hangs up what lives, then closes."""
        for call in self.live:
            if call.answered_s is not None:
                call.hang_up()
            elif not call.outgoing:
                call.refuse(503)
        await asyncio.sleep(0)
        self.kill()

    # Between the socket and the calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is not a subclass of asyncio's, but has the same interface.
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.deaf:
            return
        try:
            message = parse(data)
        except SipRefused as error:
            _log.debug("%s: passed over: %s", self.name, error)
            return
        call = self._live.get(message.get("call-id"))
        if message.method is None:
            if call is not None:
                call.take_response(message)
        elif call is not None:
            call.take_request(message)
        elif message.method == "INVITE":
            self._admit(message, addr)
        elif message.method == "OPTIONS":
            self.options += 1
            self.respond(message, 200, addr, f"{random.getrandbits(32):08x}")
        elif message.method != "ACK":
            self.respond(message, 481, addr, f"{random.getrandbits(32):08x}")

    def over(self, call: SipCall) -> None:
        """A call has ended; what is sent to it from now on finds no call."""
        self._live.pop(call.call_id, None)

    def via(self) -> str:
        """A Via with a branch of its own."""
        branch = f"z9hG4bK{random.getrandbits(64):016x}"
        return f"SIP/2.0/UDP {self.host}:{self.port};branch={branch};rport"

    def send(self, message: SipMessage, to: tuple[str, int]) -> None:
        """A message; nothing is sent when it is closed or deaf."""
        if self._transport is not None and not self._transport.is_closing() and not self.deaf:
            self._transport.sendto(message.encode(), to)

    def respond(
        self, request: SipMessage, status: int, to: tuple[str, int], tag: str,
        body: bytes = b"", headers: Sequence[Header] = (), contact: str | None = None,
    ) -> SipMessage:  # fmt: skip
        """Sends a response and returns it."""
        target = request.get("to")
        if status > 100 and ";tag=" not in target:
            target = f"{target};tag={tag}"
        here = contact or f"sip:{self.host}:{self.port}"
        kind = (("content-type", "application/sdp"),) if body else ()
        message = SipMessage(
            f"SIP/2.0 {status} {REASONS.get(status, 'Trying' if status == 100 else 'Response')}",
            (
                *(("via", via) for via in request.every("via")),
                *(("record-route", route) for route in request.every("record-route")),
                ("from", request.get("from")), ("to", target), ("call-id", request.get("call-id")),
                ("cseq", request.get("cseq")), ("contact", f"<{here}>"),
                ("allow", "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, NOTIFY, REFER"),
                *headers, *kind,
            ),
            body,
        )  # fmt: skip
        self.send(message, to)
        return message

    def _admit(self, invite: SipMessage, addr: tuple[str, int]) -> None:
        call = incoming(self, invite, addr)
        self._live[call.call_id] = call
        self.calls.append(call)
        self._arrived.put_nowait(call)
        script = next((s for p, s in self._scripts if fnmatchcase(call.number, p)), self.default)
        call.spawn(self._follow(script, call))

    async def _follow(self, script: scripts.Script, call: SipCall) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await script(call)

    def _close_socket(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None
