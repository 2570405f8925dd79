"""`ringlog sql`: a query to ClickHouse, over its HTTP interface."""

from collections.abc import Mapping
from urllib.parse import urlencode

import click
import urllib3

from cli.errors import CheckFailed, NotRunning
from ringlog.settings import settings


@click.command()
@click.argument("query")
@click.option("--format", "-f", "fmt", default="PrettyCompact", help="Any ClickHouse format.")
def sql(query: str, fmt: str) -> None:
    """Run QUERY in the database `ringlog` and print its result.

    \b
    ringlog sql "select call_id, disposition from calls order by started_at desc limit 5"
    ringlog sql "select * from transcripts" --format JSONEachRow
    """
    ask_clickhouse(query, fmt, {})


def ask_clickhouse(query: str, fmt: str, parameters: Mapping[str, str]) -> None:
    """Prints a query's result as it comes; `parameters` are its own, as in `{id:String}`. Raises
    NotRunning, and CheckFailed with ClickHouse's words."""
    config = settings()
    named = {f"param_{name}": value for name, value in parameters.items()}
    options = {"database": config.clickhouse_database, "default_format": fmt} | named
    try:
        answer = urllib3.PoolManager().request(
            "POST",
            f"{config.clickhouse_http}/?{urlencode(options)}",
            body=query.encode(),
            headers={
                "X-ClickHouse-User": config.clickhouse_user,
                "X-ClickHouse-Key": config.clickhouse_password.get_secret_value(),
            },
            retries=False,
            preload_content=False,
        )
    except urllib3.exceptions.HTTPError:
        raise NotRunning(
            f"ClickHouse does not answer at {config.clickhouse_http}; "
            "start the stack with `ringlog up -d`"
        ) from None
    if answer.status != 200:
        raise CheckFailed(answer.read().decode("utf-8", "replace").strip())
    for piece in answer.stream(65_536):
        click.echo(piece, nl=False)
