"""The archiver against the real log, disk and ClickHouse: kills amid work, a disk that refuses,
sound that has expired, and the same samples from the log and from the archive."""

import random
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from clickhouse_driver import Client

from cli.main import cli
from ringlog.audio import wav
from ringlog.audio.recording import Track
from ringlog.clock import now_ms
from ringlog.kafka import sync
from ringlog.settings import Settings
from schemas.catalogue import topic
from schemas.partition import partition_of
from streams.archive.files import Archive, Recording, day_of
from streams.archive.host import GROUP
from streams.archive.index import RecordingIndex
from tests.integration.archive.support import (
    CHUNK,
    ArchiverProcess,
    Calls,
    Said,
    delete_all,
    voice,
    wait_for,
)

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

PARTITIONS = topic("calls.events").partitions


@pytest.fixture
def archiver(stack: Settings) -> Iterator[ArchiverProcess]:
    made = ArchiverProcess(stack)
    yield made
    made.close()


@pytest.fixture
def calls(stack: Settings) -> Iterator[Calls]:
    made = Calls(stack)
    yield made
    made.close()


@pytest.fixture
def archive(stack: Settings) -> Archive:
    return Archive(stack.recordings_dir)


@pytest.fixture
def client(stack: Settings) -> Iterator[Client]:
    host, port = stack.clickhouse_native
    made = Client(host, port, stack.clickhouse_database)
    yield made
    made.disconnect()


def talk(calls: Calls, call_id: str, seed: int, direction: str = "outbound") -> None:
    """A whole call: both legs, a hole in the customer's, a second source where the seed is odd."""
    rng = np.random.default_rng(seed)
    calls.event(call_id, "dialing", direction=direction)
    calls.event(call_id, "answered")
    calls.sound(call_id, Said("customer", seed + 1, 400, voice(rng, 12, holes=(3, 4))))
    unsent = (0, 1) if seed % 4 == 0 else ()  # a robot that does not speak at once
    calls.sound(call_id, Said("robot", seed + 2, 350, voice(rng, 9, holes=unsent)))
    if seed % 2:
        calls.sound(call_id, Said("customer", seed + 3, 2_000, voice(rng, 4)))
    calls.event(call_id, "ended")
    calls.event(call_id, "ended")


def rows(client: Client) -> dict[str, dict[str, Any]]:
    """The index by path."""
    found, columns = client.execute("SELECT * FROM recordings FINAL", with_column_types=True)
    names = [name for name, _ in columns]
    return {row["path"]: row for row in (dict(zip(names, r, strict=True)) for r in found)}


def assert_kept(archive: Archive, client: Client, calls: Calls) -> None:
    """Every call that had sound has exactly one recording, sample by sample, and its rows."""
    recordings = list(archive.recordings())
    assert sorted(r.call_id for r in recordings) == sorted(calls.said)
    index = rows(client)
    assert len(index) == sum(len(r.legs) for r in recordings)
    for recording in recordings:
        expected = {(s.leg, s.ssrc): s for s in calls.said[recording.call_id]}
        found = {(t.leg, t.ssrc): t for t in archive.tracks(recording)}
        assert found.keys() == expected.keys()
        for key, track in found.items():
            assert track.start_ms == expected[key].start_ms
            assert (track.samples == expected[key].samples).all()
            holes = max(expected[key].chunks) + 1 - len(expected[key].chunks)
            assert track.lost_ms == holes * 100
        for leg in recording.legs:
            row = index[leg.path]
            values = leg.model_dump()
            assert {name: row[name] for name in values} == values
            assert row["call_id"] == recording.call_id
            assert round(row["archived_at"].timestamp() * 1000) == recording.archived_at
    assert not list(archive.folder.rglob("*.part"))


def committed(config: Settings) -> dict[int, int]:
    consumer = sync.consumer_of(config, "archive-test", group_id=GROUP)
    try:
        places = [("calls.events", n) for n in range(PARTITIONS)]
        return {n: tp.offset for (_, n), tp in sync.committed(consumer, places).items()}
    finally:
        consumer.close()


def ends(config: Settings) -> dict[int, int]:
    consumer = sync.consumer_of(config, "archive-test-ends")
    try:
        places = [("calls.events", n) for n in range(PARTITIONS)]
        return {n: end for (_, n), end in sync.ends_of(consumer, places).items()}
    finally:
        consumer.close()


def all_committed(config: Settings, but: int | None = None) -> bool:
    """Whether everything on the log is done, one partition left out."""
    at, wanted = committed(config), ends(config)
    return all(at[n] == end for n, end in wanted.items() if end and n != but)


def recording(call_id: str, out: Path, *options: str) -> Result:
    return CliRunner().invoke(cli, ["recording", call_id, str(out), *options])


def test_every_call_is_kept_once_whatever_dies(
    stack: Settings,
    archiver: ArchiverProcess,
    calls: Calls,
    archive: Archive,
    client: Client,
    tmp_path: Path,
) -> None:
    # A disk that refuses: the service says so and commits nothing.
    archive.folder.write_text("not a folder")
    for n in range(10):
        talk(calls, f"call-{n}", 10 * n)
    talk(calls, "foreign/+86 1", 501, direction="foreign")
    calls.event("never-answered", "dialing")
    calls.event("never-answered", "ended")
    poisoned = "first-record-is-poison"
    calls.raw("calls.events", poisoned, partition_of(poisoned, PARTITIONS), b"poison")
    talk(calls, poisoned, 601)
    calls.raw("media.audio", poisoned, partition_of(poisoned, PARTITIONS), b"poison")
    rng = np.random.default_rng(7)
    calls.event("talking", "dialing")
    calls.event("talking", "answered")
    half = Said("customer", 77, 0, voice(rng, 5))
    calls.sound("talking", half, ended=False)
    calls.flush()
    archiver.start()
    wait_for("the disk's refusal", lambda: "recordings" in archiver.readiness()[1])
    assert max(committed(stack).values()) <= 0
    archive.folder.unlink()
    wait_for("readiness", lambda: archiver.readiness()[0])

    # Kills at any moment between reading, files, index and commit.
    chance = random.Random(3)
    for wave in range(3):
        for n in range(4):
            talk(calls, f"wave-{wave}-{n}", 1_000 + 100 * wave + 10 * n + wave % 2)
        calls.flush()
        known = len(list(archive.recordings()))
        wait_for("more files", lambda seen=known: len(list(archive.recordings())) > seen)  # type: ignore[misc]
        time.sleep(chance.random() * 0.05)
        archiver.kill()
        archiver.start()
    expected = len(calls.said) - 1
    wait_for("all recordings", lambda: len(list(archive.recordings())) == expected)
    assert archive.find("talking") is None
    open_at = partition_of("talking", PARTITIONS)
    wait_for("commits up to the open call", lambda: all_committed(stack, but=open_at))
    assert committed(stack)[open_at] < ends(stack)[open_at]

    # A leg that has not ended is waited for.
    calls.event("talking", "ended")
    calls.flush()
    time.sleep(0.1)
    late = Said("customer", 77, 0, {n + 5: x for n, x in voice(rng, 3).items()})
    calls.sound("talking", late)
    calls.said["talking"] = [Said("customer", 77, 0, half.chunks | late.chunks)]
    calls.flush()
    wait_for("the last recording", lambda: archive.find("talking") is not None)
    wait_for("all commits", lambda: all_committed(stack))
    assert_kept(archive, client, calls)
    assert archiver.metric('ringlog_recordings_total{result="lost"}') == 0

    # The same sound from both.
    call_id = "wave-1-1"
    both = {source: tmp_path / f"{source}.wav" for source in ("log", "archive")}
    for source, out in both.items():
        done = recording(call_id, out, "--from", source)
        assert done.exit_code == 0, done.output
        assert f"from the {source}" in done.output
    samples, rate_hz = wav.read(both["log"])
    assert (samples == wav.read(both["archive"])[0]).all()
    assert (rate_hz, samples.shape) == (8_000, (16_000 + 4 * CHUNK, 2))
    assert (samples[350 * 8 : 350 * 8 + 9 * CHUNK, 1] == calls.said[call_id][1].samples).all()

    # The index is made again from the files.
    client.execute("TRUNCATE TABLE recordings")
    client.execute("INSERT INTO recordings (call_id, path) VALUES", [("gone", "2020/01/01/x.flac")])
    done = CliRunner().invoke(cli, ["rebuild", "recordings"])
    assert done.exit_code == 0, done.output
    assert_kept(archive, client, calls)

    # What has expired before it was archived is told, and does not hold anything up.
    assert archiver.stop() == 0
    said = voice(np.random.default_rng(8), 6)
    calls.event("too-late", "dialing")
    calls.event("too-late", "answered")
    calls.sound("too-late", Said("customer", 5, 0, {n: said.pop(n) for n in range(3)}), ended=False)
    calls.flush()
    delete_all(stack, "media.audio")
    del calls.said["too-late"]
    calls.sound("too-late", Said("customer", 5, 0, said))
    calls.event("too-late", "ended")
    talk(calls, "in-time", 9_000)
    calls.flush()
    archiver.start()
    wait_for("what is left", lambda: archive.find("in-time") is not None)
    lost = 'ringlog_recordings_total{result="lost"}'
    wait_for("word of the loss", lambda: archiver.metric(lost) == 1)
    wait_for("all commits", lambda: all_committed(stack))
    assert_kept(archive, client, calls)

    # From the archive alone; and words for what is nowhere.
    out = tmp_path / "default.wav"
    done = recording(call_id, out)
    assert done.exit_code == 0 and "from the archive" in done.output
    assert (wav.read(out)[0] == samples).all()
    for options, text in (
        ((call_id, "--from", "log"), "no sound"),
        (("never-answered",), "no sound"),
        (("never-answered", "--from", "archive"), "no recording"),
    ):
        done = recording(options[0], tmp_path / "none.wav", *options[1:])
        assert done.exit_code == 1
        assert text in done.output
    damaged = archive.find(call_id)
    assert isinstance(damaged, Recording)
    (archive.folder / damaged.legs[0].path).write_bytes(b"rubbish")
    done = recording(call_id, tmp_path / "none.wav")
    assert done.exit_code == 1 and "damaged" in done.output
    assert not (tmp_path / "none.wav").exists()
    done = CliRunner().invoke(cli, ["rebuild", "recordings"])
    assert done.exit_code == 1 and damaged.legs[0].path in done.output
    assert damaged.legs[0].path not in rows(client)
    assert archiver.stop() == 0


def test_recordings_expire_with_their_rows_by_their_own_days(
    stack: Settings, archiver: ArchiverProcess, archive: Archive, client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    today_ms = now_ms()
    track = Track("customer", 9, 8_000, 0, np.arange(800, dtype=np.int16), 0)
    made = {
        days: archive.write(
            f"expires-{days}", day_of(today_ms - days * 86_400_000), today_ms, today_ms, [track]
        )
        for days in (0, 5, 40, 400)
    }
    with closing(RecordingIndex(stack)) as index:
        index.put(made.values())
    mine = {r.legs[0].path: days for days, r in made.items()}
    before = len(rows(client))
    monkeypatch.setenv("RINGLOG_RECORDINGS_DAYS", "30")
    archiver.start()
    wait_for("the oldest to go", lambda: archive.find("expires-40") is None)
    kept = {days for path, days in mine.items() if path in rows(client)}
    assert kept == {0, 5}
    assert {days for days in made if archive.find(f"expires-{days}") is not None} == {0, 5}
    assert len(rows(client)) == before - 2
    assert not (archive.folder / day_of(today_ms - 400 * 86_400_000)).exists()
    assert archiver.stop() == 0
