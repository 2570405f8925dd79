"""`ringlog trunks`: the site's carriers and switches."""

import asyncio
import json
from pathlib import Path
from typing import Any

import click

from cli.errors import CheckFailed, need_kafka, need_registry
from ingest.trunks.plan import default_plan, load_plan, plan_file
from ingest.trunks.publish import publish_file, published, told
from ringlog.settings import Settings, settings
from ringlog.yaml_source import InvalidFile

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_COLUMNS = ("trunk", "switch", "state", "running", "calls", "failures", "answered", "pdd_ms")


@click.group()
def trunks() -> None:
    """Publish and watch the site's carriers and switches."""


@trunks.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
def list_(as_json: bool) -> None:
    """List the trunks: circuit breaker, calls on it now, and how its last 100 tries went.

    \b
    ringlog trunks list
    ringlog trunks list --json | jq '.[] | select(.state != "closed")'
    """
    config = settings()
    need_kafka(config)
    need_registry(config)
    rows = _rows(config)
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
        return
    table = [_COLUMNS, *(tuple(_text(row[name]) for name in _COLUMNS) for row in rows)]
    widths = [max(len(line[n]) for line in table) for n in range(len(_COLUMNS))]
    for line, row in zip(table, [None, *rows], strict=True):
        cells = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        reason = f"  {row['reason']}" if row is not None and row["reason"] else ""
        click.echo(f"{cells.rstrip()}{reason}")


@trunks.command()
@click.argument("file", type=_FILE, required=False)
def publish(file: Path | None) -> None:
    """Check FILE (the site's trunks.yaml by default) and publish it; running calls go on.

    \b
    ringlog trunks publish examples/trunks.yaml
    """
    config = settings()
    path = file or plan_file(config)
    if not path.exists():
        raise click.UsageError(f"there is no {path}; see examples/trunks.yaml")
    need_kafka(config)
    need_registry(config)
    try:
        changed = publish_file(config, path)
    except InvalidFile as error:
        raise CheckFailed(str(error)) from None
    for name in changed:
        click.echo(name)
    click.echo(f"{len(changed)} parts changed", err=True)


@trunks.command()
@click.argument("name", required=False)
def check(name: str | None) -> None:
    """Try the switch NAME, or that of a trunk NAME: log-in, version, modules, endpoints, events,
    and a second of sound through it and back. Nobody is called. Without NAME: every Asterisk of
    the site's trunks.yaml, else that of RINGLOG_ARI_URL.

    \b
    ringlog trunks check
    ringlog trunks check carrier-a
    """
    from ingest.addresses import rtp_host
    from ingest.asterisk.check import check_asterisk
    from ingest.asterisk.plan import asterisks_of

    config = settings()
    path = plan_file(config)
    try:
        site = load_plan(path) if path.exists() else default_plan(config)
        found = asterisks_of(config, site, name)
    except (InvalidFile, ValueError) as error:
        raise CheckFailed(str(error)) from None
    if not found:
        raise click.UsageError("there is no Asterisk to check: set RINGLOG_ARI_URL, or name it in "
                               f"{path}")  # fmt: skip

    async def tried() -> bool:
        good = True
        for plan, endpoints in found:
            click.echo(f"{plan.name}  {plan.url}")
            async for finding in check_asterisk(plan, rtp_host(config), endpoints):
                good = good and finding.ok
                detail = f"  {finding.detail}" if finding.detail else ""
                click.echo(f"  {'ok   ' if finding.ok else 'WRONG'} {finding.what}{detail}")
                if not finding.ok:
                    click.echo(f"        {finding.mend}")
        return good

    if not asyncio.run(tried()):
        raise CheckFailed("something is wrong, see above")


def _rows(config: Settings) -> list[dict[str, Any]]:
    try:
        plan = published(config).plan() or default_plan(config)
    except ValueError as error:
        raise CheckFailed(f"the published trunks cannot be read: {error}") from None
    statuses = told(config)
    rows = []
    for name, trunk in sorted(plan.trunks.items()):
        status = statuses.get(name)
        state = "unused" if status is None else status.state
        rows.append(
            {
                "trunk": name,
                "switch": trunk.switch,
                "state": "paused" if trunk.state == "paused" else state,
                "running": 0 if status is None else status.running,
                "calls": 0 if status is None else status.calls,
                "failures": 0 if status is None else status.failures,
                "answered": None if status is None else status.answer_ratio,
                "pdd_ms": None if status is None else status.pdd_ms,
                "reason": None if status is None else status.reason,
            }
        )
    return rows


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.0%}" if isinstance(value, float) else str(value)
