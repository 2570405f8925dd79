"""Which trunks Asterisk can reach: the state of the devices that they dial.

A PJSIP endpoint whose contacts answer no SIP OPTIONS (`qualify_frequency`) is UNAVAILABLE, and
Asterisk dials it no more. Subscribed to are devices, not endpoints: a subscription to an endpoint
brings every event of every call on it, ours for the second time.
"""

from collections.abc import Callable, Mapping
from typing import Final

from ingest.asterisk.ari import Ari, ari_path
from ingest.asterisk.events import AriMalformed, parse_device
from ingest.trunks.reach import Reach
from ringlog import log

logger = log.logger("ringlog.ingest.asterisk")

_AWAY: Final = "UNAVAILABLE"


class DeviceWatch:
    """The devices of one Asterisk's trunks."""

    def __init__(
        self,
        ari: Ari,
        devices: Mapping[str, tuple[str, ...]],
        tell: Callable[[str, bool], None],
    ) -> None:
        """`devices`: trunks by the device that they dial; `tell` gets what changes, by trunk."""
        self._ari = ari
        self._reach = Reach(devices)
        self._tell = tell
        self._heard: set[str] = set()
        self._warned = False

    async def look(self) -> None:
        """Subscribes to the devices and asks for their states; what is told meanwhile is newer than
        the answer. Raises AriLost."""
        path = ari_path("applications", self._ari.app, "subscription")
        for device in self._reach.names:
            told = await self._ari.request("POST", path, {"eventSource": f"deviceState:{device}"})
            self._heard.discard(device)
            shown = await self._ari.request("GET", ari_path("deviceStates", device))
            if not (told.ok and shown.ok):
                self._warn(told.why if not told.ok else shown.why)
            elif device not in self._heard:
                try:
                    self.heard(*parse_device(shown.body))
                except AriMalformed as error:
                    self._warn(str(error))

    def heard(self, device: str, state: str) -> None:
        """Asterisk tells a device's state."""
        self._heard.add(device)
        reachable = state != _AWAY
        for trunk in self._reach.news(device, reachable):
            self._tell(trunk, reachable)

    def _warn(self, why: str) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "Asterisk does not tell which trunks it can reach: it lacks "
                "res_stasis_device_state or res_ari_device_states", why=why,
            )  # fmt: skip
