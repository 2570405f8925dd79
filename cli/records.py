"""`ringlog topics`, `tail`, `produce`: the log, seen and written from the terminal."""

import json
import sys
from contextlib import closing
from typing import Any, TextIO

import click

from cli.entry import entered
from cli.errors import CheckFailed, need_kafka, need_registry
from ringlog.kafka import sync
from ringlog.kafka.codec import codec_of
from ringlog.settings import Settings, settings
from schemas.catalogue import TOPICS, topic
from schemas.envelope import Event
from schemas.partition import partition_of
from schemas.text import to_tail
from schemas.wire import Poison, TooLarge

_HIDDEN = frozenset(
    {"event_id", "causation_id", "producer", "tenant_id", "topic", "partition", "offset",
     "occurred_at", "kind"}
)  # fmt: skip
TOPIC = click.Choice(sorted(TOPICS), case_sensitive=False)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
def topics(as_json: bool) -> None:
    """List all topics with their partitions and how many records they hold."""
    config = settings()
    need_kafka(config)
    rows = []
    with closing(sync.consumer_of(config, "ringlog-topics")) as consumer:
        for t in TOPICS.values():
            places = [(t.name, n) for n in sync.partitions_of(consumer, t.name)]
            begins, ends = sync.begins_of(consumer, places), sync.ends_of(consumer, places)
            records = sum(ends[place] - begins[place] for place in places) if places else None
            rows.append(
                {
                    "topic": t.name,
                    "partitions": t.partitions,
                    "records": records,
                    "retention_ms": t.retention_ms,
                    "compacted": t.compacted,
                    "model": t.model.__name__,
                }
            )
    if as_json:
        click.echo(json.dumps(rows))
        return
    click.echo(f"{'topic':28}{'partitions':>10}{'records':>12}  kept")
    for r in rows:
        days = int(str(r["retention_ms"])) // 86_400_000
        kept = "compacted" if r["compacted"] else "for ever" if days < 0 else f"{days} d"
        count = "not created" if r["records"] is None else r["records"]
        click.echo(f"{r['topic']:28}{r['partitions']:>10}{count:>12}  {kept}")


@click.command()
@click.argument("topic_name", metavar="TOPIC", type=TOPIC)
@click.option("--call", "call_id", help="Only records of this call.")
@click.option("--from-beginning", is_flag=True, help="Start with the oldest record.")
@click.option("--max", "limit", type=click.IntRange(1), help="Stop after this many records.")
@click.option("--json", "as_json", is_flag=True, help="Whole records, one JSON object a line.")
def tail(
    topic_name: str, call_id: str | None, from_beginning: bool, limit: int | None, as_json: bool
) -> None:
    """Print records of TOPIC as they come; Ctrl-C ends it.

    \b
    ringlog tail asr.transcripts
    ringlog tail calls.events --call 1c6a… --from-beginning --json | jq .kind
    """
    config = settings()
    need_kafka(config)
    need_registry(config)
    t = topic(topic_name)
    codec = codec_of(config)
    partitions = [partition_of(call_id, t.partitions)] if call_id and t.call_keyed else None
    shown = 0
    try:
        for r in sync.read(
            config, topic_name, partitions=partitions, from_beginning=from_beginning, follow=True
        ):
            try:
                event = codec.decode(topic_name, r.value)
            except Poison as poison:
                click.echo(f"{r.partition}/{r.offset}: unreadable: {poison}", err=True)
                continue
            if call_id and event.call_id != call_id:
                continue
            record = to_tail(topic_name, r.partition, r.offset, event)
            click.echo(json.dumps(record, ensure_ascii=False) if as_json else _short(record))
            shown += 1
            if limit is not None and shown >= limit:
                return
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        sys.stderr.close()


def _short(record: dict[str, Any]) -> str:
    """The fields that are not empty; long values are cut."""
    parts = [
        f"{record['partition']}/{record['offset']}",
        str(record["occurred_at"])[11:23],
        str(record["kind"]),
    ]
    for name, value in record.items():
        if name in _HIDDEN or value in (None, "", [], {}):
            continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        parts.append(f"{name}={text if len(text) <= 60 else text[:57] + '…'}")
    return " ".join(parts)


@click.command()
@click.argument("topic_name", metavar="TOPIC", type=TOPIC)
@click.argument("source", type=click.File("r", encoding="utf-8"), default="-")
def produce(topic_name: str, source: TextIO) -> None:
    """Produce events to TOPIC, one JSON object a line, from a file or standard input.

    Times are ISO 8601 with a zone, or milliseconds; bytes are base64; a number may be written in
    any way and is stored as E.164. All lines are checked before the first is
    produced, and the command ends when the broker has acknowledged every one.

    \b
    ringlog produce tasks.requested < events.jsonl
    """
    config = settings()
    need_kafka(config)
    need_registry(config)
    events = []
    codec = codec_of(config)
    for number, line in enumerate(source, 1):
        if not line.strip():
            continue
        try:
            events.append(event := _entered(topic_name, line, config))
            codec.encode(topic_name, event)
        except (ValueError, TooLarge) as error:
            raise CheckFailed(f"line {number}: {error}; nothing was produced") from None
    producer = sync.producer_of(config, "ringlog-produce")
    try:
        for event in events:
            sync.produce(producer, codec, topic_name, event)
        producer.flush(60)
    finally:
        producer.close()
    click.echo(f"{len(events)} events acknowledged", err=True)


def _entered(topic_name: str, line: str, config: Settings) -> Event:
    try:
        data = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return entered(topic_name, data, config.region, config.zone)
