"""`ringlog optout`: who must not be called, entered and taken back through the API."""

import getpass
import json
from pathlib import Path
from urllib.parse import quote, urlencode

import click

from cli.api import ask, ask_with_file
from cli.errors import CheckFailed
from ringlog.campaigns.tables import TableError, format_of, write_errors


@click.group()
def optout() -> None:
    """Enter opt-outs, undo them, list them.

    \b
    ringlog optout add 13800138000 --reason "asked by letter"
    ringlog optout add "+86 138-0013-8000" --scope campaign --campaign spring --reason "not this"
    ringlog optout list
    ringlog optout undo 13800138000 --reason "asked to be called again"
    """


@optout.command()
@click.argument("phone")
@click.option("--reason", required=True, help="Why, in words.")
@click.option(
    "--scope",
    type=click.Choice(["global", "tenant", "campaign"]),
    default="global",
    show_default=True,
    help="Where it holds.",
)
@click.option("--campaign", "campaign_id", help="The campaign, for scope campaign.")
@click.option("--customer", "customer_id", help="Whose number it is.")
def add(
    phone: str, reason: str, scope: str, campaign_id: str | None, customer_id: str | None
) -> None:
    """Bar PHONE, in any spelling, from being called; prints the opt-out's id."""
    body = {"phone": phone, "reason": reason, "scope": scope, "campaign_id": campaign_id,
            "customer_id": customer_id, "actor": getpass.getuser()}  # fmt: skip
    told = ask("POST", "/api/optouts", {k: v for k, v in body.items() if v is not None})
    click.echo(told["id"])


@optout.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--reason", required=True, help="Why, in words, such as the list's name.")
@click.option("--scope", type=click.Choice(["global", "tenant", "campaign"]), default="global",
              show_default=True, help="Where they hold.")  # fmt: skip
@click.option("--campaign", "campaign_id", help="The campaign, for scope campaign.")
@click.option("--column", help="Heading of the numbers, where it is an unusual one.")
def import_(
    file: Path, reason: str, scope: str, campaign_id: str | None, column: str | None
) -> None:
    """Bar all numbers of FILE: CSV, JSON lines or Excel.

    \b
    ringlog optout import register.csv --reason "national register, November"
    """
    try:
        query = {"format": format_of(file.name), "reason": reason, "scope": scope,
                 "actor": getpass.getuser()}  # fmt: skip
    except TableError as error:
        raise click.UsageError(str(error)) from None
    if campaign_id is not None:
        query["campaign_id"] = campaign_id
    if column is not None:
        query["map"] = f"{column}:phone"
    told = ask_with_file("/api/optouts/import?" + urlencode(query), file)
    click.echo(
        f"{told['rows']:,} rows: {told['added']:,} barred, {told['standing']:,} barred already, "
        f"{told['invalid']:,} not valid"
    )
    if told["errors"]:
        path = file.with_name(f"{file.stem}.errors.csv")
        write_errors(path, [(e["cells"], e["reason"]) for e in told["errors"]])
        raise CheckFailed(f"rows to mend are in {path}; load that file afterwards")


@optout.command()
@click.argument("which", metavar="PHONE|ID")
@click.option("--reason", default="taken back", show_default=True, help="Why, in words.")
def undo(which: str, reason: str) -> None:
    """Take back the opt-out ID, or all of a number: it may be called again."""
    found = [which]
    if not _is_id(which):
        items = ask("POST", "/api/optouts/find", {"phone": which})["items"]
        found = [item["id"] for item in items]
        if not found:
            raise CheckFailed("no opt-out of this number is in force")
    said = urlencode({"reason": reason, "actor": getpass.getuser()})
    for optout_id in found:
        ask("DELETE", f"/api/optouts/{quote(optout_id, safe='')}?{said}")
    click.echo(f"undone: {', '.join(found)}", err=True)


def _is_id(text: str) -> bool:
    return len(text) == 36 and text.count("-") == 4 and not text.startswith("+")


@optout.command("list")
@click.option("--max", "most", type=click.IntRange(1), help="At most this many.")
def list_(most: int | None) -> None:
    """Print the opt-outs in force, one JSON object a line, the newest first."""
    left, after = most, None
    while left is None or left > 0:
        query = {"limit": str(min(left or 1_000, 1_000))} | ({"next": after} if after else {})
        page = ask("GET", "/api/optouts?" + urlencode(query))
        for item in page["items"]:
            click.echo(json.dumps(item, ensure_ascii=False))
        left = None if left is None else left - len(page["items"])
        after = page["next"]
        if after is None:
            return
