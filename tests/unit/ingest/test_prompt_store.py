"""Prompts of edges without a shared disk: what a call may play, fetching, and the folder's size."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest.sound.prompt_fetch import PromptCache, PromptFetcher
from ingest.sound.prompt_lists import PromptLists, PromptMissing
from ingest.sound.prompts import PromptStore
from ingest.sound.types import PCMU
from ringlog.audio import wav
from ringlog.settings import Settings
from schemas.events import PromptList, PromptRef
from schemas.ids import root_id
from schemas.registry import MemoryRegistry
from schemas.wire import Codec


def name(n: int) -> str:
    return f"{n:064x}"


def ref(n: int, sha256: str | None = None) -> PromptRef:
    return PromptRef(name=name(n), sha256=sha256 or name(n + 1000), size=9, offsets=[n])


def listed(playbook: str, version: str, voice: str, *refs: PromptRef) -> PromptList:
    return PromptList(
        event_id=root_id(playbook, version, voice), occurred_at=1, producer="test",
        playbook=playbook, version=version, voice=voice, prompts=list(refs),
    )  # fmt: skip


def test_what_a_call_may_play() -> None:
    lists = PromptLists()
    for one in (
        listed("loan", "1", "", ref(1)), listed("loan", "1", "anna", ref(2), ref(3)),
        listed("loan", "2", "", ref(4)), listed("loan", "1", "", ref(1), ref(5)),
    ):  # fmt: skip
        lists.evolve(one)
    assert lists.of("loan", "1", "") == [ref(1), ref(5)]
    assert lists.of("loan", "1", "anna") == [ref(2), ref(3)]
    assert lists.of("old", "1", "anna") == [] and lists.of(None, None, "") == []
    with pytest.raises(PromptMissing, match="loan@2 has no prompts in the voice anna"):
        lists.of("loan", "2", "anna")
    assert lists.ref(name(4)) == ref(4) and lists.ref(name(9)) is None


class Far:
    """The log: files by content."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []

    async def fetch(self, ref: PromptRef) -> Path:
        self.asked.append(ref.name)
        path = self.folder / f"{ref.sha256}.wav"
        if not path.exists():
            raise PromptMissing(f"{ref.name} cannot be fetched")
        return path


async def test_prompts_come_from_here_or_from_afar_and_a_missing_one_is_told(
    tmp_path: Path,
) -> None:
    sound = np.full(1600, 3000, np.int16)
    here, far = tmp_path / "here", Far(tmp_path / "far")
    for path in (here / f"{name(1)}.wav", far.folder / f"{name(1002)}.wav"):
        path.parent.mkdir()
        wav.write(path, sound)
    lists = PromptLists()
    store = PromptStore(here, lists, far)
    lists.evolve(listed("loan", "1", "", ref(1), ref(2)))
    await store.bring(lists.of("loan", "1", ""))
    assert far.asked == [name(2)]
    assert (await store.get(name(2), PCMU)).ms == 200
    assert (await store.get(name(1), PCMU)).ms == 200
    lists.evolve(listed("loan", "2", "", ref(1), ref(2), ref(3)))
    with pytest.raises(PromptMissing, match=name(3)):
        await store.bring(lists.of("loan", "2", ""))


def test_the_folder_keeps_what_was_used_last(tmp_path: Path) -> None:
    cache = PromptCache(tmp_path / "cache", 1_000)
    shas = [name(n) for n in range(5)]
    for at, sha in enumerate(shas[:3]):
        path = cache.put(sha, bytes(400))
        os.utime(path, (at, at))
        if sha == shas[1]:
            assert cache.find(shas[0]) is not None  # used: now the newest
    kept = {path.stem for path in (tmp_path / "cache").iterdir()}
    assert kept == {shas[0], shas[2]}
    assert cache.find(shas[1]) is None
    big = cache.put(shas[3], bytes(5_000))
    assert list((tmp_path / "cache").iterdir()) == [big], "at least the newest stays"


@pytest.mark.parametrize("fields", [{"sha256": "../../x"}, {"size": 2**40}])
async def test_a_wrong_list_fetches_nothing(tmp_path: Path, fields: dict[str, Any]) -> None:
    fetcher = PromptFetcher(Settings(home=tmp_path), Codec(MemoryRegistry()))
    with pytest.raises(PromptMissing):
        await fetcher.fetch(ref(1).model_copy(update=fields))
    assert fetcher._consumer is None and not list(tmp_path.rglob("*.wav"))
