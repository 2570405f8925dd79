"""Makes the drivers of the switches that a plan names."""

import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from ingest.asterisk.plan import asterisk_plan
from ingest.asterisk.switch import AsteriskSwitch
from ingest.freeswitch.switch import FreeSwitch, FreeSwitchConfig, gateways_of
from ingest.trunks.driver import Listener, MediaAddress, Medium, Order, Refused, Switch
from ingest.trunks.plan import SwitchPlan, TrunkPlan
from ingest.trunks.sim import SimSwitch
from ingest.ws.line import WsLine
from ringlog.settings import Settings


class SwitchMaker:
    """Makes them for one edge."""

    def __init__(
        self,
        config: Settings,
        edge_id: str,
        media_url_of: Callable[[str], str],
        find: Callable[[str], WsLine | None],
        token_of: Callable[[str], str],
    ) -> None:
        """`media_url_of`: a call's URL on our media WebSocket, with its token; `find`: a call's
        line; `token_of`: its secret."""
        self._config = config
        self._edge_id = edge_id
        self._media_url_of = media_url_of
        self._find = find
        self._token_of = token_of

    def __call__(self, name: str, plan: SwitchPlan, trunks: Mapping[str, TrunkPlan]) -> Switch:
        """The driver of one switch; `trunks` are those that go by it. Raises ValueError for an
        address or an option that is none, and for a password that is not there."""
        match plan.type:
            case "sim":
                return SimSwitch(plan.url, name, trunks, _seconds(plan, "ask_s"))
            case "freeswitch":
                return FreeSwitch(self._freeswitch(name, plan, trunks), self._media_url_of)
            case "asterisk":
                asterisk = asterisk_plan(self._config, self._edge_id, name, plan, trunks)
                return AsteriskSwitch(asterisk, self._find, self._token_of)

    def _freeswitch(
        self, name: str, plan: SwitchPlan, trunks: Mapping[str, TrunkPlan]
    ) -> FreeSwitchConfig:
        host, port = address_of(plan.url)
        site = self._config
        password = plan.password() if plan.names_password else site.freeswitch_password
        dial = plan.options.get("dial", site.freeswitch_dial)
        return FreeSwitchConfig(
            host, port, password.get_secret_value(), self._edge_id, name, dial,
            plan.options.get("playback", site.freeswitch_playback) == "raw",
            gateways_of({n: trunk.endpoint or dial for n, trunk in trunks.items()}),
        )  # fmt: skip


def address_of(text: str) -> tuple[str, int]:
    """Host and port of `host:port`, also behind a scheme; raises ValueError."""
    url = urlsplit(text if "//" in text else f"//{text}")
    if not url.hostname or url.port is None:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return url.hostname, url.port


def _seconds(plan: SwitchPlan, option: str) -> float:
    """A driver's option in seconds, 0 where it is not set; raises ValueError."""
    text = plan.options.get(option, "0")
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", text):
        raise ValueError(f"options: {option} is a number of seconds, not {text!r}")
    return float(text)


class NoSwitch:
    """Stands for a switch that the plan no longer has: it knows no call and takes none."""

    name = ""
    medium: Medium = "rtp"
    sends_keys = False
    keeps_calls = False
    connected = False

    async def start(self, listener: Listener) -> None:
        """Nothing to do."""

    async def dial(self, order: Order) -> MediaAddress | None:
        """Raises Refused."""
        raise Refused(38, None, "failed", "the trunk's switch is gone")

    async def adopt(
        self, call_id: str, ours: MediaAddress | None, try_no: int = 1, answered: bool = False,
        placed_by: str = "", anew: bool = False,
    ) -> bool:  # fmt: skip
        """It has none."""
        return False

    def let_go(self, call_id: str) -> None:
        """Nothing to do."""

    async def send_keys(self, call_id: str, digits: str) -> None:
        """Nothing to do."""

    async def hang_up(self, call_id: str) -> None:
        """Nothing to do."""

    async def transfer(self, call_id: str, target: str) -> bool:
        """It cannot."""
        return False

    async def close(self) -> None:
        """Nothing to do."""
