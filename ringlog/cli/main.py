"""`ringlog`: start the stack, look at the log, ask ClickHouse, follow a call."""

import importlib
import sys

import click

from ringlog.cli.errors import NOT_RUNNING

_COMMANDS = {
    "up": "stack.__main__:up",
    "down": "stack.__main__:down",
    "status": "stack.__main__:status",
    "demo": "ringlog.cli.demo:demo",
    "topics": "ringlog.cli.records:topics",
    "tail": "ringlog.cli.records:tail",
    "produce": "ringlog.cli.records:produce",
    "sql": "ringlog.cli.sql:sql",
    "call": "ringlog.cli.calls:call",
    "recording": "ringlog.cli.calls:recording",
    "rebuild": "ringlog.cli.rebuild:rebuild",
    "config": "ringlog.cli.config:config",
    "models": "asr_worker.cli:models",
    "robots": "streams.robots.cli:robots",
    "playbooks": "streams.robots.cli:playbooks",
    "analytics": "streams.analytics.cli:analytics",
}


class _LazyGroup(click.Group):
    """Imports a room only when one of its commands runs, so that `--help` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        where = _COMMANDS.get(cmd_name)
        if where is None:
            return None
        module, _, name = where.partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ringlog", prog_name="ringlog")
def cli() -> None:
    """Outbound calls where every fact is an event.

    \b
    ringlog up -d                        start everything in the background
    ringlog status                       what runs, and since when
    ringlog tail asr.transcripts         watch what people say
    ringlog sql "select * from calls"    ask ClickHouse
    ringlog call show CALL_ID            one call, from first ring to last word
    ringlog recording CALL_ID call.wav   its sound: left customer, right robot

    Exit codes: 0 good, 1 a check failed, 2 wrong usage, 3 the stack is not running.
    """


def main() -> None:
    """Entry point; a lost connection to the stack is exit code 3, not a traceback."""
    from kafka.errors import KafkaError

    from schemas.registry import RegistryError

    try:
        cli(prog_name="ringlog")
    except (KafkaError, RegistryError, ConnectionError) as error:
        click.echo(f"Error: {error or type(error).__name__}", err=True)
        sys.exit(NOT_RUNNING)


if __name__ == "__main__":
    main()
