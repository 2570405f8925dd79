"""`ringlog recording`: a call's sound, from the log or from the archive."""

from pathlib import Path
from typing import Literal

import click

from cli.errors import CheckFailed, NotRunning, need_kafka, need_registry
from ringlog.audio import SAMPLE_RATE_HZ, wav
from ringlog.audio.recording import EDGE_MS, CallSound, Track, mix
from ringlog.kafka import sync
from ringlog.kafka.codec import codec_of
from ringlog.settings import Settings, settings
from schemas.catalogue import topic
from schemas.events import MediaChunk
from schemas.partition import partition_of
from schemas.wire import Poison
from streams.archive.files import Archive, Damaged, Recording

_TOPIC = "media.audio"


@click.command()
@click.argument("call_id")
@click.argument("out", type=click.Path(dir_okay=False, writable=True, path_type=Path))
@click.option(
    "--from",
    "source",
    type=click.Choice(["log", "archive"]),
    help="Read only this; default: the log while it has the whole call, else the archive.",
)
def recording(call_id: str, out: Path, source: Literal["log", "archive"] | None) -> None:
    """Write the sound of call CALL_ID to OUT, a WAV file: left the customer, right the robot.

    The log keeps sound for 24 h. The service `archive` keeps every call that has ended in
    .ringlog/recordings; both give the same samples.
    """
    tracks, place = _find(settings(), call_id, source)
    samples = mix(tracks)
    wav.write(out, samples, SAMPLE_RATE_HZ)
    seconds = len(samples) / SAMPLE_RATE_HZ
    click.echo(f"{out}: {seconds:.1f} s from the {place}, left customer, right robot", err=True)


def _find(
    config: Settings, call_id: str, source: Literal["log", "archive"] | None
) -> tuple[list[Track], str]:
    """Tracks, and where they are from; raises CheckFailed or NotRunning."""
    archive = Archive(config.recordings_dir)
    kept = archive.find(call_id) if source != "log" else None
    if source == "archive":
        if kept is None:
            raise CheckFailed(
                f"no recording of call {call_id} in {config.recordings_dir}: it has not ended, it "
                "had no sound, or its time was over (RINGLOG_RECORDINGS_DAYS)"
            )
        return _from_archive(archive, kept), "archive"
    try:
        sound, cut = _from_log(config, call_id)
    except NotRunning:
        if kept is None:
            raise
        return _from_archive(archive, kept), "archive"
    tracks = sound.tracks()
    if kept is not None and sum(leg.samples for leg in kept.legs) > sum(
        len(track.samples) for track in tracks
    ):
        return _from_archive(archive, kept), "archive"
    if not tracks:
        places = "on the log" if source == "log" else "on the log or in the archive"
        raise CheckFailed(f"no sound of call {call_id} {places}")
    if cut:
        click.echo("the beginning is gone from the log", err=True)
    return tracks, "log"


def _from_log(config: Settings, call_id: str) -> tuple[CallSound, bool]:
    """What the log has, and whether it has forgotten the beginning; raises NotRunning."""
    need_kafka(config)
    need_registry(config)
    codec = codec_of(config)
    sound = CallSound()
    key = call_id.encode()
    partition = partition_of(call_id, topic(_TOPIC).partitions)
    oldest: sync.RawRecord | None = None
    first_ms: int | None = None
    for record in sync.read(config, _TOPIC, partitions=[partition]):
        oldest = oldest or record
        if record.key is not None and record.key != key:
            continue
        try:
            chunk = codec.decode(_TOPIC, record.value)
        except Poison:
            continue  # it lies in dead_letters; here only what can be heard is heard
        if isinstance(chunk, MediaChunk) and chunk.call_id == call_id:
            first_ms = record.timestamp_ms if first_ms is None else first_ms
            sound.add(chunk)
    if oldest is None or first_ms is None:
        return sound, False
    at_edge = oldest.offset > 0 and first_ms < oldest.timestamp_ms + EDGE_MS
    return sound, at_edge and sound.cut


def _from_archive(archive: Archive, kept: Recording) -> list[Track]:
    """The archive's tracks; raises CheckFailed."""
    try:
        return archive.tracks(kept)
    except (Damaged, ValueError, OSError) as error:
        raise CheckFailed(f"the recording of call {kept.call_id} is damaged: {error}") from None
