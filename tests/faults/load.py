"""The calls under which faults happen: so many at any time, until told to stop. Half of the tasks
are asked for one by one, the others stand on the list of a campaign."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from demo.campaign import Desk, carrier_of, cast_of, tell_crm
from demo.observer import Observer
from demo.people import Expected, Person
from ringlog.clock import now_ms
from ringlog.kafka.producer import EventProducer
from ringlog.kafka.reader import Received
from ringlog.settings import Settings
from schemas import ids
from schemas.envelope import Event
from schemas.events import Transcript
from tests.faults.listed import ListedCampaign, lawful_phones

CALL_S = 14.0
"""The shortest that a call takes on average: how many people a run may need."""

BRIEF_PER_S = 3.0
"""How many calls that nobody answers the stack makes a second at least."""

LAST_CALLS_S = 240.0
"""How long the last calls may take to end, with all retries of what failed."""


def list_of(campaign_id: str) -> str:
    """The campaign that has the list: tasks that are asked for one by one outlive its stop."""
    return f"{campaign_id}-list"


class Watcher(Observer):
    """Also sees the campaign with the list, and notices that somebody is speaking."""

    def __init__(self, campaign_id: str) -> None:
        super().__init__(campaign_id)
        self.partials = 0

    def _take(self, received: Received) -> None:
        if isinstance(received.event, Transcript) and received.event.kind == "partial":
            self.partials += 1
        super()._take(received)

    def _ours(self, event: Event) -> bool:
        return super()._ours(event) or event.campaign_id == list_of(self.campaign_id)

    async def speech(self, within_s: float) -> None:
        """Waits until somebody says something; not for ever."""
        before = self.partials
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self.partials == before:
                    self.changed.clear()
                    await self.changed.wait()


@dataclass
class Load:
    """A running campaign. `seen` is what the log says of it."""

    name: str
    cast: dict[str, Person]
    log_file: Path
    seen: Watcher
    assigned: list[str] = field(default_factory=list)
    stopping: bool = False

    @property
    def running(self) -> int:
        """Tasks that are not over."""
        return len(self.open_tasks)

    @property
    def asked(self) -> int:
        """Tasks that were asked for one by one and are not over."""
        return len(set(self.assigned) - set(self.seen.finished_tasks()))

    @property
    def open_tasks(self) -> list[str]:
        """Ids of tasks that are not over; calls back are for hours from now."""
        known = set(self.assigned) | self.seen.tasks.keys()
        later = {ids.task_id("default", "callbacks", call) for call in self.seen.calls}
        return sorted(known - set(self.seen.finished_tasks()) - later)


def nobody_answers(count: int) -> dict[str, Person]:
    """People who are busy or turn the call down, of one level. The busy ones stand on the list,
    whose campaign tries them again soon."""
    causes = (21, 17, 21, 21)
    nobody = [
        Person(
            name=f"nobody-{cause}", voice="cmn-latn-pinyin+m5", answers_after_ms=200,
            hangs_up=cause, expects=Expected(disposition="busy"),
        )
        for cause in causes
    ]  # fmt: skip
    return {str(n): nobody[n % len(nobody)] for n in range(count)}


class Campaign:
    """Keeps `calls` tasks going; with `brief` nobody answers, and all tasks are there at once, so
    that they wait for robots."""

    def __init__(self, config: Settings, calls: int, seconds: float, brief: bool = False) -> None:
        self._config, self._calls, self._brief = config, calls, brief
        run = int(time.time())
        self._name = f"faults-{run}"
        cast = (
            nobody_answers(int(BRIEF_PER_S * seconds))
            if brief
            else cast_of(max(calls, int(calls * seconds / CALL_S)), run)
        )
        self._cast = dict(zip(lawful_phones(run, len(cast)), cast.values(), strict=True))

    async def run(self, until: asyncio.Event, started: "asyncio.Future[Load]") -> None:
        """Runs until `until` is set and the last call is over; gives the Load when it begins."""
        config = self._config
        async with (
            carrier_of(config, self._name, self._cast) as log_file,
            EventProducer(config, "faults") as producer,
            Desk(config) as desk,
        ):
            seen = Watcher(self._name)
            load = Load(self._name, self._cast, log_file, seen)
            reading = asyncio.create_task(seen.follow(config, producer, now_ms()))
            try:
                await tell_crm(producer, self._name, self._cast)
                listed = ListedCampaign(
                    config, list_of(self._name), self._calls // 2, customers_of=self._name
                )
                await listed.launch({n: p for n, p in enumerate(load.cast) if n % 2})
                started.set_result(load)
                await self._assign(desk, load, until, reading)
                await listed.stop()
                await self._last_calls(load, reading)
            finally:
                reading.cancel()

    async def _assign(
        self, desk: Desk, load: Load, until: asyncio.Event, reading: "asyncio.Task[None]"
    ) -> None:
        people = ((n, phone) for n, phone in enumerate(load.cast) if n % 2 == 0)
        while not until.is_set():
            if reading.done():
                reading.result()
            most = len(load.cast) if self._brief else self._calls - self._calls // 2
            while load.asked < most and (person := next(people, None)) is not None:
                load.assigned.append(await desk.assign(load.name, *person))
            await asyncio.sleep(0.2)

    async def _last_calls(self, load: Load, reading: "asyncio.Task[None]") -> None:
        deadline = time.monotonic() + LAST_CALLS_S
        while load.running and time.monotonic() < deadline:
            if reading.done():
                reading.result()
            await asyncio.sleep(0.2)
