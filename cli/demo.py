"""`ringlog demo`: the demo call centre."""

import sys
from pathlib import Path

import click

from ringlog.settings import settings


@click.command()
@click.option("--calls", default=20, show_default=True, type=click.IntRange(1, 200))
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the report (default: demo-report.json in the home folder).",
)
def demo(calls: int, report: Path | None) -> None:
    """Run the demo call centre and print its results.

    Uses the running stack; where none runs, it starts one and stops it again.

    Exit code 1 when the pipeline failed in any way that the report can tell.
    """
    from demo.run import run_demo

    sys.exit(run_demo(settings(), calls=calls, report=report))
