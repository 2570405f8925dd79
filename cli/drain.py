"""`ringlog drain`: the edges, and taking one out of service without ending its calls."""

import time
from typing import Any
from urllib.parse import quote

import click

from cli.api import ask
from cli.errors import CheckFailed

LOOK_S = 1.0


@click.command()
@click.argument("edge", required=False)
@click.option("--within", "within_s", type=float, help="End the calls that run after so many s.")
@click.option("--off", is_flag=True, help="Let it take calls again.")
@click.option("--wait", is_flag=True, help="Return when its last call is over.")
def drain(edge: str | None, within_s: float | None, off: bool, wait: bool) -> None:
    """Let EDGE take no new calls; those that run end in their time. Without EDGE: list the edges.

    \b
    ringlog drain                          every edge: state, calls, room
    ringlog drain edge-2 --wait            returns when nobody is on the phone any more
    ringlog drain edge-2 --within 300      who still talks after five minutes is cut off
    ringlog drain edge-2 --off             it takes calls again
    """
    if edge is None:
        if off or wait or within_s is not None:
            raise click.UsageError("name the edge")
        click.echo(_table(ask("GET", "/api/edges")["items"]))
        return
    path = f"/api/edges/{quote(edge, safe='')}/drain"
    if off:
        ask("DELETE", path)
        return
    told = ask("POST", path, {"within_s": within_s})
    click.echo(f"{edge} drains, {told['calls']} calls run")
    while wait and _calls_of(edge):
        time.sleep(LOOK_S)


def _calls_of(edge: str) -> int:
    for item in ask("GET", "/api/edges")["items"]:
        if item["edge_id"] == edge:
            if item["state"] == "gone":
                raise CheckFailed(f"{edge} is gone; its calls are ended by another edge")
            return int(item["calls"])
    raise CheckFailed(f"{edge} is not known any more")


def _table(items: list[dict[str, Any]]) -> str:
    lines = [f"{'edge':<16}{'state':<10}{'calls':>7}{'room':>7}  media"]
    for item in items:
        room = "-" if item["capacity"] is None else str(item["capacity"])
        line = f"{item['edge_id']:<16}{item['state']:<10}{item['calls']:>7}{room:>7}"
        lines.append(f"{line}  {item['media_url'] or ''}".rstrip())
    return "\n".join(lines)
