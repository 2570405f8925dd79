"""`ringlog robots` and `ringlog playbooks`."""

import json
from pathlib import Path

import click

from cli.errors import CheckFailed, need_kafka, need_registry
from ringlog.audio.voices import VoiceError, VoicesError
from ringlog.clock import now_ms
from ringlog.settings import settings
from ringlog.yaml_source import InvalidFile
from streams.robots.check import check_files
from streams.robots.heldout import file_of, load_heldout
from streams.robots.loading import load_file
from streams.robots.publish import (
    ROBOTS_FILE,
    apply_robots,
    playbook_files,
    publish_playbooks,
    withdraw_playbook,
)
from streams.robots.scoreboard import Scoreboard, report
from streams.robots.scoreboard import evaluate as scored
from streams.robots.trial import understood
from streams.robots.understanding import Understander

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def robots() -> None:
    """Publish the robots' configuration."""


@robots.command()
@click.argument("file", type=_FILE, default=ROBOTS_FILE)
def apply(file: Path) -> None:
    """Make the pools' robots what FILE says (playbooks/robots.yaml by default)."""
    config = settings()
    need_kafka(config)
    need_registry(config)
    try:
        apply_robots(config, file, click.echo)
    except (InvalidFile, VoiceError, VoicesError) as error:
        raise CheckFailed(str(error)) from None


@click.group()
def playbooks() -> None:
    """Check and publish call scripts."""


@playbooks.command()
@click.argument("files", type=_FILE, nargs=-1)
def check(files: tuple[Path, ...]) -> None:
    """Print every fault of FILES (all in playbooks/ by default)."""
    good, faults = check_files(list(files) or playbook_files())
    for line in good:
        click.echo(line)
    if faults:
        raise CheckFailed("\n".join(faults))


@playbooks.command()
@click.argument("files", type=_FILE, nargs=-1)
def publish(files: tuple[Path, ...]) -> None:
    """Check FILES (all in playbooks/ by default), make their prompts, and publish them."""
    config = settings()
    need_kafka(config)
    need_registry(config)
    try:
        publish_playbooks(config, list(files) or playbook_files(), click.echo)
    except (InvalidFile, VoiceError, VoicesError) as error:
        raise CheckFailed(str(error)) from None


@playbooks.command()
@click.argument("playbook", type=_FILE)
@click.argument("text")
@click.option("--node", help="Node of the dialogue; shows what the robot would do there.")
@click.option("--identified", is_flag=True, help="The customer has confirmed who they are.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def understand(
    playbook: Path, text: str, node: str | None, identified: bool, as_json: bool
) -> None:
    """Print what TEXT means to PLAYBOOK (a file), by the code that a call uses."""
    try:
        script = load_file(playbook)
    except InvalidFile as error:
        raise CheckFailed(str(error)) from None
    if node is not None and node not in script.playbook.nodes:
        raise click.UsageError(f"{script.name} has no node {node!r}")
    found = understood(script, text, now_ms(), node, identified=identified)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    for name, value in found.items():
        click.echo(f"{name}: {json.dumps(value, ensure_ascii=False)}")


@playbooks.command()
@click.argument("files", type=_FILE, nargs=-1)
@click.option("--errors", is_flag=True, help="Also every sentence that was taken wrongly.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object a line.")
def evaluate(files: tuple[Path, ...], errors: bool, as_json: bool) -> None:
    """Print how FILES (all that have sentences by default) understand strangers' sentences.

    The sentences of playbooks/NAME.yaml are in playbooks/NAME/heldout.yaml. Nothing may be tuned
    on them.

    \b
    ringlog playbook evaluate
    ringlog playbook evaluate playbooks/promotion.yaml --errors
    """
    chosen = list(files) or [p for p in playbook_files() if file_of(p).exists()]
    for path in chosen:
        try:
            name, found = _scoreboard_of(path)
        except InvalidFile as error:
            raise CheckFailed(str(error)) from None
        if as_json:
            click.echo(json.dumps({"playbook": name, **found.as_json()}, ensure_ascii=False))
            continue
        for line in report(name, found, every_error=errors):
            click.echo(line)


def _scoreboard_of(path: Path) -> tuple[str, Scoreboard]:
    """A playbook's name and how it does; raises InvalidFile."""
    script, sentences = load_file(path), load_heldout(file_of(path))
    understander, at_ms = Understander.of(script.playbook), now_ms()
    return script.name, scored(lambda s: understander.understand(s.text, at_ms), sentences)


@playbooks.command()
@click.argument("name")
@click.argument("version")
def withdraw(name: str, version: str) -> None:
    """Withdraw a published VERSION of NAME; calls that run it go on."""
    config = settings()
    need_kafka(config)
    need_registry(config)
    if not withdraw_playbook(config, name, version):
        raise CheckFailed(f"{name}@{version} is not published")
    click.echo(f"{name}@{version} withdrawn")
