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

BATCH = 100
"""Requests in one batch. A fixed number, so that a mended line moves no other to another key."""

MAX_REQUEST = 16_384
"""Longest request, in bytes of a line and of JSON in ASCII: a batch of them fits the API's limit,
and no call is made of a longer one."""

ANSWER_S = 90
"""Longest wait for a batch's answer, s: its requests may wait 30 s for a decision."""


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

    Every line is read before the first call is asked for. The same file again, after a failure
    half-way, asks for no call twice. Nor does a file whose faulty lines were mended in their place,
    with the --key that the failure names.
    """
    key = key or _digest(file)
    for _ in _batches(file):
        pass  # a fault in any line ends it here
    failed = count = 0
    for n, tasks in enumerate(_batches(file)):
        body = {"tasks": tasks}
        told = ask("POST", "/api/tasks/assign", body, ANSWER_S, Idempotency_Key=f"{key}-{n}")
        for item in told["items"]:
            count += 1
            failed += "problem" in item
            click.echo(json.dumps({"request": count} | item, ensure_ascii=False))
    if failed:
        raise CheckFailed(
            f"{failed:,} of {count:,} were not taken; once their lines are mended, ask again with "
            f"--key {key}, so that no call is asked for twice"
        )


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
        while line := lines.readline(MAX_REQUEST + 1):
            number += 1
            if not line.strip():
                continue
            try:
                request = json.loads(line) if len(line) <= MAX_REQUEST else None
            except (ValueError, RecursionError) as error:
                raise CheckFailed(f"line {number} is no JSON: {error}") from None
            if len(line) > MAX_REQUEST or len(json.dumps(request)) > MAX_REQUEST:
                raise CheckFailed(f"line {number} is longer than {MAX_REQUEST:,} bytes")
            batch.append(request)
            if len(batch) == BATCH:
                yield batch
                batch = []
    if batch:
        yield batch
