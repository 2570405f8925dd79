"""What the demo sees of the log: events of its own campaign, first record of an id, with Kafka's
time of each."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable

from ringlog.kafka.producer import EventProducer
from ringlog.kafka.reader import Received, TopicReader
from ringlog.settings import Settings
from schemas.envelope import Event
from schemas.events import (
    CallEvent,
    DeadLetter,
    Directive,
    IntentWindow,
    Profile,
    TaskEvent,
    Transcript,
    Turn,
)
from schemas.events.tasks import TASK_OVER

TOPICS = (
    "tasks.events",
    "calls.events",
    "asr.transcripts",
    "dialogue.turns",
    "dialogue.directives",
    "customers.profiles",
    "analytics.intent_windows",
    "dead_letters",
)


class Observer:
    """Collects; `since_ms` is the start of the demo."""

    def __init__(self, campaign_id: str) -> None:
        self.campaign_id = campaign_id
        self.tasks: dict[str, list[TaskEvent]] = defaultdict(list)
        self.calls: dict[str, list[CallEvent]] = defaultdict(list)
        self.finals: list[Transcript] = []
        self.turns: list[Turn] = []
        self.directives: list[Directive] = []
        self.profiles: dict[str, list[Profile]] = defaultdict(list)
        self.windows: dict[tuple[str, int, int], IntentWindow] = {}
        self.dead: list[DeadLetter] = []
        self.terminals: Counter[str] = Counter()
        self.written_ms: dict[str, int] = {}
        self.changed = asyncio.Event()
        self._seen: set[str] = set()

    def take(self, batch: Iterable[Received]) -> None:
        """Folds a batch in."""
        for received in batch:
            self._take(received)
        self.changed.set()

    def _take(self, received: Received) -> None:
        event = received.event
        if event.event_id in self._seen:
            return
        if not self._ours(event):
            return
        self._seen.add(event.event_id)
        self.written_ms[event.event_id] = received.timestamp_ms
        match event:
            case TaskEvent():
                self.tasks[event.task_id or ""].append(event)
            case CallEvent():
                self.calls[event.call_id or ""].append(event)
                if event.kind == "ended":
                    self.terminals[event.call_id or ""] += 1
            case Transcript() if event.kind == "final":
                self.finals.append(event)
            case Turn():
                self.turns.append(event)
            case Directive():
                self.directives.append(event)
            case Profile():
                self.profiles[event.customer_id or ""].append(event)
            case IntentWindow():
                key = (event.intent, event.window_start, event.window_end)
                known = self.windows.get(key)
                if known is None or event.revision >= known.revision:
                    self.windows[key] = event
            case DeadLetter():
                self.dead.append(event)

    def _ours(self, event: Event) -> bool:
        if isinstance(event, DeadLetter):
            return True
        if isinstance(event, Profile):
            return (event.customer_id or "").startswith(self.campaign_id)
        if isinstance(event, Transcript | Turn | Directive | CallEvent):
            return event.campaign_id == self.campaign_id or event.call_id in self.calls
        return event.campaign_id == self.campaign_id

    @property
    def placed(self) -> list[str]:
        """Ids of calls that were dialled."""
        return [c for c, events in self.calls.items() if any(e.kind == "dialing" for e in events)]

    def finished_tasks(self) -> list[str]:
        """Ids of tasks that came to an end."""
        return [t for t, events in self.tasks.items() if any(e.kind in TASK_OVER for e in events)]

    async def follow(self, config: Settings, producer: EventProducer, since_ms: int) -> None:
        """Reads for ever; run as a task."""
        reader = TopicReader(config, producer, TOPICS, since_ms=since_ms, dead_letters=False)
        await reader.start()
        try:
            async for batch in reader.batches():
                self.take(batch)
        finally:
            await reader.stop()
