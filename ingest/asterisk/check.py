"""Tries a switch: log-in, version, modules, endpoints, events, and sound through it and back.

Nobody is called: two media legs of our own meet in a bridge.
"""

import asyncio
import os
import re
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Final, NamedTuple

import aiohttp
import numpy as np

from ingest.asterisk.ari import Ari, AriLost, ari_path
from ingest.asterisk.events import ECHO, AriMalformed, parse_ari, parse_channel
from ingest.asterisk.legs import RtpLegs
from ingest.asterisk.media import MODULES, SINCE, MediaKind
from ingest.asterisk.plan import AsteriskPlan
from ingest.trunks.driver import MediaAddress
from ringlog.audio import g711

OLDEST: Final = 18
NEWEST: Final = 23
"""Releases that Ringlog is made for."""

NEEDED: Final = (
    "res_stasis", "app_stasis", "res_ari", "res_ari_channels", "res_ari_bridges",
    "res_ari_events", "res_ari_applications", "res_ari_asterisk", "chan_pjsip", "bridge_simple",
    "bridge_softmix", "codec_ulaw", "func_callerid", "res_pjsip_header_funcs",
)  # fmt: skip
"""Modules that calls need, whatever brings their sound."""

LOOP_PACKETS: Final = 50
LOOP_HZ: Final = (440, 1_000)
"""A second of a tone each way."""

EVENT_S: Final = 3.0


class Finding(NamedTuple):
    """One thing that was tried. `mend` says what to do when it is not `ok`."""

    what: str
    ok: bool
    detail: str = ""
    mend: str = ""


def major_of(version: str) -> int | None:
    """The release of a version such as `22.10.1~dfsg` or `certified/20.7-cert2`."""
    found = re.search(r"([0-9]{1,3})\.[0-9]+", version)
    return int(found[1]) if found else None


def version_finding(version: str) -> Finding:
    """Whether Ringlog is made for a version."""
    major = major_of(version)
    mend = f"use Asterisk {OLDEST} to {NEWEST}"
    if major is None:
        return Finding("version", False, f"{version[:40]!r} is not understood", mend)
    return Finding("version", OLDEST <= major <= NEWEST, version[:40], mend)


async def check_asterisk(
    plan: AsteriskPlan, host: str, endpoints: Iterable[str] = ()
) -> AsyncIterator[Finding]:
    """Tries one switch; stops where nothing further can be tried. `host`: where Asterisk reaches
    us; `endpoints`: names of `pjsip.conf` that trunks dial."""
    app = f"ringlog-check-{os.getpid()}"
    ari = Ari(plan.url, plan.user, plan.password, app, plan.tls)
    try:
        async for finding in _all(ari, plan, host, endpoints):
            yield finding
    except AriLost as lost:
        yield Finding("connection", False, str(lost), "see whether Asterisk still runs")
    except AriMalformed as error:
        yield Finding("answers", False, str(error), "see whether the URL is Asterisk's")
    finally:
        await ari.close()


async def _all(
    ari: Ari, plan: AsteriskPlan, host: str, endpoints: Iterable[str]
) -> AsyncIterator[Finding]:
    try:
        info = await ari.request("GET", "/asterisk/info")
    except AriLost as lost:
        mend = (
            "name who signs its certificate: ca_file"
            if "Certificate" in str(lost)
            else "http.conf: enabled = yes, bindaddr and bindport; a firewall between may be in "
            "the way"
        )
        yield Finding("connection", False, f"{ari.url}: {lost}", mend)
        return
    if info.status == 401:
        yield Finding("log-in", False, f"user {plan.user!r}", "ari.conf: user and password")
        return
    if not info.ok or not isinstance(info.body, dict):
        mend = "load res_ari.so; ari.conf: enabled = yes; http.conf: prefix"
        yield Finding("log-in", False, f"status {info.status}", mend)
        return
    yield Finding("log-in", True, f"user {plan.user!r}")
    system = info.body.get("system")
    version = str(system.get("version", "")) if isinstance(system, dict) else ""
    yield version_finding(version)
    complete = True
    for module in (*NEEDED, *MODULES[plan.media]):
        answer = await ari.request("GET", ari_path("asterisk", "modules", f"{module}.so"))
        if not answer.ok:
            complete = False
            yield _missing(module, plan.media)
    if complete:
        yield Finding("modules", True, f"{len(NEEDED) + len(MODULES[plan.media])} are there")
    for name in endpoints:
        yield await _endpoint(ari, name)
    if not complete:
        return
    async with asyncio.timeout(20):
        socket = await ari.connect()
        try:
            heard = await _echoes(ari, socket)
            mend = "give the user read_only = no; load res_ari_events.so and res_http_websocket.so"
            yield Finding("events", heard, "" if heard else "none came", mend)
            if heard:
                yield await _loop(ari, plan, host, socket)
        finally:
            await socket.close()


def _missing(module: str, media: MediaKind) -> Finding:
    mend = f"modules.conf: load = {module}.so"
    if module in MODULES[media]:
        mend += f"; it is part of Asterisk from {SINCE[media]} on. Or choose other media: rtp"
    return Finding("modules", False, f"{module} is not loaded", mend)


async def _endpoint(ari: Ari, name: str) -> Finding:
    answer = await ari.request("GET", ari_path("endpoints", "PJSIP", name))
    what = f"endpoint {name}"
    if not answer.ok:
        return Finding(what, False, "there is none", f"pjsip.conf: a section [{name}]")
    state = answer.body.get("state", "") if isinstance(answer.body, dict) else ""
    mend = "pjsip.conf: the contact of its aor; does the carrier answer OPTIONS?"
    return Finding(what, state != "offline", str(state), mend)


async def _echoes(ari: Ari, socket: aiohttp.ClientWebSocketResponse) -> bool:
    answer = await ari.request(
        "POST", ari_path("events", "user", ECHO), {"application": ari.app}
    )  # fmt: skip
    return answer.ok and await _event(socket, "echo") is not None


async def _event(socket: aiohttp.ClientWebSocketResponse, kind: str) -> str | None:
    """The channel of the next event of a kind; None when none comes in time."""
    try:
        async with asyncio.timeout(EVENT_S):
            async for message in socket:
                if message.type == aiohttp.WSMsgType.TEXT:
                    event = parse_ari(message.data)
                    if event is not None and event.kind == kind:
                        return event.channel.id
    except TimeoutError:
        pass
    return None


class _End(asyncio.DatagramProtocol):
    """One end of the loop: G.711 µ-law out and in."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a datagram transport, by asyncio

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if len(data) > 12 and data[1] & 0x7F == 0:
            self.heard += data[12:]


async def _loop(
    ari: Ari, plan: AsteriskPlan, host: str, socket: aiohttp.ClientWebSocketResponse
) -> Finding:
    """Two media legs in one bridge: what goes in at one comes out at the other."""
    names = [f"{ari.app}~loop~{n}" for n in (1, 2)]
    bridge, legs = f"{ari.app}~loop", RtpLegs(plan.rtp_host)
    ends: list[_End] = []
    theirs: list[MediaAddress] = []
    what, mend = "sound there and back", "RTP (UDP) must pass between here and Asterisk: rtp.conf"
    try:
        for name in names:
            _, end = await asyncio.get_running_loop().create_datagram_endpoint(
                _End, local_addr=(host, 0)
            )
            ends.append(end)
            assert end.transport is not None, "it is open"
            port = end.transport.get_extra_info("sockname")[1]
            legs.expect(name, name, MediaAddress(host, port, None), "pcmu")
            query = legs.query(name, name) | {"app": ari.app, "channelId": name}
            made = await ari.request("POST", "/channels/externalMedia", query)
            if not made.ok:
                return Finding(what, False, made.why, "load chan_rtp.so and res_rtp_multicast.so")
            theirs.append(legs.made(name, name, parse_channel(made.body)))
            await _event(socket, "entered")
        await ari.request("POST", ari_path("bridges", bridge), {"type": "mixing"})
        path = ari_path("bridges", bridge, "addChannel")
        joined = await ari.request("POST", path, {"channel": ",".join(names)})
        if not joined.ok:
            return Finding(what, False, joined.why, "load bridge_simple.so and bridge_softmix.so")
        await _talk(ends, theirs)
        heard = [_strongest_hz(bytes(end.heard)) for end in ends]
        wanted = list(reversed(LOOP_HZ))
        ok = all(abs(h - w) < 20 for h, w in zip(heard, wanted, strict=True))
        share = min(len(end.heard) for end in ends) / (LOOP_PACKETS * 160)
        where = " and ".join(f"{address.host}:{address.port}" for address in theirs)
        return Finding(what, ok, f"{min(share, 1):.0%} came back, by {where}", mend)
    except OSError as error:
        return Finding(what, False, f"{host}: {error.strerror}", "RINGLOG_RTP_HOST: our address")
    finally:
        for end in ends:
            if end.transport is not None:
                end.transport.close()
        with suppress(AriLost):
            for name in names:
                await ari.request("DELETE", ari_path("channels", name))
            await ari.request("DELETE", ari_path("bridges", bridge))


async def _talk(ends: list[_End], theirs: list[MediaAddress]) -> None:
    time = np.arange(LOOP_PACKETS * 160) / 8_000
    tones = [
        g711.encode("pcmu", np.asarray(8_000 * np.sin(2 * np.pi * hz * time), np.int16))
        for hz in LOOP_HZ
    ]
    for n in range(LOOP_PACKETS):
        for end, address, tone in zip(ends, theirs, tones, strict=True):
            head = struct.pack("!BBHII", 0x80, 0, n, n * 160, 1)
            if end.transport is not None:
                end.transport.sendto(
                    head + tone[n * 160 : n * 160 + 160], (address.host, address.port)
                )
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.2)


def _strongest_hz(sound: bytes) -> float:
    if len(sound) < 800:
        return 0.0
    spectrum = np.abs(np.fft.rfft(g711.decode("pcmu", sound).astype(np.float64)))
    return float(np.argmax(spectrum) * 8_000 / len(sound))
