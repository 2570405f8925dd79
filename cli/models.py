"""`ringlog models`: list recognisers, fetch one, try one."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from cli.progress import MB, shown_progress
from ringlog.settings import settings


@click.group()
def models() -> None:
    """Recognisers: list them, get one that is published, check one on a recording."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON array")
def list_models(as_json: bool) -> None:
    """Models of the registry, and the ASR profiles that use them."""
    from asr_worker import model_store
    from ringlog.asr_models import AsrModelsError, load

    try:
        rows = model_store.listed(load(settings().home))
    except AsrModelsError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], ensure_ascii=False))
        return
    for row in rows:
        size = f"{row.download_bytes / MB:.0f} MB" if row.download_bytes else ""
        state = "installed" if row.installed else f"get it: {size}"
        click.echo(f"{row.name:<16} {row.language:<6} {state:<18} {row.title}")
        click.echo(f"{'':<16} type {row.type}, profiles: {', '.join(row.profiles) or 'none'}")


@models.command("get")
@click.argument("name")
def get_model(name: str) -> None:
    """Download NAME into the home folder; resumes, and checks size and SHA-256."""
    from asr_worker import model_store
    from ringlog.asr_models import load

    try:
        folder = model_store.get(load(settings().home), name, shown_progress())
    except (model_store.DownloadError, model_store.AsrModelsError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(str(folder))


@models.command("check")
@click.argument("name")
@click.argument("recording", required=False, type=click.Path(exists=True, path_type=Path))
def check_model(name: str, recording: Path | None) -> None:
    """Load NAME and transcribe RECORDING (a WAV file), or a spoken sentence without one.

    Exits 1 when the model does not load or hears nothing.
    """
    from asr_worker import model_store
    from asr_worker.recogniser import ModelMissing
    from ringlog.asr_models import load

    try:
        found = model_store.check(load(settings().home), name, recording)
    except (ModelMissing, ValueError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"text              {found.text}")
    click.echo(f"turns             {found.turns} in {found.audio_s:.1f} s of sound")
    click.echo(f"load              {found.load_s:.2f} s")
    click.echo(f"real-time factor  {found.real_time_factor:.4f} (detector and recogniser)")
    click.echo(f"turn end to final {found.final_ms:.0f} ms of computing")
    if not found.text:
        raise click.ClickException("the model heard nothing")
