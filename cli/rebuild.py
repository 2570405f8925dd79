"""`ringlog rebuild`: drop derived state and make it again from the log."""

import json

import click
import urllib3

from cli.errors import CheckFailed, NotRunning, need_clickhouse, need_kafka, need_registry
from ringlog.api_key import api_key
from ringlog.settings import settings


@click.group()
def rebuild() -> None:
    """Drop derived state and make it again from the log."""


@rebuild.command()
@click.option(
    "--forget-older",
    is_flag=True,
    help="Drop rows that the log no longer has, instead of keeping them.",
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
            f"{error}. The table is unchanged; with --forget-older only the log counts"
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
    click.echo(_ask("api"))


@rebuild.command()
@click.option("--check", is_flag=True, help="Exit with 1 when anything differed.")
def profiles(check: bool) -> None:
    """Fold every customer again in the running service, and correct what differs.

    It starts at the first event; what the log no longer has comes from ClickHouse. Of several
    workers, the one on this machine does its own customers.
    """
    _told(_ask("profiles"), check)


@rebuild.command()
@click.option("--check", is_flag=True, help="Exit with 1 when anything differed.")
def dispatch(check: bool) -> None:
    """Fold every pool again in the running service, and correct what differs.

    Settings and campaigns are on the log, each from its time on, and what was decided stands,
    whatever they are now. The log must still have the whole of `dispatch.inbox`.
    """
    _told(_ask("dispatch"), check)


def _told(answer: str, check: bool) -> None:
    click.echo(answer)
    if check and json.loads(answer)["differed"]:
        raise CheckFailed("the kept state differed from the log; it is now corrected")


def _ask(service: str) -> str:
    """The answer of a running service that was told to fold its state again."""
    config = settings()
    url = f"http://127.0.0.1:{config.metrics_port_of(service)}/rebuild"
    key = {"Authorization": f"Bearer {api_key(config)[0]}"}
    try:
        answer = urllib3.PoolManager().request(
            "POST", url, timeout=3600, retries=False, headers=key
        )
    except urllib3.exceptions.HTTPError:
        raise NotRunning(f"{service} does not answer; start it with `ringlog up -d`") from None
    text = answer.data.decode("utf-8", "replace")
    if answer.status != 200:
        raise CheckFailed(f"{service}: {text}")
    return text
