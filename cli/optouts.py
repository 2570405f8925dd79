"""`ringlog optout`: who must not be called, entered and taken back through the API."""

import json
from typing import Any
from urllib.parse import quote, urlencode

import click
import urllib3

from cli.errors import CheckFailed, NotRunning
from ringlog.settings import Settings, settings


def _key(config: Settings) -> str:
    if config.api_key is not None:
        return config.api_key.get_secret_value()
    try:
        return (config.home / "api-key").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _ask(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    config = settings()
    headers = {"Authorization": f"Bearer {key}"} if (key := _key(config)) else {}
    if body is not None:
        headers["Content-Type"] = "application/json"
    data = None if body is None else json.dumps(body).encode()
    try:
        answer = urllib3.PoolManager(timeout=30).request(
            method, config.api_url + path, body=data, headers=headers, retries=False
        )
    except urllib3.exceptions.HTTPError:
        raise NotRunning("the API does not answer; start it with `ringlog up -d`") from None
    try:
        told = json.loads(answer.data) if answer.data else {}
    except ValueError:
        raise CheckFailed(f"the API answered {answer.status} without JSON") from None
    if answer.status >= 400:
        raise CheckFailed(told.get("detail") or told.get("title") or str(answer.status))
    return told


@click.group()
def optout() -> None:
    """Say who must not be called, and take it back."""


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
            "customer_id": customer_id}  # fmt: skip
    told = _ask("POST", "/api/optouts", {k: v for k, v in body.items() if v is not None})
    click.echo(told["id"])


@optout.command()
@click.argument("optout_id", metavar="ID")
def undo(optout_id: str) -> None:
    """Take opt-out ID back: the number may be called again."""
    _ask("DELETE", f"/api/optouts/{quote(optout_id, safe='')}")
    click.echo(f"undone: {optout_id}", err=True)


@optout.command("list")
@click.option("--max", "most", type=click.IntRange(1), help="At most so many.")
def list_(most: int | None) -> None:
    """Print the opt-outs in force, one JSON object a line, the newest first."""
    left, after = most, None
    while left is None or left > 0:
        query = {"limit": str(min(left or 1_000, 1_000))} | ({"next": after} if after else {})
        page = _ask("GET", "/api/optouts?" + urlencode(query))
        for item in page["items"]:
            click.echo(json.dumps(item, ensure_ascii=False))
        left = None if left is None else left - len(page["items"])
        after = page["next"]
        if after is None:
            return
