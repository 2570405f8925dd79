"""Reads the cut once, shows every record to the checks that want it, and asks them."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from ringlog.settings import Settings
from ringlog.site_key import FILE, site_key
from schemas.catalogue import TOPICS
from schemas.phone import Numbers
from schemas.registry import Registry
from schemas.wire import Poison
from streams.history.clickhouse import ClickHouse
from verify.check import Check, Context, Result, Rows
from verify.checks import ALL, Ids
from verify.checks.law import Law
from verify.checks.numbers import LinesInUse
from verify.checks.optouts import OptOuts
from verify.checks.profiles import Profiles
from verify.cut import Cut, KafkaBroker, take_cut
from verify.reading import LogDecoder, NotAnEvent, consumer_of, raw_records, together
from verify.record import LogRecord, Unreadable

NAMES = tuple(check.name for check in ALL)
"""What `--only` takes."""

_STAGES: Mapping[str, tuple[str, ...]] = {
    "campaigns": ("routes", "dispatch"),
    "tasks": ("routes", "profiles", "dispatch"),
    "routes": ("routes",),
    "profiles": ("routes", "profiles"),
    "status": ("history",),
    "views": ("history",),
    "history": ("history",),
    "windows": ("analytics",),
    "dead_letters": ("history",),
}
"""Which parts a check has to wait for."""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The outcome. `refused` counts records that readers refuse."""

    cut: Cut
    idle: bool
    settle_s: float
    records: int
    seconds: float
    refused: int
    results: tuple[Result, ...]

    @property
    def late(self) -> Mapping[str, int]:
        """Parts that had not reached the cut, with the records they still had to process."""
        return self.cut.behind

    @property
    def ok(self) -> bool:
        """No violation; on an idle system nobody is behind either."""
        return not any(r.total for r in self.results) and not (self.idle and self.late)


@dataclass(frozen=True, slots=True)
class VerifyProgress:
    """Progress of reading; `text` says of what."""

    done: int
    total: int
    text: str


Tell = Callable[[VerifyProgress], None]


class Feeder:
    """Sorts decoded records to the checks; pure."""

    def __init__(self, checks: Sequence[Check], decoder: LogDecoder) -> None:
        self.ids = next((c for c in checks if isinstance(c, Ids)), None) or Ids()
        self.refused = 0
        self._decoder = decoder
        self._checks = checks
        self._takers = {
            name: [c for c in checks if name in c.topics and c is not self.ids] for name in TOPICS
        }

    def topics(self) -> list[str]:
        """Topics that any check wants, in the catalogue's order."""
        return [t for t in TOPICS if any(t in c.topics for c in self._checks)]

    def take(
        self,
        topic: str,
        partition: int,
        offset: int,
        timestamp_ms: int,
        key: bytes | None,
        value: bytes | None,
        judged: bool,
    ) -> None:
        """Takes the next record of a partition. Raises RegistryError."""
        if value is None and TOPICS[topic].compacted:
            return  # a tombstone: compaction's, not ours
        takers = self._takers[topic]
        try:
            event = self._decoder.decode(topic, partition, value)
        except Poison as poison:
            self.refused += 1
            unreadable = Unreadable(topic, partition, offset, timestamp_ms, str(poison), judged)
            for check in takers:
                check.refused(unreadable)
            return
        except NotAnEvent as refusal:
            self.refused += 1
            record = LogRecord(topic, partition, offset, timestamp_ms, key, refusal.event, judged)
            for check in takers:
                if check.takes_all:
                    check.feed(record)
            return
        first = self.ids.is_first(topic, partition, offset, key, event)
        record = LogRecord(topic, partition, offset, timestamp_ms, key, event, judged, first)
        for check in takers:
            check.feed(record)


def make_checks(names: Iterable[str], key: bytes | None, region: str = "CN") -> list[Check]:
    """The checks of these names, all when there are none, in the report's order."""
    wanted = frozenset(names) or frozenset(NAMES)
    numbers = None if key is None else Numbers(region, key)
    made: dict[type[Check], Callable[[], Check]] = {
        Law: lambda: Law(numbers),
        LinesInUse: lambda: LinesInUse(numbers),
        OptOuts: lambda: OptOuts(numbers),
        Profiles: lambda: Profiles(numbers),
    }
    return [made.get(kind, kind)() for kind in ALL if kind.name in wanted]


def verify(
    config: Settings,
    only: Iterable[str] = (),
    *,
    settle_s: float = 10.0,
    idle: bool = False,
    tell: Tell = lambda progress: None,
) -> VerifyReport:
    """Raises KafkaException, RegistryError, and Away or InsertRefused of `history.clickhouse`."""
    begun_s = time.monotonic()
    checks = make_checks(only, key_of(config), config.region)
    stages = {stage for check in checks for stage in _STAGES.get(check.name, ())}
    if idle and any(check.name == "turns" for check in checks):
        stages.add("asr")
    with closing(KafkaBroker(config)) as broker:
        cut = take_cut(broker, settle_s, stages, tell=lambda text: tell(VerifyProgress(0, 0, text)))
    feeder = Feeder(checks, LogDecoder(Registry(config.registry_url, config.registry_timeout_s)))
    records = _read(config, cut, feeder, tell)
    context = _ask(config, checks, cut.context(idle), tell)
    results = []
    for check in checks:
        tell(VerifyProgress(0, 0, f"judging: {check.title}"))
        results.append(check.finish(context))
    seconds = time.monotonic() - begun_s
    return VerifyReport(cut, idle, settle_s, records, seconds, feeder.refused, tuple(results))


def key_of(config: Settings) -> bytes | None:
    """The site key where there is one; verify never makes one."""
    if config.site_key is None and not (config.home / FILE).exists():
        return None
    return site_key(config)


def _read(config: Settings, cut: Cut, feeder: Feeder, tell: Tell) -> int:
    topics = feeder.topics()
    sizes = dict.fromkeys(topics, 0)
    for place, end in cut.ends.items():
        if place[0] in sizes:
            sizes[place[0]] += end - cut.begins[place]
    total, done = sum(sizes.values()), 0
    take = feeder.take
    with closing(consumer_of(config)) as consumer:
        for group in together(topics, sizes):
            for batch in raw_records(consumer, cut.begins, cut.ends, group):
                topic, place = batch[0].topic, batch[0][:2]
                tell(VerifyProgress(done, total, topic))
                judged_end = cut.judged[place]
                for _, partition, offset, timestamp_ms, key, value in batch:
                    take(topic, partition, offset, timestamp_ms, key, value, offset < judged_end)
                done += len(batch)
            for topic in group:
                feeder.ids.forget(topic)
    tell(VerifyProgress(done, total, "read"))
    return done


def _ask(config: Settings, checks: Sequence[Check], context: Context, tell: Tell) -> Context:
    """Answers the checks' queries to ClickHouse until they have none."""
    answers: dict[str, Rows] = {}
    clickhouse = ClickHouse(config, timeout_s=600)
    while True:
        context = replace(context, answers=dict(answers))
        asked: dict[str, str] = {}
        for check in checks:
            asked |= check.questions(context)
        if not asked:
            return context
        for n, (name, sql) in enumerate(asked.items()):
            tell(VerifyProgress(n, len(asked), f"ClickHouse: {name}"))
            answers[name] = clickhouse.query(sql)
