"""The media port by TLS: a certificate of the test's own, one that is renewed, and bad ones."""

import asyncio
import datetime
import ipaddress
import socket
import ssl
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidMessage

from ingest.ws import server as ws_server
from ringlog import tls
from ringlog.health import serve
from ringlog.settings import Settings
from ringlog.tls import Certificate, CertificateUnusable, certificate_of
from streams.api.__main__ import _serve_tls
from tests.integration.ingest.doors_world import World
from tests.integration.ingest.test_transports import until

Key = ec.EllipticCurvePrivateKey


def certificate(key: Key, serial: int) -> bytes:
    """Signed by itself, for 127.0.0.1; PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ringlog test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def pem(key: Key, password: bytes | None = None) -> bytes:
    how: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        how = serialization.BestAvailableEncryption(password)
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, how)


def write(folder: Path, serial: int) -> Settings:
    """A pair of files, and the settings that name them."""
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / "chain.pem").write_bytes(certificate(key, serial))
    (folder / "key.pem").write_bytes(pem(key))
    return Settings(home=folder, tls_cert=folder / "chain.pem", tls_key=folder / "key.pem")


def trusting(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(folder / "chain.pem"))


def serial_at(port: int) -> int:
    """The serial number of the certificate that a port shows."""
    text = ssl.get_server_certificate(("127.0.0.1", port))
    return x509.load_pem_x509_certificate(text.encode()).serial_number


async def test_a_call_by_tls_and_a_renewed_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "LOOK_S", 0.02)
    config = write(tmp_path, 1)
    assert config.media_ws_url.startswith("wss://")
    made = certificate_of(config)
    assert made is not None
    world = World(config, 0)
    world.make("c1")
    context = await made.first()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    await world.server.start("127.0.0.1", 0, context)
    assert world.server._server is not None
    port = world.server._server.sockets[0].getsockname()[1]
    following = asyncio.create_task(made.follow(context))
    try:
        path = f"127.0.0.1:{port}/media/c1?token=secret-c1"
        async with connect(f"wss://{path}", ssl=trusting(tmp_path)) as peer:
            for _ in range(20):
                await peer.send(b"\x7e" * 160)
            await until(lambda: world.session("c1").frames_in > 10)
        with pytest.raises((InvalidMessage, OSError)):
            async with connect(f"ws://{path}"):
                raise AssertionError("without TLS nobody is served")
        assert await asyncio.to_thread(serial_at, port) == 1

        (tmp_path / "key.pem").write_bytes(b"half")  # amid a renewal
        await asyncio.sleep(0.1)
        assert await asyncio.to_thread(serial_at, port) == 1
        write(tmp_path, 2)
        async with asyncio.timeout(30):
            while await asyncio.to_thread(serial_at, port) != 2:
                await asyncio.sleep(0.02)
        assert not following.done()
    finally:
        following.cancel()
        await world.server.stop()


def test_bad_files_are_said_by_their_name(tmp_path: Path) -> None:
    config = write(tmp_path, 1)
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    assert certificate_of(Settings()) is None
    assert Certificate(chain, key).context()
    with pytest.raises(CertificateUnusable, match="RINGLOG_TLS_CERT: .*none.pem cannot be read"):
        Certificate(tmp_path / "none.pem", key).context()
    with pytest.raises(CertificateUnusable, match="RINGLOG_TLS_KEY: .*none.pem cannot be read"):
        Certificate(chain, tmp_path / "none.pem").context()
    (tmp_path / "text.pem").write_text("no certificate")
    other = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "other.pem").write_bytes(pem(other))
    (tmp_path / "locked.pem").write_bytes(pem(other, b"secret"))
    for wrong in (
        Certificate(tmp_path / "text.pem", key), Certificate(chain, tmp_path / "other.pem"),
        Certificate(chain, tmp_path / "locked.pem"), Certificate(chain, None),
    ):  # fmt: skip
        with pytest.raises(CertificateUnusable, match="no certificate with its key"):
            wrong.context()
    (tmp_path / "both.pem").write_bytes(chain.read_bytes() + key.read_bytes())
    assert Certificate(tmp_path / "both.pem", None).context()
    assert config.tls_key == key


async def test_a_port_waits_for_its_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing file stops no edge: its calls by RTP go on."""
    monkeypatch.setattr(tls, "LOOK_S", 0.02)
    made = Certificate(tmp_path / "chain.pem", tmp_path / "key.pem")
    first = asyncio.create_task(made.first())
    await asyncio.sleep(0.1)
    assert not first.done()
    assert "a port with TLS is not served yet" in capsys.readouterr().out
    write(tmp_path, 1)
    assert (await asyncio.wait_for(first, 30)).minimum_version == ssl.TLSVersion.TLSv1_2


async def test_a_peer_that_never_shakes_hands_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ws_server, "HANDSHAKE_S", 0.3)
    made = certificate_of(write(tmp_path, 1))
    assert made is not None
    world = World(Settings(), 0)
    await world.server.start("127.0.0.1", 0, made.context())
    assert world.server._server is not None
    port = world.server._server.sockets[0].getsockname()[1]
    try:
        for says in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(says)
            async with asyncio.timeout(30):
                with suppress(ConnectionError):
                    assert b"HTTP" not in await reader.read()
            writer.close()
        assert world.server.admission.count == 0
    finally:
        await world.server.stop()


async def test_the_api_is_served_by_tls_too(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = write(tmp_path, 1).model_copy(update={"api_tls_port": port, "port_shift": 0})

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=request.scheme)

    app = web.Application()
    app.router.add_get("/", hello)
    runner = await serve(app, "127.0.0.1", 0)
    made = certificate_of(config)
    assert made is not None
    serving = asyncio.create_task(_serve_tls(config, runner, made))
    try:
        async with asyncio.timeout(30), aiohttp.ClientSession() as http:
            while True:
                try:
                    url = f"https://127.0.0.1:{port}/"
                    async with http.get(url, ssl=trusting(tmp_path)) as answer:
                        assert await answer.text() == "https"
                    break
                except aiohttp.ClientConnectorError:
                    await asyncio.sleep(0.02)
    finally:
        serving.cancel()
        await runner.cleanup()
