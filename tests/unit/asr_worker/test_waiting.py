"""Trouble with the registry of schemas, or with models, is waited for: the worker never ends."""

import threading
from pathlib import Path
from typing import Any

import pytest

from asr_worker.__main__ import _core
from asr_worker.host import AUDIO, Host
from ringlog.health import Health
from ringlog.kafka.sync import RawRecord
from ringlog.settings import Settings
from schemas.registry import RegistryError
from schemas.wire import AvroRecord, Poison

RECORD = RawRecord(AUDIO, 3, 7, 1_000, b"k", b"v")


class Away:
    """A codec whose registry gives no answer some times."""

    def __init__(self, times: int, then: AvroRecord | Exception) -> None:
        self.waiting_for = ""
        self.times = times
        self.then = then

    def decode_record(self, topic: str, value: bytes | None) -> AvroRecord:
        """As `Codec.decode_record`."""
        if self.times > 0:
            self.times -= 1
            raise RegistryError("no answer")
        if isinstance(self.then, Exception):
            raise self.then
        return self.then


class Group:
    """A consumer that stays in its group while a record waits."""

    def __init__(self, codec: Away) -> None:
        self.codec = codec
        self.said: list[str] = []
        self.calls: list[str] = []

    def assignment(self) -> list[int]:
        """What is held."""
        return [3]

    def pause(self, places: list[int]) -> None:
        """Reads on no more."""
        self.calls.append("pause")

    def resume(self, places: list[int]) -> None:
        """Reads on."""
        self.calls.append("resume")

    def poll(self, timeout_s: float) -> None:
        """Serves the group."""
        self.calls.append("poll")
        self.said.append(self.codec.waiting_for)


def host_on(codec: Away) -> tuple[Any, Group]:
    """A host without Kafka."""
    host: Any = Host.__new__(Host)
    group = Group(codec)
    host._codec, host._consumer, host._health = codec, group, Health("asr")
    host._stopping = lambda: False
    return host, group


def test_a_record_of_an_unknown_schema_waits_while_the_registry_is_away() -> None:
    codec = Away(3, {"leg": "customer"})
    host, group = host_on(codec)
    assert host._decoded(AUDIO, RECORD) == {"leg": "customer"}
    assert group.calls == ["pause", "poll", "resume"] * 3
    assert group.said == ["registry: no answer"] * 3  # what /readyz tells meanwhile
    assert codec.waiting_for == ""


def test_what_is_poison_after_the_wait_is_still_a_dead_letter() -> None:
    host, _ = host_on(Away(1, Poison("of another topic")))
    with pytest.raises(Poison, match="another topic"):
        host._decoded(AUDIO, RECORD)


def test_a_worker_that_is_to_stop_does_not_wait() -> None:
    codec = Away(10**6, {})
    host, group = host_on(codec)
    host._stopping = lambda: True
    assert host._decoded(AUDIO, RECORD) is None
    assert group.calls == []
    assert codec.waiting_for == ""


class Mending(threading.Event):
    """Somebody mends the site's file while the worker waits."""

    def __init__(self, health: Health, file: Path, text: str) -> None:
        super().__init__()
        self.health, self.file, self.text = health, file, text
        self.reasons: list[str] = []

    def wait(self, timeout: float | None = None) -> bool:
        """As `threading.Event.wait`, without the time."""
        self.reasons.append(self.health.waiting_for)
        self.file.write_text(self.text)
        return False


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("a: [", "asr-models.yaml"),
        ("default: zh", "profile 'zh', the site's default"),
        ("profiles: {x: {model: none, detector: fast}}", "unknown model"),
    ],
)
def test_model_trouble_is_waited_for_and_named_by_health(
    tmp_path: Path, wrong: str, why: str
) -> None:
    file = tmp_path / "asr-models.yaml"
    file.write_text(wrong)
    health = Health("asr")
    stopping = Mending(health, file, "default: demo")
    core = _core(Settings(home=tmp_path, asr_profile=""), health, stopping)
    assert core is not None
    assert len(stopping.reasons) == 1
    assert why in stopping.reasons[0]
    left_out = health.detail["profiles_left_out"]
    assert isinstance(left_out, dict)
    assert "ringlog models get zh-14m" in left_out["zh"]
