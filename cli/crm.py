"""`ringlog crm`: the mapping of the CRM, its tables, and messages that could not be used."""

import asyncio
import json
import re
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import click

from cli.errors import CheckFailed, NotRunning
from ringlog.clock import now_ms
from ringlog.crm.addresses import SIGNALS
from ringlog.crm.mapping import read_mapping
from ringlog.crm.translate import CrmMessage, Ignored, Rejected, translate
from ringlog.settings import settings
from ringlog.yaml_source import InvalidFile
from schemas.text import to_line

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def crm() -> None:
    """Check the CRM's mapping; look at messages that could not be used."""


@crm.command()
@click.argument("mapping", type=_FILE)
@click.option("--sample", type=_FILE, help="Messages: one JSON document, or one a line.")
def check(mapping: Path, sample: Path | None) -> None:
    """Print every fault of MAPPING, and what comes of the messages in a file.

    \b
    ringlog crm check examples/crm.yaml --sample examples/crm-messages.jsonl
    """
    config = settings()
    try:
        checked = read_mapping(mapping)
    except InvalidFile as error:
        raise CheckFailed(str(error)) from None
    if sample is None:
        tables, messages = len(checked.tables), len(checked.messages)
        click.echo(f"{mapping} is good: {tables} tables, {messages} kinds of messages")
        return
    rejected = 0
    for number, body in _messages(sample.read_bytes()):
        message = CrmMessage(body, now_ms(), message_id=f"sample-{number}")
        match translate(message, checked, config.tenant_id):
            case Rejected(reason):
                rejected += 1
                click.echo(f"{number}: rejected: {reason}")
            case Ignored(reason):
                click.echo(f"{number}: ignored: {reason}")
            case events:
                for event in events:
                    click.echo(f"{number}: {to_line('customers.changes', _short(event))}")
    if rejected:
        raise CheckFailed(f"{rejected} messages would be dead")


@crm.command()
@click.option("--retry", is_flag=True, help="Put them back into the queue of changes.")
@click.option("--max", "at_most", default=100, show_default=True, type=click.IntRange(1, 100_000))
def dead(retry: bool, at_most: int) -> None:
    """List messages that could not be used, with the reason; or try them again.

    \b
    ringlog crm dead
    ringlog crm dead --retry
    """
    from streams.crm import rabbit
    from streams.crm.dead import look, put_back

    config = settings()
    try:
        if retry:
            count = asyncio.run(put_back(config, at_most))
            click.echo(f"{count} messages are back in {config.crm_queue}")
            return
        for found in asyncio.run(look(config, at_most)):
            click.echo(json.dumps(found.as_dict(), ensure_ascii=False))
    except rabbit.LOST as error:
        raise NotRunning(f"RabbitMQ: {type(error).__name__}; set RINGLOG_CRM_AMQP_URL, or start "
                         "the stack with `ringlog up -d --crm`") from None  # fmt: skip


@crm.command()
@click.argument("tables", nargs=-1, required=True)
def snapshot(tables: tuple[str, ...]) -> None:
    """Have the capture read TABLES (schema.table) while it goes on: one that was mapped later, or
    one whose rows are doubted.

    \b
    ringlog crm snapshot public.payments
    """
    folder = settings().home.absolute() / "crm"
    if not folder.is_dir():
        raise NotRunning("no capture has run here: `ringlog up -d --crm`, or set "
                         "RINGLOG_CRM_DATABASE_URL")  # fmt: skip
    names = [re.escape(table) for table in tables]
    line = json.dumps({
        "id": str(uuid4()), "type": "execute-snapshot",
        "data": {"type": "INCREMENTAL", "data-collections": names},
    })  # fmt: skip
    with (folder / SIGNALS).open("a", encoding="utf-8") as out:
        out.write(line + "\n")
    click.echo(f"asked for {', '.join(tables)}: rows come as changes, without a lock")


@crm.command()
@click.argument("statement")
def sql(statement: str) -> None:
    """Run a STATEMENT in the sample CRM's database.

    \b
    ringlog crm sql "select * from customers"
    """
    from stack import postgres

    config = settings()
    if config.crm_database_url.get_secret_value():
        raise click.UsageError("RINGLOG_CRM_DATABASE_URL is set: ask that database yourself")
    done = subprocess.run(
        postgres.psql(config, "-c", statement), env=postgres.psql_environment(config), check=False
    )
    if done.returncode != 0:
        raise CheckFailed("psql failed, see above")


def _messages(data: bytes) -> list[tuple[int, bytes]]:
    """(line, message): a file that is one JSON document is one message."""
    try:
        json.loads(data)
        return [(1, data)]
    except ValueError:
        lines = enumerate(data.splitlines(), start=1)
        return [(number, line) for number, line in lines if line.strip()]


def _short(event: Any) -> dict[str, Any]:
    """Without the fields that are empty."""
    return {name: v for name, v in event.model_dump().items() if v not in (None, [], {})}
