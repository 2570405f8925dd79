"""Every input was copied into its inbox, once, and an inbox holds nothing else."""

from typing import Final

from ringlog.kafka.dead_letters import TOO_LARGE
from schemas.ids import event_id
from streams.dispatch.router import CALL_KINDS
from streams.profiles.router import KINDS
from verify.check import Check, Context, Result
from verify.record import LogRecord

_SOURCES: Final = frozenset(KINDS)


class Routes(Check):
    """Folds the sources and the two inboxes. The id of a copy follows from its source."""

    name = "routes"
    title = "every input reached its inbox"
    unit = "copies"
    topics = _SOURCES | {"profiles.inbox", "dispatch.inbox", "dead_letters"}

    def __init__(self) -> None:
        super().__init__()
        self._sources: set[str] = set()
        self._wanted: dict[str, LogRecord] = {}
        self._copies: dict[str, LogRecord] = {}
        self._too_large: set[tuple[str, int, int]] = set()

    def feed(self, record: LogRecord) -> None:
        if not record.first:
            return
        event = record.event
        match record.topic:
            case "profiles.inbox":
                self._copies[event["event_id"]] = record
            case "dispatch.inbox":
                if event["kind"] == "call":
                    self._copies[event["event_id"]] = record
            case "dead_letters":
                if event["reason"].startswith(TOO_LARGE):
                    place = event["source_topic"], event["source_partition"], event["source_offset"]
                    self._too_large.add(place)
            case topic:
                self._source(topic, record)

    def _source(self, topic: str, record: LogRecord) -> None:
        event = record.event
        this, kind = event["event_id"], event["kind"]
        of_calls = topic == "calls.events"
        if of_calls and kind not in CALL_KINDS:
            return
        self._sources.add(this)
        if not record.judged:
            return
        # A request without a task is refused, into the dead letters.
        refused = topic == "tasks.requested" and not event["task_id"]
        if event["customer_id"] and not refused and (not of_calls or kind == "ended"):
            self._wanted[event_id(this, "inbox")] = record
        if of_calls and event["direction"] not in ("foreign", "inbound") and event["pool"]:
            self._wanted[event_id(this, f"call/{event['pool']}")] = record

    def finish(self, context: Context) -> Result:
        result = self.result
        result.looked_at = len(self._wanted)
        due = context.due("routes")
        for copy_id, source in self._wanted.items():
            place = source.topic, source.partition, source.offset
            if copy_id in self._copies or place in self._too_large:
                continue
            if due:
                result.violate(
                    "no_copy",
                    f"a {source.event['kind']} did not reach its inbox",
                    source.where,
                    event_id=source.event["event_id"],
                    copy_id=copy_id,
                )
            else:
                result.open += 1
        if all(context.whole(topic) for topic in _SOURCES):
            for copy in self._copies.values():
                if copy.judged and copy.event["causation_id"] not in self._sources:
                    result.violate(
                        "no_source",
                        "a copy in an inbox has no source on the log",
                        copy.where,
                        causation_id=copy.event["causation_id"],
                    )
        return result
