"""A browser for tests: an aiortc client that offers, trickles, talks, presses keys and listens."""

import asyncio
from fractions import Fraction
from typing import Any

import aiohttp
import av
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtp import RtpPacket
from av.audio.frame import AudioFrame

import ingest.webrtc.peer  # noqa: F401 # our client offers telephone events, too
from ringlog.audio.g711 import Int16

RATE_HZ = 48_000
FRAME = 960


class Microphone(MediaStreamTrack):
    """Plays samples of 48 kHz in real time, then silence."""

    kind = "audio"

    def __init__(self, samples: Int16) -> None:
        super().__init__()
        self._samples = samples
        self._n = 0
        self._began: float | None = None

    async def recv(self) -> AudioFrame:
        """The next 20 ms."""
        loop = asyncio.get_running_loop()
        if self._began is None:
            self._began = loop.time()
        await asyncio.sleep(max(0.0, self._began + self._n * 0.02 - loop.time()))
        part = np.zeros(FRAME, np.int16)
        piece = self._samples[self._n * FRAME : (self._n + 1) * FRAME]
        part[: len(piece)] = piece
        frame = AudioFrame.from_ndarray(part.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE_HZ, self._n * FRAME
        frame.time_base = Fraction(1, RATE_HZ)
        self._n += 1
        return frame


class BrowserEnd:
    """One WHIP client. `headers` go with each request."""

    def __init__(self, url: str, headers: dict[str, str], microphone: Int16) -> None:
        self.url, self.headers = url, headers
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.heard: list[Int16] = []
        self.answer = ""
        self.etag = self.location = ""
        self._microphone = Microphone(microphone)
        self._key_seq = 0
        self._listening: asyncio.Task[None] | None = None
        self.pc.on("track", self._on_track)

    async def offer(self, talk_back: bool = True) -> str:
        """Our SDP offer."""
        direction = "sendrecv" if talk_back else "sendonly"
        self.pc.addTransceiver(self._microphone, direction)
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return str(self.pc.localDescription.sdp)

    async def call(self, pool: str, query: str = "", talk_back: bool = True) -> int:
        """Places the call; returns the HTTP status."""
        sdp = await self.offer(talk_back)
        status, headers, body = await self.ask("POST", f"{self.url}/whip/{pool}{query}", sdp)
        if status == 201:
            self.answer, self.etag, self.location = body, headers["ETag"], headers["Location"]
            await self.pc.setRemoteDescription(RTCSessionDescription(body, "answer"))
        return status

    async def ask(
        self, method: str, url: str, body: str = "", kind: str = "application/sdp", **more: str
    ) -> tuple[int, Any, str]:
        """Status, headers and body of a request; `more` are headers."""
        headers = self.headers | {"Content-Type": kind} | more
        async with (
            aiohttp.ClientSession() as http,
            http.request(method, url, data=body.encode(), headers=headers) as answer,
        ):
            return answer.status, answer.headers, await answer.text()

    @property
    def call_id(self) -> str:
        """The call's id, from the session's URL."""
        return self.location.rpartition("/")[2]

    async def connected(self) -> None:
        """Waits for the connection."""
        async with asyncio.timeout(20):
            while self.pc.connectionState != "connected":
                assert self.pc.connectionState != "failed"
                await asyncio.sleep(0.01)

    def sound(self) -> Int16:
        """What was heard so far, 48 kHz."""
        return np.concatenate(self.heard) if self.heard else np.zeros(0, np.int16)

    async def press(self, event: int, payload_type: int = 110) -> None:
        """Sends one key press as telephone events at Opus' clock (RFC 4733)."""
        (transceiver,) = self.pc.getTransceivers()
        sender: Any = transceiver.sender
        for n in range(1, 6):
            self._key_seq += 1
            packet = RtpPacket(
                payload_type=payload_type, sequence_number=self._key_seq, timestamp=event * 48_000,
                marker=int(n == 1),
            )  # fmt: skip
            packet.ssrc = 0x11223344
            end = 0x80 if n > 3 else 0
            packet.payload = bytes([event, end | 10]) + (min(n, 4) * 960).to_bytes(2, "big")
            await sender.transport._send_rtp(packet.serialize())
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Ends the connection, as a closed tab does."""
        if self._listening is not None:
            self._listening.cancel()
        await self.pc.close()

    def _on_track(self, track: MediaStreamTrack) -> None:
        async def listen() -> None:
            while True:
                try:
                    frame = await track.recv()
                except MediaStreamError:
                    return
                assert isinstance(frame, av.AudioFrame)
                self.heard.append(frame.to_ndarray()[0][::2].copy())

        self._listening = asyncio.create_task(listen())
