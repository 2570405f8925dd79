"""`python -m stack install [PART ...]`: download and check the JVM parts."""

import sys

import click

from ringlog.jvm import pins
from stack import jvm


@click.group()
def main() -> None:
    """The one-machine stack's parts; `ringlog up` starts it."""


@main.command()
@click.argument("parts", nargs=-1, type=click.Choice(sorted({pin.part for pin in pins()})))
def install(parts: tuple[str, ...]) -> None:
    """Download and check the JVM parts (all, or those named)."""
    try:
        jvm.install(click.echo, parts or None)
    except jvm.InstallError as error:
        click.echo(str(error), err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
