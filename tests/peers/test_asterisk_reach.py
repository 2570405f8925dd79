"""A carrier that answers no SIP OPTIONS: a real Asterisk tells, and calls go another way."""

import socket
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from demo.asterisk.instance import Asterisk, free_port
from demo.asterisk.page import TrunkAddress
from demo.sip import scripts
from demo.sip.carrier import SipCarrier
from ingest.asterisk.plan import asterisk_plan
from ingest.asterisk.switch import AsteriskSwitch
from ingest.trunks.plan import SitePlan
from ingest.trunks.router import Ask, TrunkRouter
from ringlog.clock import now_ms
from ringlog.settings import Settings
from tests.peers.asterisk_world import DriverEar, RobotEnd, placed
from tests.peers.test_harness import ari, until

pytestmark = pytest.mark.needs("asterisk")

SETTLE_S = 30.0
QUALIFY = """
[west](+type=aor)
qualify_frequency = 1
qualify_timeout = 0.5
[east](+type=aor)
qualify_frequency = 1
qualify_timeout = 0.5
"""


@pytest.fixture
def pbx() -> Iterator[Asterisk]:
    """An Asterisk that asks two of its three carriers every second."""
    trunks = [
        TrunkAddress(name, host, free_port(host, socket.SOCK_DGRAM))
        for name, host in [("west", "127.0.0.31"), ("east", "127.0.0.32"), ("mute", "127.0.0.33")]
    ]
    made = Asterisk(trunks, extra={"pjsip.conf": QUALIFY})
    try:
        yield made.start()
    finally:
        made.close()


class RoutedEar(DriverEar):
    """A listener whose router hears what the edge's does."""

    def __init__(self, router: TrunkRouter) -> None:
        super().__init__()
        self.router = router

    def on_reachable(self, trunk: str, reachable: bool) -> None:
        super().on_reachable(trunk, reachable)
        self.router.told(trunk, reachable, now_ms())

    def ways(self, call_id: str) -> set[str]:
        """The trunks that a call may take now."""
        asked = Ask(call_id, call_id, "+8613800000001", "edge", ("edge",))
        return {way.trunk for way in self.router.choose(asked, now_ms()).ways}


async def test_a_stopped_carrier_is_avoided_until_it_is_back(pbx: Asterisk) -> None:
    site = SitePlan.model_validate({
        "switches": {"pbx": {"type": "asterisk", "url": pbx.base_url, "user": pbx.ari_user}},
        "trunks": {
            name: {"switch": "pbx", "endpoint": f"PJSIP/{{digits}}@{name}"} for name in pbx.trunks
        },
    })  # fmt: skip
    config = Settings(ari_password=SecretStr(pbx.password))
    plan = asterisk_plan(config, "edge", "pbx", site.switches["pbx"], site.trunks)
    ear = RoutedEar(TrunkRouter(site))
    west, east = (SipCarrier(n, pbx.trunks[n].host, pbx.trunks[n].port) for n in ("west", "east"))
    switch = AsteriskSwitch(plan)
    robot = await RobotEnd().open()
    try:
        await west.start()
        await until(lambda: state(pbx, "west") == "online", SETTLE_S)
        await switch.start(ear)
        # Nobody listens at `east`, and nobody asks `mute`, which therefore counts as reachable.
        await until(lambda: ear.reachable == {"east": False}, SETTLE_S)
        assert ear.ways("c1") == {"west", "mute"}

        await east.start()
        await until(lambda: ear.reachable == {"east": True}, SETTLE_S)
        await west.stop()
        await until(lambda: ear.reachable == {"east": True, "west": False}, SETTLE_S)
        assert ear.ways("c2") == {"east", "mute"}
        assert ear.router.figures("west", now_ms()).reason == "unreachable"

        # What changes while Asterisk is away is asked for once it is back.
        pbx.kill()
        await until(lambda: not switch.connected, SETTLE_S)
        west.default = scripts.answer()
        await west.start()
        pbx.start()
        await until(lambda: ear.reachable == {"east": True, "west": True}, SETTLE_S)
        assert ear.ways("c3") == {"west", "east", "mute"}

        # Its calls are told once each: watching a trunk brings no second copy of its calls' events.
        await placed(switch, robot, "c4", "+8613800000001", endpoint="PJSIP/8613800000001@west")
        await ear.wait("c4", "answered")
        await switch.hang_up("c4")
        await ear.wait("c4", "ended")
        assert ear.kinds("c4") == ["ringing", "answered", "ended"]
    finally:
        await switch.close()
        robot.close()
        for carrier in (west, east):
            await carrier.stop()


def state(pbx: Asterisk, endpoint: str) -> str:
    """What Asterisk says of an endpoint."""
    return str(ari(pbx, "GET", f"/endpoints/PJSIP/{endpoint}")["state"])
