"""A FreeSWITCH of our own, as far as its documentation goes: event socket and mod_audio_stream.

No package of the real one is to be had where these tests run.
"""

import asyncio
import base64
import json
import re
import shlex
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

PASSWORD = "ClueCon"


@dataclass
class Channel:
    """One channel: what was done to it, and its stream."""

    uuid: str
    variables: dict[str, str]
    endpoint: str
    answered: bool = False
    keys: str = ""
    transferred: str = ""
    cause: str = ""
    broadcasts: list[str] = field(default_factory=list)
    breaks: int = 0
    streams: list[str] = field(default_factory=list)
    peer: ClientConnection | None = None
    heard: bytearray = field(default_factory=bytearray)
    talk: asyncio.Task[None] | None = None


class FakeFreeSwitch:
    """Listens as mod_event_socket does. `script` says, by the number's end, what a call does."""

    def __init__(self, raw: bool = True) -> None:
        self.raw = raw
        self.port = 0
        self.channels: dict[str, Channel] = {}
        self.ended: dict[str, Channel] = {}
        self.gateways: dict[str, str] = {}
        self.commands: list[str] = []
        self.refuse_stream = False
        self.mute = False
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sequence = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """The event socket alone: calls go on."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def close(self) -> None:
        await self.stop()
        for channel in self.channels.values():
            if channel.talk is not None:
                channel.talk.cancel()
        for task in self._tasks:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"Content-Type: auth/request\n\n")
        known = False
        try:
            while True:
                text = (await reader.readuntil(b"\n\n")).decode().strip("\n")
                words, *more = text.split("\n")
                if self.mute:
                    continue
                if words.startswith("auth "):
                    known = words == f"auth {PASSWORD}"
                    reply(writer, "+OK accepted" if known else "-ERR invalid")
                    if not known:
                        notice = "Disconnected, goodbye.\n"
                        writer.write(
                            f"Content-Type: text/disconnect-notice\nContent-Length: {len(notice)}"
                            f"\n\n{notice}".encode()
                        )
                elif not known:
                    reply(writer, "-ERR command not found")
                elif words.startswith("event plain"):
                    self._writers.add(writer)
                    reply(writer, "+OK event listener enabled plain")
                elif words.startswith("api "):
                    body = self._api(words[4:]) + "\n"
                    writer.write(
                        f"Content-Type: api/response\nContent-Length: {len(body.encode())}"
                        f"\n\n{body}".encode()
                    )
                elif words.startswith("bgapi "):
                    job = dict(line.split(": ", 1) for line in more)["Job-UUID"]
                    reply(writer, f"+OK Job-UUID: {job}")
                    self._spawn(self._originate(words[6:], job))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def event(self, name: str, body: str = "", **headers: str) -> None:
        """An event as `event plain` gives it: values in URL encoding, nested length."""
        self._sequence += 1
        lines = {"Event-Name": name, "Core-UUID": "c0", "FreeSWITCH-Hostname": "fake host",
                 "Event-Sequence": str(self._sequence)} | headers  # fmt: skip
        if "::" in name:
            lines |= {"Event-Name": "CUSTOM", "Event-Subclass": name}
        if body:
            lines["Content-Length"] = str(len(body))
        text = "".join(f"{key}: {quote(value)}\n" for key, value in lines.items()) + "\n" + body
        data = text.encode()
        for writer in self._writers:
            writer.write(
                f"Content-Length: {len(data)}\nContent-Type: text/event-plain\n\n".encode() + data
            )

    def of(self, channel: Channel, name: str, body: str = "", **headers: str) -> None:
        self.event(name, body, **{"Unique-ID": channel.uuid} | headers)

    # Calls ---------------------------------------------------------------------------------------

    async def _originate(self, words: str, job: str) -> None:
        found = re.fullmatch(r"originate \{(.*?)\}(\S+) &park\(\)", words)
        assert found is not None, words
        variables = dict(pair.split("=", 1) for pair in found[1].split(","))
        uuid = variables["origination_uuid"]
        if uuid in self.channels:
            self._job(job, "-ERR DUPLICATE")
            return
        channel = self.channels[uuid] = Channel(uuid, variables, found[2])
        number = found[2].rpartition("/")[2]
        if number.endswith("486"):
            self.hang_up(channel, "USER_BUSY", "17", "sip:486")
            self._job(job, "-ERR USER_BUSY")
            return
        if number.endswith("503"):
            self._job(job, "-ERR NORMAL_TEMPORARY_FAILURE")
            self.hang_up(channel, "NORMAL_TEMPORARY_FAILURE", "41", "sip:503")
            return
        await asyncio.sleep(0.02)
        if not number.endswith("183"):
            self.of(channel, "CHANNEL_PROGRESS")
        else:
            self.of(channel, "CHANNEL_PROGRESS_MEDIA")
        await asyncio.sleep(0.05)
        if number.endswith("480"):
            self.hang_up(channel, "NO_USER_RESPONSE", "18", "sip:480")
            self._job(job, "-ERR NO_USER_RESPONSE")
            return
        if uuid in self.channels and not number.endswith("180"):
            channel.answered = True
            self.of(channel, "CHANNEL_ANSWER")
            self._job(job, f"+OK {uuid}")

    def _job(self, job: str, result: str) -> None:
        self.event("BACKGROUND_JOB", result + "\n", **{"Job-UUID": job})

    def hang_up(self, channel: Channel, cause: str, q850: str, specific: str = "") -> None:
        """The far end, or a command, ends a channel."""
        channel.cause = cause
        self.ended[channel.uuid] = self.channels.pop(channel.uuid)
        if channel.talk is not None:
            channel.talk.cancel()
        more = {"variable_proto_specific_hangup_cause": specific} if specific else {}
        self.of(channel, "CHANNEL_HANGUP_COMPLETE", **{
            "Hangup-Cause": cause, "variable_hangup_cause_q850": q850} | more)  # fmt: skip

    def arrive(self, uuid: str, called: str, edge: str = "edge") -> Channel:
        """Somebody calls; the dial plan names the edge and parks the call."""
        channel = self.channels[uuid] = Channel(uuid, {"presence_data": ""}, "")
        self.of(channel, "CHANNEL_PARK", **{
            "Call-Direction": "inbound", "Caller-Destination-Number": called,
            "Caller-Caller-ID-Number": "+8613900000000", "variable_ringlog_edge": edge,
        })  # fmt: skip
        return channel

    def ping(self, gateway: str, status: str) -> None:
        """The answer to SIP OPTIONS, or none, changes a gateway."""
        self.gateways[gateway] = status
        self.event("sofia::gateway_state", **{
            "Gateway": gateway, "State": "NOREG", "Ping-Status": status})  # fmt: skip

    def press(self, channel: Channel, digit: str) -> None:
        self.of(channel, "DTMF", **{"DTMF-Digit": digit, "DTMF-Duration": "2000"})

    def _api(self, words: str) -> str:
        self.commands.append(words)
        name, *rest = shlex.split(words)
        if name == "uptime":
            return "42"
        if words == "show channels as json":
            rows = [{"uuid": c.uuid, "presence_data": c.variables["presence_data"]}
                    for c in self.channels.values()]  # fmt: skip
            return json.dumps({"row_count": len(rows), "rows": rows} if rows else {"row_count": 0})
        if words.startswith("sofia xmlstatus gateway "):
            status = self.gateways.get(rest[2])
            if status is None:
                return "Invalid Gateway!"
            return f"<gateway>\n  <name>{rest[2]}</name>\n  <status>{status}</status>\n</gateway>"
        channel = self.channels.get(rest[0])
        if name == "uuid_exists":
            return "true" if channel is not None else "false"
        if channel is None:
            return "-ERR No such channel!"
        match name:
            case "uuid_kill":
                self.hang_up(channel, rest[1], "16")
            case "uuid_answer":
                channel.answered = True
                self.of(channel, "CHANNEL_ANSWER")
            case "uuid_send_dtmf":
                channel.keys += rest[1]
            case "uuid_transfer":
                channel.transferred = " ".join(rest[1:])
            case "uuid_getvar":
                return "ANSWER" if channel.answered else "_undef_"
            case "uuid_setvar":
                channel.variables[rest[1]] = "".join(rest[2:])
            case "uuid_broadcast":
                channel.broadcasts.append(rest[1])
            case "uuid_break":
                channel.breaks += 1
            case "uuid_audio_stream":
                return self._audio_stream(channel, rest[1:])
        return "+OK"

    # mod_audio_stream ----------------------------------------------------------------------------

    def _audio_stream(self, channel: Channel, words: list[str]) -> str:
        if words[0] == "stop":
            if channel.talk is None:
                return "-ERR Operation Failed"
            channel.talk.cancel()
            channel.talk = None
            return "+OK Success"
        start, url, mix, rate, metadata = words
        assert (start, mix, rate) == ("start", "mono", "8k")
        if self.refuse_stream:
            return "-ERR Operation Failed"
        channel.streams.append(url)
        channel.talk = asyncio.create_task(self._stream(channel, url, metadata))
        return "+OK Success"

    async def _stream(self, channel: Channel, url: str, metadata: str) -> None:
        """Metadata first, then 20 ms of L16 at a time: sample n of frame k is k."""
        async with connect(url) as peer:
            channel.peer = peer
            await peer.send(metadata)
            listening = asyncio.create_task(self._listen(channel, peer))
            try:
                for n in range(10_000):
                    await peer.send((n % 100 * 256).to_bytes(2, "little") * 160)
                    await asyncio.sleep(0.02)
            except ConnectionClosed:
                pass
            finally:
                listening.cancel()

    async def _listen(self, channel: Channel, peer: ClientConnection) -> None:
        files = 0
        async for message in peer:
            if isinstance(message, bytes):
                assert self.raw, "only later versions take binary sound"
                channel.heard += message
                continue
            data = json.loads(message)
            if data.get("type") == "streamAudio":
                files += 1
                channel.heard += base64.b64decode(data["data"]["audioData"])
                body = {"audioDataType": "raw", "sampleRate": data["data"]["sampleRate"],
                        "file": f"/tmp/{channel.uuid}_{files}.tmp.r8"}  # fmt: skip
                self.of(channel, "mod_audio_stream::play", json.dumps(body))
            else:
                self.of(channel, "mod_audio_stream::json", message)

    def call_of(self, call_id: str) -> Channel:
        """The channel of a call, running or ended."""
        for channel in (*self.channels.values(), *self.ended.values()):
            mark = channel.variables["presence_data"].split("/")
            if mark[2:] and unquote(mark[2]) == call_id:
                return channel
        raise KeyError(call_id)


def reply(writer: asyncio.StreamWriter, text: str) -> None:
    writer.write(f"Content-Type: command/reply\nReply-Text: {text}\n\n".encode())
