"""`ringlog verify`: prove the invariants from log and tables."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from cli.errors import (
    CHECK_FAILED,
    CheckFailed,
    NotRunning,
    need_clickhouse,
    need_kafka,
    need_registry,
)
from ringlog.settings import settings

if TYPE_CHECKING:
    from verify.run import Tell, VerifyProgress

_LINE_EVERY_S = 5.0


@click.command()
@click.option("--only", multiple=True, metavar="CHECK", help="Only this check; can be repeated.")
@click.option(
    "--settle",
    "settle_s",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0, 3_600),
    help="How long derived state may take to reach the cut, s.",
)
@click.option("--idle", is_flag=True, help="The system is idle: an open call is a violation, too.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def verify(only: tuple[str, ...], settle_s: float, idle: bool, as_json: bool) -> None:
    """Read the log and the tables, and prove the invariants.

    Every event once; every call ended exactly once; one speaker at a time; no dial without a permit
    or to an opted-out number; every request for a call decided; profiles, status and windows equal
    to a fold of the log; ClickHouse equal to the log; dead letters by reason. May run on a working
    system: it judges up to a consistent cut, and unfinished work counts as open.

    \b
    ringlog verify                         everything, up to now
    ringlog verify --idle                  after a campaign: nothing may be open
    ringlog verify --only calls --only permits
    ringlog verify --json | jq '.checks[] | select(.violations > 0)'

    Exit code 1 when something does not hold, 3 when the stack is not running.
    """
    from streams.history.clickhouse import Away, InsertRefused
    from verify import report
    from verify.run import NAMES
    from verify.run import verify as run

    if unknown := sorted(set(only) - set(NAMES)):
        raise click.BadParameter(
            f"{', '.join(unknown)}; known: {', '.join(NAMES)}", param_hint="--only"
        )
    config = settings()
    need_kafka(config)
    need_registry(config)
    need_clickhouse(config)
    with _progress() as tell:
        try:
            found = run(config, only, settle_s=settle_s, idle=idle, tell=tell)
        except Away as error:
            raise NotRunning(str(error)) from None
        except InsertRefused as error:
            raise CheckFailed(str(error)) from None
    if as_json:
        click.echo(json.dumps(report.as_json(found), ensure_ascii=False))
    else:
        report.show(found, Console())
    sys.exit(0 if found.ok else CHECK_FAILED)


@contextmanager
def _progress() -> "Iterator[Tell]":
    """A bar on a terminal, elsewhere a line every few seconds; on standard error."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
               TimeElapsedColumn())  # fmt: skip
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)

        def tell(progress: "VerifyProgress") -> None:
            bar.update(
                task,
                description=progress.text,
                completed=progress.done,
                total=progress.total or None,
            )

        yield tell


def _lines(console: Console) -> "Tell":
    said_s = time.monotonic()

    def tell(progress: "VerifyProgress") -> None:
        nonlocal said_s
        if time.monotonic() - said_s < _LINE_EVERY_S:
            return
        said_s = time.monotonic()
        of = f"{progress.done:,}/{progress.total:,} " if progress.total else ""
        console.print(f"{of}{progress.text}", highlight=False, soft_wrap=True)

    return tell
