"""`ringlog`: start the stack, look at the log, ask ClickHouse, follow a call."""

import importlib
import sys

import click

from cli.errors import NOT_RUNNING

_COMMANDS = {
    "up": ("cli.stack:up", "Start the stack."),
    "down": ("cli.stack:down", "Stop the stack."),
    "status": ("cli.stack:status", "Show what runs."),
    "drain": ("cli.drain:drain", "List edges, or let one take no new calls."),
    "demo": ("cli.demo:demo", "Run the demo call centre."),
    "topics": ("cli.records:topics", "List topics and how much they hold."),
    "tail": ("cli.records:tail", "Print records of a topic as they come."),
    "produce": ("cli.records:produce", "Produce events from JSON lines."),
    "sql": ("cli.sql:sql", "Ask ClickHouse."),
    "task": ("cli.tasks:task", "Ask for calls; show or cancel a task."),
    "call": ("cli.calls:call", "Show what happened in a call."),
    "why": ("cli.why:why", "Say why a task was called, or why not."),
    "recording": ("cli.recording:recording", "Write a call's sound to a WAV file."),
    "campaign": ("cli.campaigns:campaign", "Load, rehearse and run campaigns."),
    "optout": ("cli.optouts:optout", "Enter, undo or list opt-outs."),
    "rebuild": ("cli.rebuild:rebuild", "Make derived state again from the log."),
    "verify": ("cli.verify:verify", "Prove the invariants from log and tables."),
    "config": ("cli.config:config", "Show or check the settings."),
    "models": ("cli.models:models", "List, get or try recognition models."),
    "voices": ("cli.voices:voices", "List, get or hear the voices of prompts."),
    "robots": ("cli.robots:robots", "Publish the robots' configuration."),
    "playbooks": ("cli.robots:playbooks", "Check, try and publish call scripts."),
    "playbook": ("cli.robots:playbooks", "The same as playbooks."),
    "trunks": ("cli.trunks:trunks", "Publish and watch carriers and switches."),
    "crm": ("cli.crm:crm", "Check the CRM's mapping; look at dead messages."),
    "analytics": ("cli.analytics:analytics", "Submit the analytics job to a cluster."),
}


class _LazyGroup(click.Group):
    """Imports a room only when one of its commands runs, so that `--help` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


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
    from confluent_kafka import KafkaException

    from schemas.registry import RegistryError

    try:
        cli(prog_name="ringlog")
    except KafkaException as error:
        from ringlog.kafka.sync import reason

        click.echo(f"Error: {reason(error)}", err=True)
        sys.exit(NOT_RUNNING)
    except (RegistryError, ConnectionError) as error:
        click.echo(f"Error: {error or type(error).__name__}", err=True)
        sys.exit(NOT_RUNNING)


if __name__ == "__main__":
    main()
