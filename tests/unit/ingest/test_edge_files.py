"""What the edge keeps on disk: prompts and its journal; keys and stream identities."""

import json
from pathlib import Path

import numpy as np
import pytest

from ingest.defaults import Default, Defaults
from ingest.failover.journal import Entry, HeardLeg, Journal
from ingest.keys import media_token
from ingest.sound.prompt_lists import PromptMissing
from ingest.sound.prompts import PromptStore
from ingest.sound.types import PCMU, Format, Leg, format_of, leg_ssrc, payload_type_of, stream_ids
from ringlog.audio import wav
from ringlog.audio.g711 import decode
from ringlog.site_key import derived_key
from schemas.events import Playbook, RobotStatus

SHA = "ab" * 32


def tone(ms: int, rate_hz: int = 8000) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    t = np.arange(ms * rate_hz // 1000) / rate_hz
    return np.asarray(8000 * np.sin(2 * np.pi * 440 * t), np.int16)


async def test_a_prompt_becomes_frames(tmp_path: Path) -> None:
    wav.write(tmp_path / f"{SHA}.wav", tone(130))
    store = PromptStore(tmp_path)
    prompt = await store.get(SHA, PCMU)
    assert prompt.ms == 140 and {len(f) for f in prompt.frames} == {160}
    assert len(prompt.levels) == 7 and min(prompt.levels[:6]) > 60
    heard = decode("pcmu", b"".join(prompt.frames))[:1040].astype(int)
    assert np.abs(heard - tone(130)).max() < 300
    assert not decode("pcmu", b"".join(prompt.frames))[1040:].any()
    assert await store.get(SHA, PCMU) is prompt


@pytest.mark.parametrize("sound", [Format("pcma", 8000), Format("l16", 16000)])
async def test_a_prompt_in_another_format(tmp_path: Path, sound: Format) -> None:
    wav.write(tmp_path / f"{SHA}.wav", tone(100))
    prompt = await PromptStore(tmp_path).get(SHA, sound)
    assert prompt.ms == 100 and {len(f) for f in prompt.frames} == {sound.frame_bytes}


@pytest.mark.parametrize("name", [SHA, "../../etc/passwd", "", "AB" * 32])
async def test_a_missing_prompt_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(PromptMissing):
        await PromptStore(tmp_path).get(name, PCMU)


async def test_a_broken_prompt_is_told(tmp_path: Path) -> None:
    (tmp_path / f"{SHA}.wav").write_bytes(b"RIFF....WAVE")
    with pytest.raises(PromptMissing):
        await PromptStore(tmp_path).get(SHA, PCMU)


async def test_the_journal_gives_back_what_was_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    leg = HeardLeg(Leg("customer", 7, 2**33, 120, 8000), 65_600, 1_700_000_000_000)
    first = Entry("../call|1", 20_000, PCMU, 5, ("127.0.0.1", 4000), [leg])
    second = Entry("b", 20_002, Format("l16", 16000), 6)
    for entry in (first, second, first):
        await journal.write(entry)
    assert sorted(journal.entries(), key=lambda e: e.port) == [first, second]
    await journal.remove("b")
    await journal.remove("b")
    assert list(journal.entries()) == [first]
    assert {p.parent for p in tmp_path.rglob("*.json")} == {tmp_path / "j"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"call_id": "x"}',
        json.dumps({"port": []}),
        "null",
        "[" * 100_000,
        '{"call_id": "x", "port": 1, "sound": {"codec": 1}, "opened_ms": 1, "legs": {}}',
        '{"call_id": "x", "port": 99999999, "sound": ["pcmu", 8000], "opened_ms": 1}',
        '{"call_id": "x", "port": 1, "sound": ["opus", 8000], "opened_ms": 1}',
    ],
)
async def test_a_broken_journal_file_is_dropped(tmp_path: Path, text: str) -> None:
    """Review 18: one bad file, whatever is in it, never blocks a start or hides another."""
    journal, good = Journal(tmp_path), Entry("b", 20_002, Format("l16", 16000), 6)
    await journal.write(good)
    (tmp_path / "x.json").write_text(text)
    assert list(journal.entries()) == [good]
    assert len(list(tmp_path.glob("*.json"))) == 1


def test_a_folder_in_the_journal_blocks_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    (tmp_path / "b.json").write_bytes(b"\xff\xfe")
    assert list(Journal(tmp_path).entries()) == []


def test_an_entry_of_an_older_edge_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(
        '{"call_id": "c", "port": 20000, "sound": ["pcmu", 8000], "opened_ms": 5, '
        '"remote": ["10.0.0.1", 9], "carrier": "", "legs": []}'
    )
    assert list(Journal(tmp_path).entries()) == [Entry("c", 20_000, PCMU, 5, ("10.0.0.1", 9))]


async def test_a_disk_that_fails_is_told_to_who_waits(tmp_path: Path) -> None:
    """Review 25: the file is written by a thread; only who asks learns of its fate."""
    journal = Journal(tmp_path / "j")
    (tmp_path / "j").rmdir()
    with pytest.raises(OSError):
        await journal.write(Entry("b", 20_002, PCMU, 6))


def test_keys_are_for_one_purpose_and_one_call() -> None:
    assert derived_key(b"k", "a") != derived_key(b"k", "b") != derived_key(b"l", "b")
    assert media_token(b"k", "x") == media_token(b"k", "x") != media_token(b"k", "y")


def test_stream_identities_are_stable_and_on_the_grid() -> None:
    one = stream_ids(b"k", "call", "robot")
    assert one == stream_ids(b"k", "call", "robot") != stream_ids(b"other", "call", "robot")
    assert one.first_ts % 1600 == 0 and one.ssrc == leg_ssrc("call", "robot")
    assert leg_ssrc("call", "robot") != leg_ssrc("call", "customer")


def test_codec_names() -> None:
    assert payload_type_of(format_of("PCMA")) == 8 and format_of("l16") == Format("l16", 8000)
    with pytest.raises(ValueError, match="known"):
        format_of("opus")


def test_a_foreign_calls_defaults() -> None:
    def robot(name: str, pool: str, state: str = "active") -> RobotStatus:
        return RobotStatus.model_validate(
            {"event_id": "0" * 36, "kind": "robot", "occurred_at": 1, "producer": "cli",
             "robot_id": name, "pool": pool, "state": state, "playbooks": ["loan"]}
        )  # fmt: skip

    def version(name: str, kind: str = "published") -> Playbook:
        return Playbook.model_validate(
            {"event_id": "0" * 36, "kind": kind, "occurred_at": 1, "producer": "cli",
             "playbook": "loan", "version": name, "sha256": "", "body": ""}
        )  # fmt: skip

    fold = Defaults()
    assert fold.of("loan", "sales") == Default(None, "sales", None)
    for event in (robot("b", "sales"), robot("a", "service"), robot("0", "sales", "paused"),
                  version("1"), version("2"), version("3"), version("3", "withdrawn")):  # fmt: skip
        fold.evolve(event)
    assert fold.of("loan", None) == Default("a", "service", "2")
    assert fold.of("loan", "sales") == Default("b", "sales", "2")
    assert fold.of("other", None) == Default(None, None, None)
