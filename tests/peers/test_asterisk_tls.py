"""ARI over HTTPS and WSS, and sound over WSS, with a certificate that an authority of the test's
own has signed."""

import asyncio
import datetime
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from demo.asterisk.instance import Asterisk, free_port
from demo.sip import scripts
from demo.sip.carrier import SipCarrier
from ingest.asterisk.ari import Ari, AriLost
from ingest.asterisk.check import check_asterisk
from ingest.asterisk.plan import AsteriskPlan
from ingest.asterisk.switch import AsteriskSwitch
from ingest.asterisk.tls import tls_of
from ingest.trunks.driver import Order
from ingest.ws.line import WsLine
from tests.peers.asterisk_world import DriverEar, SocketEnd, plan_of, strongest_hz, tone
from tests.peers.test_harness import ari, until

pytestmark = pytest.mark.needs("asterisk")

_NOW = datetime.datetime.now(datetime.UTC)
_HTTP = """
tlsenable = yes
tlsbindaddr = 127.0.0.1:PORT
tlscertfile = {etc}/ringlog.pem
tlsprivatekey = {etc}/ringlog.key
"""


def signed(
    name: str, key: ec.EllipticCurvePrivateKey, by: ec.EllipticCurvePrivateKey, authority: bool
) -> x509.Certificate:
    """A certificate of a day, of the authority or for 127.0.0.1."""
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOW - datetime.timedelta(hours=1))
        .not_valid_after(_NOW + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(by, hashes.SHA256())
    )


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ca") / "ca.pem"


@pytest.fixture(scope="module")
def secure(asterisk: Asterisk, ca_file: Path) -> Iterator[tuple[Asterisk, str]]:
    """An Asterisk of its own with HTTPS, and its URL; its trunks' far ends are the session's."""
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(
        ec.SECP256R1()
    )  # fmt: skip
    ca_file.write_text(pem(signed("authority", authority, authority, True)), encoding="ascii")
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()
    port = free_port("127.0.0.1", socket.SOCK_STREAM)
    made = Asterisk(
        list(asterisk.trunks.values()),
        extra={
            "http.conf": _HTTP.replace("PORT", str(port)),
            "ringlog.pem": pem(signed("pbx", key, authority, False)),
            "ringlog.key": private,
        },
    )
    try:
        yield made.start(), f"https://127.0.0.1:{port}"
    finally:
        made.close()


def secure_plan(secure: tuple[Asterisk, str], ca_file: Path) -> AsteriskPlan:
    pbx, url = secure
    plan = replace(plan_of(pbx), url=url, media="websocket-in")
    return replace(plan, tls=tls_of(url, str(ca_file)))


async def test_a_call_whose_control_and_sound_are_encrypted(
    secure: tuple[Asterisk, str], ca_file: Path, carriers: dict[str, SipCarrier]
) -> None:
    carriers["carrier-a"].default = scripts.answer(say=tone(700, 1.0), after_s=0.2)
    ear, end = DriverEar(), SocketEnd("call-tls")
    lines: dict[str, WsLine] = {"call-tls": end.line}
    switch = AsteriskSwitch(secure_plan(secure, ca_file), lines.get)
    await switch.start(ear)
    try:
        await until(lambda: switch.connected, 10)
        order = Order("call-tls", "13800000001", "carrier-a", "pcmu", None)
        assert await switch.dial(order) is None
        far = await carriers["carrier-a"].next_call()
        await ear.wait("call-tls", "answered")
        end.say(tone(440, 1.0))
        await asyncio.sleep(1.8)
        assert strongest_hz(far.media.heard()) == pytest.approx(440, abs=5)
        assert strongest_hz(end.sound) == pytest.approx(700, abs=5)
        await switch.hang_up("call-tls")
        await ear.wait("call-tls", "ended")
        await until(lambda: ari(secure[0], "GET", "/channels") == [])
    finally:
        end.close()
        await switch.close()


async def test_a_check_over_https_finds_nothing_wrong(
    secure: tuple[Asterisk, str], ca_file: Path
) -> None:
    plan = secure_plan(secure, ca_file)
    found = [f async for f in check_asterisk(plan, "127.0.0.1", ["carrier-a"])]
    assert [f for f in found if not f.ok] == []


async def test_a_certificate_of_a_stranger_is_refused(secure: tuple[Asterisk, str]) -> None:
    """Without the authority's file nothing is sent, no password either."""
    plan = replace(plan_of(secure[0]), url=secure[1], tls=ssl.create_default_context())
    (finding,) = [f async for f in check_asterisk(plan, "127.0.0.1")]
    assert (finding.what, finding.ok) == ("connection", False) and "ca_file" in finding.mend
    without = Ari(plan.url, plan.user, plan.password, plan.app)
    try:
        with pytest.raises(AriLost, match="Certificate"):
            await without.connect()
    finally:
        await without.close()
