"""`ringlog up`, `down`, `status`, `demo`: the one-machine stack."""

import json
import sys
from pathlib import Path

import click

from ringlog.cli.errors import NOT_RUNNING
from ringlog.settings import settings


@click.command()
@click.option("--detach", "-d", is_flag=True, help="Return once everything is ready.")
@click.option("--only", help="Start these services and what they need, separated by commas.")
def up(detach: bool, only: str | None) -> None:
    """Start the stack: broker, registry, ClickHouse and Ringlog's services.

    \b
    ringlog up                           in the foreground; Ctrl-C stops it
    ringlog up -d                        in the background; `ringlog down` stops it
    ringlog up -d --only kafka,registry  a part of it
    """
    from stack import control

    names = {n.strip() for n in only.split(",") if n.strip()} if only else None
    sys.exit(control.up(settings(), only=names, detach=detach))


@click.command()
def down() -> None:
    """Stop the stack, in reverse order, and wait until nothing of it is left."""
    from stack import control

    sys.exit(control.down(settings()))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
def status(as_json: bool) -> None:
    """Show what runs; exit code 3 when the stack does not."""
    from stack import control

    services = control.status(settings())
    if as_json:
        click.echo(json.dumps([s.__dict__ for s in services]))
    elif services:
        click.echo(f"{'service':14}{'state':10}{'pid':>8}{'restarts':>10}{'up':>8}  waiting for")
        for s in services:
            click.echo(
                f"{s.name:14}{s.state:10}{s.pid or '-':>8}{s.restarts:>10}"
                f"{s.uptime_s:>7.0f}s  {s.waiting_for}"
            )
    if not services:
        click.echo("the stack is not running; start it with `ringlog up -d`", err=True)
        sys.exit(NOT_RUNNING)


@click.command()
@click.option("--calls", default=20, show_default=True, type=click.IntRange(1, 200))
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the report (default: demo-report.json in the home folder).",
)
def demo(calls: int, report: Path | None) -> None:
    """Run the demo call centre on a stack of its own and print what came of it.

    Exit code 1 when the pipeline failed in any way that the report can tell.
    """
    from demo.run import run_demo

    sys.exit(run_demo(settings(), calls=calls, report=report))
