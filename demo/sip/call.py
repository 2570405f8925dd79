"""One call at the far end: its dialogue (RFC 3261), its sound, and how it ended."""

import asyncio
import random
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from demo.sip import sdp
from demo.sip.media import SipMedia
from demo.sip.message import SipMessage, address_of, user_of

if TYPE_CHECKING:
    from demo.sip.carrier import SipCarrier

REASONS = {
    180: "Ringing", 183: "Session Progress", 200: "OK", 202: "Accepted", 404: "Not Found",
    408: "Request Timeout", 480: "Temporarily Unavailable", 481: "Call Does Not Exist",
    486: "Busy Here", 487: "Request Terminated", 488: "Not Acceptable Here",
    500: "Server Internal Error", 503: "Service Unavailable", 603: "Decline",
}  # fmt: skip

_T1_S = 0.5
_RETRANSMITS = 7
Header = tuple[str, str]


@dataclass(frozen=True, slots=True)
class SipEnding:
    """How a call ended. `by` is `here` (BYE or refusal of the far end), `there` (BYE received),
    `cancelled` (CANCEL received), `refused` (a final response to our INVITE) or `killed`."""

    by: str
    at_s: float
    status: int | None = None
    reason: str | None = None
    """Its `Reason` header (RFC 3326), if any."""


class SipCall:
    """A call that came to the carrier, or one that it placed (`outgoing`). Times: Unix seconds."""

    def __init__(
        self, carrier: "SipCarrier", peer: tuple[str, int], number: str, caller: str, call_id: str
    ) -> None:
        self.carrier, self.number, self.caller, self.call_id = carrier, number, caller, call_id
        self.peer = peer
        self.media = SipMedia(carrier.host)
        self.invite: SipMessage | None = None
        self.outgoing = False
        self.invited_s = time.time()
        self.progress_s: float | None = None
        self.answered_s: float | None = None
        self.ending: SipEnding | None = None
        self.answered, self.ended = asyncio.Event(), asyncio.Event()
        self.tag = f"{random.getrandbits(32):08x}"
        self.requests: list[SipMessage] = []
        """Requests within the call (INFO, NOTIFY, REFER, re-INVITE), in order."""
        self._ours = self._theirs = ""
        self._target = ""
        self._cseq = 0
        self._described: sdp.Described | None = None
        self._last: SipMessage | None = None
        self._acknowledged, self._responded = asyncio.Event(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    # What a script does.

    def ring(self) -> None:
        """180."""
        self._respond(180)

    def early_media(self) -> None:
        """183 with a session description: sound may flow before the answer."""
        if self.progress_s is None:
            self.progress_s = time.time()
        self._respond(183, body=self._answer_body())
        self.media.start()

    def answer(self) -> None:
        """200; repeated until it is acknowledged."""
        if self.ending is not None or self.answered_s is not None:
            return
        self._respond(200, body=self._answer_body())
        self.answered_s = time.time()
        self.answered.set()
        self.media.start()
        self.spawn(self._repeat_answer())

    def refuse(self, status: int, headers: Sequence[Header] = ()) -> None:
        """A final response of 300 to 699."""
        if self.ending is None and self.answered_s is None:
            self._respond(status, headers)
            self.end(SipEnding("here", time.time(), status, _reason(headers)))

    def hang_up(self, reason: str | None = None, headers: Sequence[Header] = ()) -> None:
        """BYE, with a Reason such as `Q.850;cause=16` when given."""
        if self.ending is not None or self.answered_s is None:
            return
        given = [("reason", reason)] if reason else []
        self._request("BYE", [*given, *headers])
        self.end(SipEnding("here", time.time(), reason=reason))

    def refer(self, uri: str) -> None:
        """Asks the other side to take the call elsewhere (RFC 3515)."""
        self._request("REFER", [("refer-to", f"<{uri}>"), ("referred-by", f"<{self._uri()}>")])

    # What the carrier's socket hands in.

    def begin_incoming(self, invite: SipMessage) -> None:
        """An INVITE came."""
        self.invite = invite
        self._ours = f"{invite.get('to')};tag={self.tag}"
        self._theirs = invite.get("from")
        self._target = address_of(invite.get("contact"))
        self._agree(invite.body)
        self._respond(100)

    def begin_outgoing(self, headers: Sequence[Header]) -> None:
        """Sends an INVITE, again until something comes back."""
        self.outgoing = True
        host, port = self.peer
        self._target = f"sip:{self.number}@{host}:{port}"
        ours = f"sip:{self.caller}@{self.carrier.host}:{self.carrier.port}"
        self._ours, self._theirs = f"<{ours}>;tag={self.tag}", f"<{self._target}>"
        body = sdp.write(self.media.host, self.media.port, self.carrier.codecs, 101)
        sent = self._request("INVITE", [*headers, ("content-type", "application/sdp")], body)
        self.invite = sent
        self.spawn(self._repeat(sent, self._responded))

    def take_request(self, message: SipMessage) -> None:
        """A request within this call."""
        match message.method:
            case "INVITE" if self.invite is not None and message.cseq == self.invite.cseq:
                if self._last is not None:  # it came again: our response was lost
                    self.carrier.send(self._last, self.peer)
            case "INVITE":
                self.requests.append(message)
                self._agree(message.body)
                self.carrier.respond(message, 200, self.peer, self.tag, self._answer_body())
            case "ACK":
                self._acknowledged.set()
            case "CANCEL":
                self.carrier.respond(message, 200, self.peer, self.tag)
                if self.ending is None and self.answered_s is None:
                    self._respond(487)
                    self.end(SipEnding("cancelled", time.time(), 487, message.get("reason")))
            case "BYE":
                self.carrier.respond(message, 200, self.peer, self.tag)
                self.end(SipEnding("there", time.time(), reason=message.get("reason") or None))
            case "REFER":
                self.requests.append(message)
                self.carrier.respond(message, 202, self.peer, self.tag)
                self._request("NOTIFY", [("event", "refer"),
                                         ("subscription-state", "terminated;reason=noresource"),
                                         ("content-type", "message/sipfrag;version=2.0")],
                              b"SIP/2.0 200 OK\r\n")  # fmt: skip
            case _:
                self.requests.append(message)
                self.carrier.respond(message, 200, self.peer, self.tag)

    def take_response(self, message: SipMessage) -> None:
        """A response to a request of ours."""
        number, method = message.cseq
        status = message.status or 0
        if method != "INVITE" or self.invite is None:
            return
        self._responded.set()
        if status in (180, 183) and message.body:
            self.progress_s = self.progress_s or time.time()
            self._agree(message.body)
            self.media.start()
        if status < 200:
            return
        self._theirs = message.get("to")
        if status < 300:
            self._target = address_of(message.get("contact")) or self._target
        self._acknowledge(number)
        if self.ending is not None or self.answered_s is not None:
            return
        if status < 300:
            self._agree(message.body)
            self.answered_s = time.time()
            self.answered.set()
            self.media.start()
        else:
            self.end(SipEnding("refused", time.time(), status, message.get("reason") or None))

    def end(self, ending: SipEnding) -> None:
        """Notes how it ended, once, and frees its port."""
        if self.ending is not None:
            return
        self.ending = ending
        self.ended.set()
        self.media.close()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        self.carrier.over(self)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs work that ends with the call."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _agree(self, body: bytes) -> None:
        described = sdp.read(body)
        if described is None:
            return
        self._described = described
        codecs = [c for c in described.codecs if c in self.carrier.codecs]
        if codecs:
            self.media.agree(described, codecs[0])

    def _answer_body(self) -> bytes:
        event_type = self._described.event_type if self._described else 101
        return sdp.write(self.media.host, self.media.port, (self.media.codec,), event_type)

    def _respond(self, status: int, headers: Sequence[Header] = (), body: bytes = b"") -> None:
        if self.invite is not None and self.ending is None:
            self._last = self.carrier.respond(
                self.invite, status, self.peer, self.tag, body, headers, self._uri()
            )

    def _request(self, method: str, headers: Sequence[Header], body: bytes = b"") -> SipMessage:
        self._cseq += 1
        message = SipMessage(
            f"{method} {self._target} SIP/2.0",
            (
                ("via", self.carrier.via()), ("max-forwards", "70"), ("from", self._ours),
                ("to", self._theirs), ("call-id", self.call_id),
                ("cseq", f"{self._cseq} {method}"), ("contact", f"<{self._uri()}>"), *headers,
            ),
            body,
        )  # fmt: skip
        self.carrier.send(message, self.peer)
        return message

    def _acknowledge(self, number: int) -> None:
        headers = (
            ("via", self.carrier.via()), ("max-forwards", "70"), ("from", self._ours),
            ("to", self._theirs), ("call-id", self.call_id), ("cseq", f"{number} ACK"),
        )  # fmt: skip
        self.carrier.send(SipMessage(f"ACK {self._target} SIP/2.0", headers), self.peer)

    async def _repeat_answer(self) -> None:
        assert self._last is not None
        await self._repeat(self._last, self._acknowledged)

    async def _repeat(self, message: SipMessage, until: asyncio.Event) -> None:
        """Sends again after 0.5, 1, 2, 4 s, … (section 17.1.1.2) until the event."""
        wait_s = _T1_S
        for _ in range(_RETRANSMITS):
            try:
                await asyncio.wait_for(until.wait(), wait_s)
                return
            except TimeoutError:
                self.carrier.send(message, self.peer)
                wait_s = min(2 * wait_s, 4.0)

    def _uri(self) -> str:
        user = self.caller if self.outgoing else self.number
        return f"sip:{user}@{self.carrier.host}:{self.carrier.port}"


def incoming(carrier: "SipCarrier", invite: SipMessage, peer: tuple[str, int]) -> SipCall:
    """The call of an INVITE."""
    call = SipCall(carrier, peer, user_of(invite.uri), user_of(invite.get("from")),
                   invite.get("call-id"))  # fmt: skip
    call.begin_incoming(invite)
    return call


def _reason(headers: Sequence[Header]) -> str | None:
    return next((value for name, value in headers if name == "reason"), None)
