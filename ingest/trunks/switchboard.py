"""The switches of an edge, and which of them holds which call."""

from collections.abc import Iterable
from typing import NamedTuple

from ingest.trunks.driver import Listener, MediaAddress, Order, Switch


class Route(NamedTuple):
    """The way of one try: a trunk of a switch, and the number that it shows."""

    switch: Switch
    trunk: str
    caller_id: str | None = None


class Switchboard:
    """All ways out. The first switch is the only way, by a trunk of its own name."""

    def __init__(self, switches: Iterable[Switch]) -> None:
        self._switches = {switch.name: switch for switch in switches}
        self._default = next(iter(self._switches.values()))
        self._of_call: dict[str, Switch] = {}

    @property
    def default_trunk(self) -> str:
        """The trunk of a call that has not been routed yet."""
        return self._default.name

    async def start(self, listener: Listener) -> None:
        """Starts all switches."""
        for switch in self._switches.values():
            await switch.start(listener)

    def route(self, call_id: str) -> Route:
        """The way of a call's next try."""
        route = Route(self._default, self._default.name)
        self._of_call[call_id] = route.switch
        return route

    async def dial(self, route: Route, order: Order) -> MediaAddress | None:
        """Asks for the call; raises Refused."""
        return await route.switch.dial(order)

    def holds(self, call_id: str, trunk: str) -> None:
        """A call that has come in goes over a trunk."""
        self._of_call[call_id] = self._default

    def of(self, call_id: str) -> Switch:
        """The switch that holds a call."""
        return self._of_call.get(call_id, self._default)

    def forget(self, call_id: str) -> None:
        """The call is over."""
        self._of_call.pop(call_id, None)

    async def close(self) -> None:
        """Leaves all switches."""
        for switch in self._switches.values():
            await switch.close()
