"""`ringlog voices`: list voices, fetch one, try one, say a sentence."""

import json
from pathlib import Path

import click

from cli.progress import MB, shown_progress
from ringlog.settings import settings

SENTENCE = "您好，我是机器人小铃。请问您现在方便吗？"


@click.group()
def voices() -> None:
    """Voices of prompts: list them, get one that is published, check one, hear one.

    A playbook or a robot names a voice of this list, or one of espeak-ng. A site's own stand in
    voices.yaml of the home folder.

    \b
    ringlog voices list
    ringlog voices get zh-melo
    ringlog voices say zh-melo "您好" hello.wav
    """


@voices.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON array")
def list_voices(as_json: bool) -> None:
    """Voices of the registry, and whether their files are there."""
    from ringlog.audio.espeak import DEFAULT_VOICE
    from ringlog.audio.voices import SherpaVoice, VoicesError, load

    try:
        registry = load(settings().home)
    except VoicesError as error:
        raise click.ClickException(str(error)) from None
    rows: list[dict[str, str | bool | int | None]] = []
    sizes: list[str] = []
    for name, entry in registry.voices.items():
        archive = entry.archive if isinstance(entry, SherpaVoice) else None
        rows.append(
            {
                "name": name,
                "title": entry.title,
                "engine": entry.engine,
                "language": entry.language,
                "installed": not registry.missing(name),
                "download_bytes": archive.size_bytes if archive else None,
            }
        )
        sizes.append(f"get it: {archive.size_bytes / MB:.0f} MB" if archive else "files missing")
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
        return
    for row, size in zip(rows, sizes, strict=True):
        state = "installed" if row["installed"] else size
        click.echo(
            f"{row['name']:<16} {row['language']:<6} {row['engine']:<11} {state:<18} {row['title']}"
        )
    click.echo(f"and every voice of espeak-ng, such as {DEFAULT_VOICE}+f3")


@voices.command("get")
@click.argument("name")
def get_voice(name: str) -> None:
    """Download NAME into the home folder; resumes, and checks size and SHA-256."""
    from ringlog.archives import DownloadError, fetch
    from ringlog.audio.voices import RecordedVoice, VoicesError, load

    try:
        registry = load(settings().home)
        entry, folder = registry.voice(name), registry.folder_of(name)
        if isinstance(entry, RecordedVoice) or entry.archive is None:
            raise click.ClickException(
                f"voice {name!r} has no archive; put its files into {folder}"
            )
        if registry.missing(name):
            fetch(entry.archive, folder, set(entry.file_names), shown_progress())
    except (DownloadError, VoicesError) as error:
        raise click.ClickException(str(error)) from None
    if missing := registry.missing(name):
        raise click.ClickException(f"the archive of {name!r} lacks {missing[0].name}")
    click.echo(str(folder))


@voices.command("check")
@click.argument("name")
@click.argument("text", default=SENTENCE)
def check_voice(name: str, text: str) -> None:
    """Say TEXT in the voice NAME and measure it; for recordings, every one of them is read.

    Exits 1 when the voice cannot say it.
    """
    import time

    from ringlog.audio import SAMPLE_RATE_HZ
    from ringlog.audio.loudness import loudness_lufs, true_peak
    from ringlog.audio.synthesis import check_recordings, say
    from ringlog.audio.voices import RecordedVoice, VoiceError, VoicesError, load

    began_s = time.perf_counter()
    try:
        registry = load(settings().home)
        if isinstance(registry.voices.get(name), RecordedVoice):
            click.echo(f"recordings        {check_recordings(registry, name)}, all can be read")
            return
        sound = say(registry, name, text)
    except (VoiceError, VoicesError) as error:
        raise click.ClickException(str(error)) from None
    took_s = time.perf_counter() - began_s
    audio_s = len(sound) / SAMPLE_RATE_HZ
    click.echo(f"sound             {audio_s:.2f} s")
    click.echo(f"loudness          {loudness_lufs(sound, SAMPLE_RATE_HZ):.1f} LUFS")
    click.echo(f"true peak         {true_peak(sound):.2f} of full scale")
    click.echo(f"made in           {took_s:.2f} s, the model's loading in it")


@voices.command("say")
@click.argument("name")
@click.argument("text")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
def say_text(name: str, text: str, out: Path) -> None:
    """Write TEXT, spoken by NAME as on the telephone, to the WAV file OUT (8 kHz)."""
    from ringlog.audio import synthesis, wav
    from ringlog.audio.voices import VoiceError, VoicesError, load

    try:
        wav.write(out, synthesis.say(load(settings().home), name, text))
    except (VoiceError, VoicesError, OSError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(str(out))
