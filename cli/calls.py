"""`ringlog call show`: one call, read from the log alone."""

import json
from collections.abc import Iterator

import click

from cli.errors import CheckFailed, need_kafka, need_registry
from ringlog.kafka import sync
from ringlog.kafka.codec import codec_of
from ringlog.settings import Settings, settings
from schemas.catalogue import topic
from schemas.envelope import Event
from schemas.events import CallEvent, Directive, TaskEvent, Transcript, Turn
from schemas.partition import partition_of
from schemas.text import iso_of_ms, to_json
from schemas.wire import Codec, Poison

_CALL_TOPICS = ("calls.events", "asr.transcripts", "dialogue.turns", "dialogue.directives")


def _events(config: Settings, codec: Codec, name: str, key: str, call_id: str) -> Iterator[Event]:
    """First record of each id of one call; `key` is the record key on that topic."""
    seen: set[str] = set()
    partition = partition_of(key, topic(name).partitions)
    for r in sync.read(config, name, partitions=[partition]):
        if r.key is not None and r.key.decode("utf-8", "replace") != key:
            continue
        try:
            event = codec.decode(name, r.value)
        except Poison:
            continue  # it lies in dead_letters; here only what can be read is shown
        if event.call_id == call_id and event.event_id not in seen:
            seen.add(event.event_id)
            yield event


@click.group()
def call() -> None:
    """Look at calls."""


@call.command()
@click.argument("call_id")
@click.option("--json", "as_json", is_flag=True, help="Whole records, by topic.")
def show(call_id: str, as_json: bool) -> None:
    """Print what happened in call CALL_ID, in order."""
    config = settings()
    need_kafka(config)
    need_registry(config)
    codec = codec_of(config)
    found = {n: list(_events(config, codec, n, call_id, call_id)) for n in _CALL_TOPICS}
    if not found["calls.events"]:
        raise CheckFailed(f"no call {call_id} on the log")
    task = next((e.task_id for e in found["calls.events"] if e.task_id), None)
    found["tasks.events"] = (
        list(_events(config, codec, "tasks.events", task, call_id)) if task else []
    )
    if as_json:
        out = {name: [to_json(name, e) for e in events] for name, events in found.items()}
        click.echo(json.dumps(out, ensure_ascii=False, indent=2))
        return
    lines = [e for events in found.values() for e in events if e.kind != "partial"]
    for event in sorted(lines, key=lambda e: e.occurred_at):
        click.echo(f"{iso_of_ms(event.occurred_at)[11:23]}  {_describe(event)}")


def _describe(event: Event) -> str:
    match event:
        case Transcript():
            return f"{'customer':10} «{event.text}»" + (" (gaps)" if event.gaps_ms else "")
        case Turn():
            slots = f" {event.slots}" if event.slots else ""
            return f"{'turn':10} {event.input_kind} -> {event.intent or '-'} at {event.node}{slots}"
        case Directive():
            return f"{'robot':10} {event.kind} {_quoted(event.text)}{event.reason or ''}"
        case TaskEvent():
            return f"{'task':10} {event.kind} {event.reason or ''}"
        case CallEvent():
            extra = [event.disposition, event.cause_q850, event.digits, event.prompt_id]
            if event.heard_ms is not None:
                extra.append(f"heard {event.heard_ms} of {event.prompt_ms} ms")
            return f"{'call':10} {event.kind} " + " ".join(str(x) for x in extra if x is not None)
    return event.kind


def _quoted(text: str | None) -> str:
    return f"«{text}» " if text else ""
