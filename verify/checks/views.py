"""The views `turns` and `transcripts` hold each event once: the first record of its id."""

from collections.abc import Mapping
from typing import Final

from ringlog.kafka.sync import Place
from verify.check import Check, Context, Result
from verify.checksum import number, sql_number
from verify.record import LogRecord

_VIEWS: Final = {"turns": "dialogue.turns", "transcripts": "asr.transcripts"}


class Views(Check):
    """Folds first records by id, and holds the views against them: where they lie, by count and
    checksum. That the rows hold the right fields is the check `history`."""

    name = "views"
    title = "views hold each event once, its first record"
    unit = "rows"
    topics = frozenset(_VIEWS.values())

    def __init__(self) -> None:
        super().__init__()
        self._parts: dict[Place, list[tuple[int, int]]] = {}

    def feed(self, record: LogRecord) -> None:
        if record.first and record.event["kind"] != "partial":
            text = f"{record.event['event_id'].lower()}|{record.offset}"
            part = self._parts.setdefault((record.topic, record.partition), [])
            part.append((record.offset, number(text)))

    def questions(self, context: Context) -> Mapping[str, str]:
        digest = sql_number("concat(toString(event_id), '|', toString(_offset))")
        return {
            f"views/{view}": f"SELECT _partition, count(), groupBitXor({digest}) FROM {view} "
            f"WHERE {' OR '.join(inside)} GROUP BY _partition"
            for view, topic in _VIEWS.items()
            if f"views/{view}" not in context.answers
            and (
                inside := [
                    f"(_partition = {p} AND _offset < {end})"
                    for (name, p), end in context.kept.items()
                    if name == topic
                ]
            )
        }

    def finish(self, context: Context) -> Result:
        for view, topic in _VIEWS.items():
            if not context.whole(topic):
                self.result.notes.append(f"{view} not judged: the log no longer holds all of it")
                continue
            rows = context.answers.get(f"views/{view}", ())
            there = {int(row[0]): (int(row[1]), int(row[2])) for row in rows}
            for (name, partition), end in context.kept.items():
                if name == topic:
                    found = there.get(partition, (0, 0))
                    self._compare(view, (topic, partition), end, found)
        return self.result

    def _compare(self, view: str, place: Place, end: int, found: tuple[int, int]) -> None:
        count = xor = 0
        for offset, digest in self._parts.get(place, ()):
            if offset < end:
                count, xor = count + 1, xor ^ digest
        self.result.looked_at += count
        if found != (count, xor):
            what = (
                f"{found[0]} rows, {count} on the log"
                if found[0] != count
                else f"{count} rows, not those of the log"
            )
            self.result.violate(
                "differs", f"view {view}, partition {place[1]}: {what}", f"{place[0]}/{place[1]}"
            )
