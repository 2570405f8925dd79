"""`ringlog rebuild`: drop derived state and make it again from the log."""

import click
import urllib3

from ringlog.cli.errors import CheckFailed, NotRunning, need_clickhouse, need_kafka, need_registry
from ringlog.settings import settings


@click.group()
def rebuild() -> None:
    """Drop derived state and make it again from the log."""


@rebuild.command()
@click.option(
    "--forget-older",
    is_flag=True,
    help="Drop rows that the log has no more, instead of keeping them.",
)
@click.confirmation_option(prompt="Make all ClickHouse tables of Ringlog again?")
def history(forget_older: bool) -> None:
    """Make ClickHouse's tables again from the log.

    Rows that are older than the log are kept. The service `history` may run, queries too; each
    table needs its space twice for a while. If it breaks off, run it again.
    """
    from sql.migrate import MigrationError
    from streams.history.rebuild import AnotherLog, RebuildFailed
    from streams.history.rebuild import rebuild as rebuild_history

    config = settings()
    need_kafka(config)
    need_registry(config)
    need_clickhouse(config)
    try:
        rebuild_history(
            config, progress=lambda line: click.echo(line, err=True), forget_older=forget_older
        )
    except AnotherLog as error:
        raise CheckFailed(
            f"{error}. The table was left as it was; with --forget-older only the log counts"
        ) from None
    except (RebuildFailed, MigrationError) as error:
        raise CheckFailed(str(error)) from None


@rebuild.command()
def recordings() -> None:
    """Make the table `recordings` again from the files of the archive."""
    from sql.migrate import MigrationError
    from streams.archive.index import IndexAway
    from streams.archive.rebuild import reindex

    config = settings()
    need_clickhouse(config)
    try:
        done = reindex(config, progress=lambda line: click.echo(line, err=True))
    except (IndexAway, MigrationError, OSError) as error:
        raise CheckFailed(str(error)) from None
    click.echo(f"{done.files} files have their row; {done.dropped} rows without a file dropped")
    if done.missing:
        some = ", ".join(done.missing[:5])
        raise CheckFailed(f"{len(done.missing)} files are missing or not of their size: {some}")


@rebuild.command()
def status() -> None:
    """Fold call and task status from the whole log again, in the running API."""
    config = settings()
    try:
        answer = urllib3.PoolManager().request(
            "POST",
            f"http://127.0.0.1:{config.metrics_port_of('api')}/rebuild",
            timeout=300,
            retries=False,
        )
    except urllib3.exceptions.HTTPError:
        raise NotRunning("the API does not answer; start it with `ringlog up -d`") from None
    if answer.status != 200:
        raise CheckFailed(answer.data.decode("utf-8", "replace"))
    click.echo(answer.data.decode())
