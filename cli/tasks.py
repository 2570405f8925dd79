"""`ringlog task`: ask for calls, show a task, cancel it."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from cli.api import ask
from cli.errors import CheckFailed

BATCH = 500
"""Requests in one batch: well below what the API takes."""

MAX_LINE = 65_536


@click.group()
def task() -> None:
    """Ask for calls, show a task, cancel it.

    \b
    ringlog task assign requests.jsonl
    ringlog task show TASK_ID
    ringlog task cancel TASK_ID
    """


@task.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--key", help="Idempotency key of the whole file; by default its digest.")
def assign(file: Path, key: str | None) -> None:
    """Ask for the calls in FILE, one JSON object a line, and print what became of each.

    The same file again, after a failure half-way, asks for no call twice.
    """
    key = key or _digest(file)
    failed = count = 0
    for n, tasks in enumerate(_batches(file)):
        told = ask("POST", "/api/tasks/assign", {"tasks": tasks}, Idempotency_Key=f"{key}-{n}")
        for item in told["items"]:
            count += 1
            failed += "problem" in item
            click.echo(json.dumps({"request": count} | item, ensure_ascii=False))
    if failed:
        raise CheckFailed(f"{failed:,} of {count:,} were not taken")


@task.command()
@click.argument("task_id")
def show(task_id: str) -> None:
    """Print the status of TASK_ID."""
    found = ask("GET", f"/api/tasks/{quote(task_id, safe='')}")
    click.echo(json.dumps(found, ensure_ascii=False, indent=2))


@task.command()
@click.argument("task_id")
def cancel(task_id: str) -> None:
    """Cancel TASK_ID, before its call or during it."""
    ask("POST", f"/api/tasks/{quote(task_id, safe='')}/cancel")
    click.echo("the wish is on the log; `ringlog task show` tells what it came to", err=True)


def _digest(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def _batches(file: Path) -> Iterator[list[Any]]:
    batch: list[Any] = []
    with file.open("rb") as lines:
        number = 0
        while line := lines.readline(MAX_LINE + 1):
            number += 1
            if not line.strip():
                continue
            if len(line) > MAX_LINE:
                raise CheckFailed(f"line {number} is longer than {MAX_LINE} bytes")
            try:
                batch.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise CheckFailed(f"line {number} is no JSON: {error}") from None
            if len(batch) == BATCH:
                yield batch
                batch = []
    if batch:
        yield batch
