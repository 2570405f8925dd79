"""The analytics service on a real broker and registry: windows, corrections, poison, restart.

The tests share one service and are in the order of its life.
"""

import shutil
import time
from collections.abc import Iterator

import pytest
import urllib3

from ringlog.settings import Settings
from schemas.catalogue import TOPICS
from schemas.registry import Registry
from streams.analytics import records
from streams.analytics.recount import Count, Window, event_id_of, latest, window_of
from tests.integration.analytics.scene import MINUTE_MS, Scene, Service, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


LIVE = "直播"


def registry_versions(config: Settings) -> dict[str, list[int]]:
    return {
        subject: urllib3.request(
            "GET", f"{config.registry_url}/subjects/{subject}/versions", timeout=10
        ).json()
        for subject in Registry(config.registry_url).subjects()
    }


def old(counts: dict[Window, Count]) -> dict[Window, Count]:
    """All windows but those of live turns, which may still be open."""
    return {w: c for w, c in counts.items() if w.intent != LIVE}


@pytest.fixture(scope="module")
def versions_before(stack: Settings) -> dict[str, list[int]]:
    return registry_versions(stack)


@pytest.fixture(scope="module")
def service(stack: Settings) -> Iterator[Service]:
    service = Service(stack)
    yield service
    service.close()


@pytest.fixture(scope="module")
def scene(stack: Settings, versions_before: dict[str, list[int]], service: Service) -> Scene:
    """A service that is ready, on a log that held two minutes of turns before it started."""
    scene = Scene.on(stack)
    begin = (int(time.time() * 1_000) // MINUTE_MS - 5) * MINUTE_MS
    for n in range(60):
        at_ms = begin + n * 2_000
        # Every third turn is out of order by up to two seconds.
        turn = scene.turn(at_ms - (n % 3) * 1_000 + 2_000, call=n % 7, intent=f"意图{n % 2}")
        scene.send(turn, appended_ms=at_ms + 2_100)
        if n % 5 == 0:
            scene.send(turn, appended_ms=at_ms + 2_200)
    scene.send(
        scene.turn(begin + 5_000, input_kind="silence"),
        scene.turn(begin + 5_000, intent=""),
        appended_ms=begin + 125_000,
    )
    for value in (b"", b"no event", b"\x00\x00\x00\x00\x01junk", b"\x00\x7f\xff\xff\xffjunk", None):
        scene.send_poison(value)
    good = scene.codec.encode(records.SOURCE, scene.turn(begin))
    scene.send_poison(good[:-3])
    scene.send_poison(good + b"!")
    scene.send_poison(good, partition=scene.idle)  # a turn, but not of this partition
    service.start()
    return scene


def test_windows_of_what_was_said_before_the_start_close_though_nobody_speaks(
    scene: Scene,
) -> None:
    expected = scene.expected()
    assert len(expected) >= 26

    wait_for(lambda: scene.counts() == expected, "the recount")


def test_ids_are_those_that_python_derives(scene: Scene) -> None:
    for _, event in scene.windows():
        assert event.event_id == event_id_of(window_of(event), event.revision)
        assert event.occurred_at == event.window_end


def test_windows_of_live_turns_close_after_their_end(scene: Scene) -> None:
    now = int(time.time() * 1_000)
    scene.send(*(scene.turn(now + n, call=n, intent=LIVE) for n in range(3)))
    window = Window("default", scene.campaign, LIVE, 10, now // 10_000 * 10_000)

    def closed() -> list[int]:
        return [at for at, event in scene.windows() if window_of(event) == window]

    wait_for(lambda: scene.counts().get(window) == scene.expected()[window], "the window")
    assert min(closed()) >= window.start_ms + 10_000


def test_late_turns_correct_their_windows(scene: Scene) -> None:
    before = latest(event for _, event in scene.windows())
    window = next(w for w in sorted(before) if w.size_s == 10 and w.intent == "意图0")
    late = scene.turn(window.start_ms + 1, call=11, intent="意图0")
    scene.send(late, late)
    scene.send(scene.turn(window.start_ms + 2, call=11, intent="意图0"))
    expected = old(scene.expected())

    wait_for(lambda: old(scene.counts()) == expected, "the corrections")

    after = [event for _, event in scene.windows() if window_of(event) == window]
    assert [e.revision - before[window].revision for e in after][-2:] == [1, 2]
    assert after[-1].count == before[window].count + 2
    assert after[-1].calls == before[window].calls + 1


def test_poison_is_in_dead_letters_with_its_reason(scene: Scene) -> None:
    wait_for(lambda: scene.poison.keys() <= scene.dead_letters().keys(), "the dead letters")
    letters = scene.dead_letters()

    for place, value in scene.poison.items():
        assert letters[place].raw == (value or b"")
    reasons = [letters[place].reason for place in scene.poison]
    for reason, words in zip(
        reasons,
        ("shorter", "first byte", "is of", "not in the registry", "no value", "Avro", "after the")
        + ("belongs to partition",),
        strict=True,
    ):
        assert words in reason
    for place in letters.keys() - scene.poison.keys():
        assert scene.campaign.encode() not in letters[place].raw, "a good turn"


def test_a_killed_service_goes_on_from_its_checkpoint(scene: Scene, service: Service) -> None:
    known = service.checkpoints()
    wait_for(lambda: bool(service.checkpoints() - known), "a checkpoint of what was counted")
    before = latest(event for _, event in scene.windows())
    window = next(w for w in sorted(before) if w.size_s == 60 and w.intent == "意图1")

    service.kill()
    # While it is away: a correction, a turn that had been counted before, and new poison.
    again = scene.turn(window.start_ms + 3, call=12, intent="意图1")
    scene.send(again)
    scene.send_poison(b"while away")
    service.start()
    scene.send(again, scene.turn(window.start_ms + 4, call=12, intent="意图1"))

    assert '"restored": "' in service.said()
    expected = old(scene.expected())
    wait_for(lambda: old(scene.counts()) == expected, "the recount after a restart")
    wait_for(lambda: scene.poison.keys() <= scene.dead_letters().keys(), "the new dead letter")


@pytest.mark.heavy
def test_without_its_checkpoints_it_counts_the_log_again_and_goes_on(
    scene: Scene, service: Service
) -> None:
    assert service.stop() == 0
    shutil.rmtree(scene.config.home / "flink" / "checkpoints")
    service.start()
    before = latest(event for _, event in scene.windows())
    window = next(w for w in sorted(before) if w.size_s == 60 and w.intent == "意图0")

    scene.send(scene.turn(window.start_ms + 5, call=13, intent="意图0"))

    expected = old(scene.expected())
    wait_for(lambda: old(scene.counts()) == expected, "the recount after the loss")
    after = latest(event for _, event in scene.windows())[window]
    assert (after.revision, after.count) == (
        before[window].revision + 1,
        before[window].count + 1,
    )


def test_no_two_records_of_one_id_differ_in_what_counts(scene: Scene) -> None:
    last = latest(event for _, event in scene.windows())
    for _, event in scene.windows():
        final = last[window_of(event)]
        assert event.revision == event.count - 1
        assert event.count <= final.count
        if event.event_id == final.event_id:
            assert event == final


def test_flink_registers_no_schema(
    stack: Settings, scene: Scene, versions_before: dict[str, list[int]]
) -> None:
    assert registry_versions(stack) == versions_before
    assert {t.subject for t in TOPICS.values()} <= versions_before.keys()


def test_the_lag_metric_falls_to_nothing(stack: Settings, scene: Scene) -> None:
    url = f"http://127.0.0.1:{stack.metrics_port_of('analytics')}/metrics"
    line = f'ringlog_consumer_lag{{group="ringlog-analytics",topic="{records.SOURCE}"}} 0.0'

    wait_for(lambda: line in urllib3.request("GET", url).data.decode(), "no lag")


def test_a_stop_leaves_a_savepoint_from_which_it_goes_on(scene: Scene, service: Service) -> None:
    before = latest(event for _, event in scene.windows())
    window = next(w for w in sorted(before) if w.size_s == 60 and w.intent == "意图1")
    assert service.stop() == 0
    assert '"stopped"' in service.said().splitlines()[-1]
    (saved,) = scene.config.home.glob("flink/checkpoints/*/*/savepoint-*/_metadata")
    scene.send(scene.turn(window.start_ms + 6, call=14, intent="意图1"))
    service.start()
    assert f'"restored": "{saved.parent}"' in service.said()
    expected = old(scene.expected())
    wait_for(lambda: old(scene.counts()) == expected, "the count after a stop")
    assert service.stop() == 0
