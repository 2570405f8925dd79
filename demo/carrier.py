"""The simulated carrier: a process of its own that answers calls with simulated people.

`python -m demo.carrier --manifest FILE` listens on the sim port. It knows the prompts' sound and
each person's lines, and talks to Ringlog as a carrier does: HTTP for call requests and state
reports, RTP for the sound. It has no access to Kafka.
"""

import argparse
import asyncio
import contextlib
import json
import socket
import time
from functools import partial
from pathlib import Path
from typing import Any, cast

import aiohttp
import uvloop
from aiohttp import web

from demo.handset import Handset, PersonSound, sounds_of
from demo.hearing import FRAME
from demo.impairment import Impairment
from demo.people import Person
from demo.wire import PAYLOAD_TYPE, packet, parse
from ringlog.audio import g711, wav
from ringlog.settings import settings

MAX_CALL_S = 120
"""A call that nobody ends is ended by the carrier."""

_AGENT_S = 2.0
"""How long the call goes on after a transfer."""


class SimCall(asyncio.DatagramProtocol):
    """One call: RTP both ways, 20 ms a frame, and the person at the other end."""

    def __init__(
        self, carrier: "Carrier", asked: dict[str, Any], person: Person, sound: PersonSound
    ) -> None:
        self.call_id: str = asked["call_id"]
        self.phone: str = asked["phone"]
        self.codec: str = asked["codec"]
        self.remote = (asked["rtp_host"], int(asked["rtp_port"]))
        self.ssrc = int.from_bytes(self.call_id.encode()[-4:], "big") ^ 0x5A5A5A5A
        self.person, self.carrier = person, carrier
        self.over = asyncio.Event()
        self.hung_up_by_edge = False
        self._handset = Handset(person, sound, carrier.prompts, partial(carrier.note, self))
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is not a subclass of asyncio's, but has the same interface.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        parsed = parse(data)
        if parsed is None or parsed[0] != PAYLOAD_TYPE[self.codec] or len(parsed[2]) != FRAME:
            return
        self._handset.hear(parsed[1], g711.decode(self.codec, parsed[2]))

    async def run(self) -> None:
        """From ringing to the end."""
        report = self.carrier.report
        try:
            await report(self, "ringing")
            await asyncio.wait_for(self.over.wait(), self.person.answers_after_ms / 1000)
            return
        except TimeoutError:
            pass  # not cancelled while it rang
        if self.person.hangs_up is not None:
            await report(self, "ended", cause_q850=self.person.hangs_up)
            return
        await report(self, "answered")
        try:
            await asyncio.wait_for(self._talk(), MAX_CALL_S)
        except TimeoutError:
            self.carrier.note(self, "gave_up")
        if not self.hung_up_by_edge:
            await report(self, "ended", cause_q850=16)

    async def _talk(self) -> None:
        """Sends a frame every 20 ms on a fixed clock until the edge hangs up."""
        began = time.monotonic()
        seq, base_ts = self.ssrc & 0x7FFF, (self.ssrc * 7) & 0xFFFFFFFF
        frame = 0
        self.carrier.note(self, "answered")
        while not self.over.is_set():
            payload = g711.encode(self.codec, self._handset.say(frame))
            ts = base_ts + frame * FRAME
            data = packet(self.codec, seq + frame, ts, self.ssrc, payload, frame == 0)
            self.carrier.impairment.send(data, self._send)
            self._handset.sent()
            frame += 1
            await asyncio.sleep(max(0.0, began + frame * 0.02 - time.monotonic()))
        self._handset.over()

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, self.remote)

    def close(self) -> None:
        """Frees the socket."""
        if self._transport is not None:
            self._transport.close()


class Carrier:
    """All calls of the process, and its HTTP side."""

    def __init__(self, manifest: dict[str, Any], impairment: Impairment) -> None:
        config = settings()
        self.impairment = impairment
        self.prompts = {
            name: wav.read(config.prompts_dir / f"{sha}.wav")[0]
            for name, sha in manifest["prompts"].items()
        }
        self._people = {p: Person.model_validate(d) for p, d in manifest["people"].items()}
        self._sounds = sounds_of(self._people)
        self._calls: dict[str, SimCall] = {}
        self._answers: dict[str, dict[str, object]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._log = open(manifest["log"], "a", encoding="utf-8", buffering=1)  # noqa: SIM115 # open for the life of the process
        self._api = config.api_url
        key_file = config.home / "api-key"
        key = config.api_key.get_secret_value() if config.api_key else ""
        if not key and key_file.exists():
            key = key_file.read_text(encoding="ascii").strip()
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._session: aiohttp.ClientSession | None = None

    def note(self, call: SimCall, event: str, **fields: object) -> None:
        """Logs what really happened, for the report."""
        line = {"event": event, "call_id": call.call_id, "phone": call.phone} | fields
        self._log.write(json.dumps(line, ensure_ascii=False) + "\n")

    async def report(self, call: SimCall, kind: str, **fields: object) -> None:
        """Tells Ringlog a call's state; tried again while the API is away."""
        if self._session is None:
            self._session = aiohttp.ClientSession(headers=self._headers)
        body = {"call_id": call.call_id, "kind": kind, "source": "sim",
                "occurred_at": time.time_ns() // 1_000_000} | fields  # fmt: skip
        for attempt in range(40):
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with self._session.post(
                    f"{self._api}/api/calls/status", json=body,
                    timeout=aiohttp.ClientTimeout(total=10),
                ) as answer:  # fmt: skip
                    if answer.status < 500:
                        return
            await asyncio.sleep(min(0.1 * 2**attempt, 2))

    async def place(self, request: web.Request) -> web.Response:
        """`POST /calls`; the same call_id again is the same call."""
        asked = await request.json()
        call_id = asked["call_id"]
        if call_id in self._answers:
            return web.json_response(self._answers[call_id])
        person = self._people.get(asked["phone"])
        if person is None:
            return web.json_response({"error": "unallocated number", "cause_q850": 1}, status=404)
        if asked["codec"] not in PAYLOAD_TYPE:
            return web.json_response({"error": "codec", "cause_q850": 65}, status=415)
        call = SimCall(self, asked, person, self._sounds[person.name])
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: call, local_addr=("127.0.0.1", 0), family=socket.AF_INET
        )
        host, port = transport.get_extra_info("sockname")[:2]
        self._answers[call_id] = {"rtp_host": host, "rtp_port": port, "ssrc": call.ssrc}
        self._calls[call_id] = call
        task = asyncio.create_task(self._serve(call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return web.json_response(self._answers[call_id])

    async def _serve(self, call: SimCall) -> None:
        try:
            await call.run()
        finally:
            call.close()
            self._calls.pop(call.call_id, None)

    async def hang_up(self, request: web.Request) -> web.Response:
        """`DELETE /calls/{call_id}`: the edge ends the call. A second time is no error."""
        call = self._calls.get(request.match_info["call_id"])
        if call is not None:
            call.hung_up_by_edge = True
            call.over.set()
        return web.Response(status=204)

    async def transfer(self, request: web.Request) -> web.Response:
        """`POST /calls/{call_id}/transfer`: someone else takes the customer; 404 when it is over.

        The robot's part ends here; the person who takes over is brief.
        """
        call = self._calls.get(request.match_info["call_id"])
        if call is None:
            return web.json_response({"error": "no such call"}, status=404)
        self.note(call, "transferred", target=(await request.json())["target"])
        asyncio.get_running_loop().call_later(_AGENT_S, call.over.set)
        return web.json_response({})

    async def close(self, _: web.Application) -> None:
        """Ends the remaining calls."""
        for task in self._tasks:
            task.cancel()
        if self._session is not None:
            await self._session.close()
        self._log.close()


async def ready(_: web.Request) -> web.Response:
    """`GET /readyz`."""
    return web.json_response({"ready": True})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="The simulated carrier of the demo.")
    parser.add_argument("--manifest", type=Path, required=True, help="people, prompts, log: JSON")
    parser.add_argument("--loss", type=float, default=0.0, help="share of packets lost, 0 to 1")
    parser.add_argument("--duplicates", type=float, default=0.0, help="share sent twice, 0 to 1")
    parser.add_argument("--reorder-ms", type=float, default=0.0, help="random delay of packets")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    manifest = json.loads(args.manifest.read_text(encoding="utf-8"))
    carrier = Carrier(
        manifest, Impairment(args.loss, args.duplicates, args.reorder_ms, seed=args.seed)
    )
    app = web.Application()
    app.add_routes(
        [
            web.post("/calls", carrier.place),
            web.delete("/calls/{call_id}", carrier.hang_up),
            web.post("/calls/{call_id}/transfer", carrier.transfer),
            web.get("/readyz", ready),
        ]
    )
    app.on_cleanup.append(carrier.close)
    uvloop.install()
    config = settings()
    web.run_app(
        app, host="127.0.0.1", port=config.port(config.sim_port), print=None, access_log=None
    )


if __name__ == "__main__":
    main()
