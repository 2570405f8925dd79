"""`ringlog campaign`: create, load, rehearse, start, pause and stop a campaign."""

import getpass
import json
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import click

from cli.api import LIST_S, ask, ask_with_file
from cli.errors import CheckFailed
from cli.sql import ask_clickhouse
from ringlog import yaml_source
from ringlog.campaigns.tables import TableError, format_of, write_errors
from ringlog.law.rules import own_rules, rule_book
from ringlog.meanwhile import meanwhile
from ringlog.settings import settings
from ringlog.yaml_source import InvalidFile

_RESULTS = """
SELECT c.row AS row, {customer} AS customer_id, {name} AS name, c.tags AS tags,
    r.task_id AS task_id, ifNull(t.status, 'not asked for') AS status, t.reason AS reason,
    ifNull(t.attempt, 0) AS attempts, t.updated_at AS updated_at, k.call_id AS last_call_id,
    k.disposition AS disposition, k.answered_at AS answered_at, k.ended_at AS ended_at
FROM
(
    SELECT * FROM raw_campaigns_contacts WHERE campaign_id = {{id:String}}
    ORDER BY _partition, _offset LIMIT 1 BY contact_id
) AS c
LEFT JOIN
(
    SELECT idempotency_key, any(task_id) AS task_id FROM raw_tasks_requested
    WHERE campaign_id = {{id:String}} AND kind = 'requested' AND idempotency_key IS NOT NULL
    GROUP BY idempotency_key
) AS r ON r.idempotency_key = c.contact_id
LEFT JOIN
(
    SELECT task_id, status, reason, attempt, call_id, updated_at FROM tasks
    WHERE campaign_id = {{id:String}}
) AS t ON t.task_id = r.task_id
LEFT JOIN
(
    SELECT call_id, disposition, answered_at, ended_at FROM calls WHERE campaign_id = {{id:String}}
) AS k ON k.call_id = t.call_id
ORDER BY c._partition, c._offset
SETTINGS join_use_nulls = 1"""
"""What became of each contact, in the order in which they were loaded."""

_CALLBACKS = """
SELECT r.task_id AS task_id, {customer} AS customer_id, r.not_before AS promised_for,
    ifNull(t.status, 'not queued yet') AS status, t.reason AS reason, r.occurred_at AS asked_at,
    r.idempotency_key AS asked_in_call, t.call_id AS last_call_id, t.updated_at AS updated_at
FROM
(
    SELECT * FROM raw_tasks_requested
    WHERE campaign_id = {{id:String}} AND kind = 'requested' AND producer = 'campaigns'
        AND has(tags, 'callback')
    ORDER BY _partition, _offset LIMIT 1 BY task_id
) AS r
LEFT JOIN
(
    SELECT task_id, status, reason, call_id, updated_at FROM tasks
    WHERE campaign_id = {{id:String}}
) AS t ON t.task_id = r.task_id
ORDER BY r.not_before
SETTINGS join_use_nulls = 1"""
"""Who was promised another call, and what became of it."""

_SPREADSHEET = re.compile(r"csv|tsv|tabseparated|customseparated", re.IGNORECASE)
"""Formats whose files a spreadsheet opens."""

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_map = click.option(
    "--map", "mapping", multiple=True, metavar="HEADING=FIELD",
    help="Which column is what: phone, customer_id, name, priority, tags, level, zone, region, "
    "consent, consent_until.",
)  # fmt: skip
_reason = click.option("--reason", help="Why, in words; kept with the change.")


@click.group()
def campaign() -> None:
    """Run campaigns: lists of customers, called by a script, within the law."""


@campaign.command()
@click.argument("campaign_id", metavar="ID")
@click.argument("file", type=_FILE)
@click.option("--name", help="What people call it.")
@_reason
def create(campaign_id: str, file: Path, name: str | None, reason: str | None) -> None:
    """Create the campaign ID, a draft, with the settings in FILE (YAML), or change it to them.

    \b
    ringlog campaign create spring examples/campaign.yaml --name "Spring offer"
    """
    settings = _settings(file)
    known = [c for c in ask("GET", "/api/campaigns")["items"] if c["campaign_id"] == campaign_id]
    body = {"settings": settings, "actor": getpass.getuser()} | _given(name=name, reason=reason)
    if known:
        told = ask("PUT", _path(campaign_id), body)
    else:
        told = ask("POST", "/api/campaigns", body | {"campaign_id": campaign_id})
    click.echo(f"{campaign_id} is {told['state']}, version {told['version']}")


@campaign.command()
@click.argument("campaign_id", metavar="ID", required=False)
def show(campaign_id: str | None) -> None:
    """Print the campaign ID with its settings as JSON; without ID: one line for each campaign."""
    if campaign_id is not None:
        click.echo(json.dumps(ask("GET", _path(campaign_id)), ensure_ascii=False, indent=2))
        return
    for item in ask("GET", "/api/campaigns")["items"]:
        who = f"{item['action']} by {item['actor']}"
        click.echo(f"{item['campaign_id']}  {item['state']}  version {item['version']}  {who}")


@campaign.command("import")
@click.argument("campaign_id", metavar="ID")
@click.argument("file", type=_FILE)
@_map
@click.option("--errors", type=click.Path(dir_okay=False, path_type=Path),
              help="Where rows to mend go; default: FILE with .errors.csv.")  # fmt: skip
def import_(campaign_id: str, file: Path, mapping: tuple[str, ...], errors: Path | None) -> None:
    """Load customers from FILE: CSV, JSON lines or Excel, up to a million rows.

    A row that is no customer goes to a file with what is wrong; mend it there and load that file.
    Loading a list again adds nobody twice, also after Ctrl-C.

    \b
    ringlog campaign import spring customers.xlsx --map "Handy=phone"
    """
    try:
        with _shown_progress(campaign_id):
            told = _sent(campaign_id, "import", file, mapping)
    except KeyboardInterrupt:
        raise CheckFailed(
            "interrupted. Rows that the API has received are loaded all the same; load the file "
            "again for the rest: nobody is added twice"
        ) from None
    click.echo(
        f"{told['rows']:,} rows: {told['added']:,} added, {told['duplicates']:,} on the list "
        f"already, {told['invalid']:,} not valid"
    )
    wrong = [(e["cells"], e["reason"]) for e in told["errors"] if not e["duplicate"]]
    if wrong:
        path = errors or file.with_name(f"{file.stem}.errors.csv")
        write_errors(path, wrong)
        raise CheckFailed(f"{len(wrong):,} rows to mend are in {path}; load that file afterwards")


@campaign.command("dry-run")
@click.argument("campaign_id", metavar="ID")
@click.argument("file", type=_FILE, required=False)
@_map
@click.option("--json", "as_json", is_flag=True, help="All counts as JSON.")
def dry_run(campaign_id: str, file: Path | None, mapping: tuple[str, ...], as_json: bool) -> None:
    """Say how many would be called now, and what keeps the others: of the contacts loaded, or of
    FILE, of which nothing is loaded."""
    if file is None:
        told = ask("POST", _path(campaign_id, "dry-run"), timeout_s=LIST_S)
    else:
        told = _sent(campaign_id, "dry-run", file, mapping)
    click.echo(json.dumps(told, ensure_ascii=False) if as_json else told["words"])


@campaign.command("test-call")
@click.argument("campaign_id", metavar="ID")
@click.argument("phone")
def test_call(campaign_id: str, phone: str) -> None:
    """Call PHONE, a number of your own, by the campaign's script."""
    body = {"phone": phone, "actor": getpass.getuser()}
    click.echo(ask("POST", _path(campaign_id, "test-call"), body)["task_id"])


@campaign.command()
@click.argument("campaign_id", metavar="ID")
@_reason
def start(campaign_id: str, reason: str | None) -> None:
    """Begin to call."""
    _step(campaign_id, "start", reason)


@campaign.command()
@click.argument("campaign_id", metavar="ID")
@_reason
def pause(campaign_id: str, reason: str | None) -> None:
    """Call nobody else until it is resumed; calls in progress go on."""
    _step(campaign_id, "pause", reason)


@campaign.command()
@click.argument("campaign_id", metavar="ID")
@_reason
def resume(campaign_id: str, reason: str | None) -> None:
    """Go on after a pause."""
    _step(campaign_id, "resume", reason)


@campaign.command()
@click.argument("campaign_id", metavar="ID")
@_reason
def stop(campaign_id: str, reason: str | None) -> None:
    """End the campaign for good."""
    _step(campaign_id, "stop", reason)


@campaign.command()
@click.argument("campaign_id", metavar="ID")
@click.option("--format", "-f", "fmt", default="CSVWithNames", show_default=True,
              help="Any ClickHouse format, such as JSONEachRow or Parquet.")  # fmt: skip
def results(campaign_id: str, fmt: str) -> None:
    """Print what became of each contact: status, attempts, and how the last call ended.

    \b
    ringlog campaign results spring > results.csv
    """
    query = _RESULTS.format(
        customer=_cell("c.customer_id", fmt), name=_cell("c.name", fmt)
    )  # fmt: skip
    ask_clickhouse(query, fmt, {"id": _escaped(campaign_id)})


@campaign.command()
@click.argument("campaign_id", metavar="ID")
@click.option("--format", "-f", "fmt", default="PrettyCompact", show_default=True,
              help="Any ClickHouse format, such as CSVWithNames.")  # fmt: skip
def callbacks(campaign_id: str, fmt: str) -> None:
    """Print who asked for another call: for when, and what became of it."""
    query = _CALLBACKS.format(customer=_cell("r.customer_id", fmt))
    ask_clickhouse(query, fmt, {"id": _escaped(campaign_id)})


def _cell(column: str, fmt: str) -> str:
    """A column of the customer's own text. In a spreadsheet's file no cell is a formula: the same
    as `ringlog.campaigns.tables.quoted`."""
    if not _SPREADSHEET.match(fmt):
        return column
    return f"if(match({column}, '^\\'*[=+@\\t\\r\\n＝＋－＠-]'), concat('\\'', {column}), {column})"


def _escaped(text: str) -> str:
    """A query's parameter as ClickHouse reads it: as a field of a tab-separated file."""
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def _step(campaign_id: str, step: str, reason: str | None) -> None:
    body = {"actor": getpass.getuser()} | _given(reason=reason)
    told = ask("POST", _path(campaign_id, step), body)
    click.echo(f"{campaign_id} is {told['state']}, version {told['version']}")


def _sent(campaign_id: str, step: str, file: Path, mapping: tuple[str, ...]) -> Any:
    try:
        query = [("format", format_of(file.name)), ("actor", getpass.getuser())]
    except TableError as error:
        raise click.UsageError(str(error)) from None
    for text in mapping:
        heading, _, name = text.rpartition("=")
        query.append(("map", f"{heading}:{name}"))
    return ask_with_file(f"{_path(campaign_id, step)}?{urlencode(query)}", file)


PROGRESS_S = 2.0
"""How often the progress of an import is shown."""


def _shown_progress(campaign_id: str) -> AbstractContextManager[None]:
    """Shows on stderr how far the import is."""
    shown, waits = 0, False

    def show() -> None:
        nonlocal shown, waits
        try:
            told = ask("GET", _path(campaign_id, "import"))
        except click.ClickException:
            return  # the import itself says what is wrong
        if told["state"] == "waiting" and not waits:
            waits = True
            click.echo("waiting for another import to end", err=True)
        elif told["state"] == "loading" and told["rows"] > shown:
            shown = told["rows"]
            click.echo(f"{shown:,} rows, {told['added']:,} added", err=True)

    return meanwhile(show, PROGRESS_S)


def _settings(file: Path) -> Any:
    try:
        source = yaml_source.parse(file.read_text(encoding="utf-8"), file.name)
    except (InvalidFile, UnicodeDecodeError) as error:
        raise CheckFailed(str(error)) from None
    if source.duplicates:
        raise CheckFailed(str(InvalidFile(source.duplicates)))
    return source.data


def _path(campaign_id: str, step: str = "") -> str:
    path = f"/api/campaigns/{quote(campaign_id, safe='')}"
    return f"{path}/{step}" if step else path


def _given(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}


@campaign.command("law")
@click.argument(
    "folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
def law(folder: Path | None) -> None:
    """Check the site's own rules in FOLDER, or in that of RINGLOG_LAW_RULES; print each rule with
    where it stands.

    \b
    ringlog campaign law ./our-rules
    """
    folder = folder or settings().law_rules
    if folder is None:
        raise click.UsageError("name a folder, or set RINGLOG_LAW_RULES")
    try:
        rule_book(folder)
        sets = own_rules(folder)
    except InvalidFile as error:
        raise CheckFailed(str(error)) from None
    for found in sets:
        for rule in found.rules:
            click.echo(f"{found.place:8}{rule.id:32}{rule.kind:12}{rule.source}")
    click.echo(f"{folder} is good: {sum(len(found.rules) for found in sets)} rules")
