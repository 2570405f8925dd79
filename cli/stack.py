"""`ringlog up|down|status`: the one-machine stack."""

import json
import sys
from collections.abc import Iterable
from typing import NoReturn

import click

from cli.errors import CHECK_FAILED, NOT_RUNNING, WRONG_USAGE
from ringlog.settings import settings
from stack import control, jvm
from stack.runner import ServiceStatus
from stack.services import UnknownService


@click.command()
@click.option("-d", "--detach", is_flag=True, help="Return when all is ready.")
@click.option("--only", default="", help="Services to start (a,b), with all that they need.")
@click.option("--crm", is_flag=True, help="With a sample CRM, RabbitMQ, capture and bridge.")
def up(detach: bool, only: str, crm: bool) -> None:
    """Start the stack."""
    config = settings().model_copy(update={"crm": True}) if crm else settings()
    try:
        sys.exit(control.up(config, parse_only(only), detach, click.echo))
    except UnknownService as error:
        _fail(str(error), WRONG_USAGE)
    except (control.StackError, jvm.InstallError) as error:
        _fail(str(error), CHECK_FAILED)


@click.command()
def down() -> None:
    """Stop the stack."""
    try:
        control.down(settings())
    except control.StackNotRunning as error:
        _fail(str(error), NOT_RUNNING)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(as_json: bool) -> None:
    """Show every service."""
    try:
        items = control.status(settings())
    except control.StackNotRunning as error:
        _fail(str(error), NOT_RUNNING)
    except control.StackError as error:
        _fail(str(error), CHECK_FAILED)
    if as_json:
        click.echo(json.dumps([item.as_dict() for item in items], indent=1))
    else:
        click.echo(table(items))
    sys.exit(0 if all(item.ready for item in items) else CHECK_FAILED)


def parse_only(text: str) -> set[str] | None:
    """Names of a comma-separated list; None when it is empty."""
    return {name.strip() for name in text.split(",") if name.strip()} or None


def table(items: Iterable[ServiceStatus]) -> str:
    """The services as aligned columns."""
    lines = [f"{'service':<12}{'state':<12}{'pid':>8}{'restarts':>10}{'uptime':>10}"]
    for item in items:
        uptime = f"{item.uptime_s:.0f} s" if item.pid else "-"
        pid = str(item.pid or "-")
        line = f"{item.service:<12}{item.state:<12}{pid:>8}{item.restarts:>10}{uptime:>10}"
        lines.append(f"{line}  {item.detail}".rstrip())
    return "\n".join(lines)


def _fail(message: str, code: int) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)
