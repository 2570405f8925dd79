"""Fixtures with real peers. A test says what it needs: `@pytest.mark.needs("asterisk", "sipp")`."""

import functools
import shutil
import socket
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest

from demo.asterisk.instance import Asterisk, free_port
from demo.asterisk.page import TrunkAddress
from demo.sip.carrier import SipCarrier
from tests.integration.conftest import port_shift, stack
from tests.peers.baresip import BARESIP_HOST
from tests.peers.peers import PEERS
from tests.peers.sipp import SIPP_HOST, Sipp

__all__ = ["port_shift", "stack"]

CARRIERS = {"carrier-a": "127.0.0.11", "carrier-b": "127.0.0.12", "carrier-c": "127.0.0.13"}
"""Trunks of the Asterisk of these tests, and the loopback address of each one's far end."""


@functools.cache
def _why_absent(name: str) -> str | None:
    return PEERS[name].absent()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips by name what needs a peer that is not here."""
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            if (why := _why_absent(name)) is not None:
                pytest.skip(f"{name}: {why}")


@pytest.fixture(scope="session")
def asterisk_media_url() -> str:
    """The URL in `websocket_client.conf`. Override it where Asterisk is to dial the edge."""
    return "ws://127.0.0.1:18090/media/asterisk"


def made(media_url: str) -> Asterisk:
    """An Asterisk by the printed configuration, not started yet."""
    trunks = [
        TrunkAddress(name, host, free_port(host, socket.SOCK_DGRAM))
        for name, host in [*CARRIERS.items(), ("sipp", SIPP_HOST), ("baresip", BARESIP_HOST)]
    ]
    return Asterisk(trunks, media_url, {"extensions.conf": _LOOP})


@pytest.fixture(scope="session")
def asterisk(asterisk_media_url: str) -> Iterator[Asterisk]:
    """A running Asterisk with the trunks `CARRIERS`, `sipp` and `baresip`; one for the session.

    A test that kills it starts it again before it ends. For one of your own: `Asterisk(...)`.
    """
    if (why := _why_absent("asterisk")) is not None:
        pytest.skip(f"asterisk: {why}")
    instance = made(asterisk_media_url)
    try:
        yield instance.start()
    finally:
        instance.close()


_LOOP = """
[peers-test]
exten => echo,1,Answer()
 same => n,Echo()
 same => n,Hangup()
exten => keys,1,Answer()
 same => n,Wait(0.2)
 same => n,SendDTMF(9#A)
 same => n,Hangup()
"""
"""Dialplan of the harness's own tests: a call that is sent back to who calls, keys."""


@pytest.fixture
async def carriers(asterisk: Asterisk) -> AsyncIterator[dict[str, SipCarrier]]:
    """The far ends of the trunks `CARRIERS`, listening; stopped after the test."""
    made = {
        name: SipCarrier(name, asterisk.trunks[name].host, asterisk.trunks[name].port)
        for name in CARRIERS
    }
    try:
        for carrier in made.values():
            await carrier.start()
        yield made
    finally:
        for carrier in made.values():
            await carrier.stop()


@pytest.fixture
def sipp(asterisk: Asterisk, tmp_path: Path) -> Iterator[Sipp]:
    """sipp as the far end of the trunk `sipp`: answers and echoes, in numbers."""
    if (why := _why_absent("sipp")) is not None:
        pytest.skip(f"sipp: {why}")
    far_end = Sipp(asterisk.trunks["sipp"].port, tmp_path)
    try:
        yield far_end
    finally:
        far_end.stop()


@pytest.fixture
def chromium() -> str:
    """Path of Chromium."""
    if (why := _why_absent("chromium")) is not None:
        pytest.skip(f"chromium: {why}")
    found = shutil.which("chromium")
    assert found is not None
    return found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows the end of Asterisk's log."""
    report = yield
    instance = getattr(item, "funcargs", {}).get("asterisk")
    if report.when == "call" and report.failed and instance is not None:
        report.sections.append(("Asterisk's log", instance.log_tail()))
    return report
