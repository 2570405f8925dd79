"""Progress of a download on the terminal."""

from collections.abc import Callable

import click

MB = 1_000_000


def shown_progress() -> Callable[[int, int], None]:
    """A function of (bytes there, bytes in all) that writes a line each tenth to stderr."""
    shown = -1

    def show(done: int, total: int) -> None:
        nonlocal shown
        percent = 100 * done // total
        if percent // 10 > shown // 10:
            shown = percent
            click.echo(f"{percent} % of {total / MB:.0f} MB", err=True)

    return show
