"""The whole product is proved right; then it is spoilt, and exactly that is found."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from typing import Any

import pytest

from ringlog.clock import now_ms
from ringlog.kafka import sync
from ringlog.kafka.codec import codec_of
from ringlog.settings import Settings, root
from schemas import ids
from schemas.envelope import Event
from schemas.events import (
    CallEvent,
    CustomerChange,
    DeadLetter,
    Directive,
    Profile,
    TaskEvent,
    Transcript,
    Turn,
)
from stack import environment
from streams.history.clickhouse import ClickHouse
from tests.integration.e2e.outside import (
    close_session,
    events_of,
    finals_of,
    open_session,
    send_rtp,
    spoken,
)

pytestmark = pytest.mark.timeout(600)

ALL = {
    "ids", "calls", "directives", "turns", "permits", "numbers", "optouts", "tasks", "routes",
    "profiles", "status", "views", "windows", "history", "dead_letters", "tries",
    "law", "campaigns", "callbacks",
}  # fmt: skip
PHONES = ["13800138001", "13800138002", "13800138003"]
TASKS: list[str] = []
CALLS: list[str] = []


def verify(config: Settings, *options: str, code: int) -> dict[str, Any]:
    """`ringlog verify --json` as somebody runs it. The machine may be slow: it may settle long."""
    run = subprocess.run(
        [sys.executable, "-m", "cli.main", "verify", "--json", "--settle", "90", *options],
        capture_output=True, text=True, timeout=300, check=False, cwd=root(),
        env=environment.of_services(config),
    )  # fmt: skip
    assert run.returncode == code, run.stdout[-6_000:] + run.stderr[-3_000:]
    assert not any(phone in run.stdout + run.stderr for phone in PHONES)
    report: dict[str, Any] = json.loads(run.stdout)
    return report


def checks_of(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {check["check"]: check for check in report["checks"]}


def found_in(report: dict[str, Any]) -> dict[str, list[str]]:
    """Places by rule."""
    found: dict[str, list[str]] = {}
    for check in report["checks"]:
        for violation in check["found"]:
            found.setdefault(violation["rule"], []).extend(violation["where"])
    return found


def produce(config: Settings, *records: tuple[str, Event]) -> list[str]:
    """Writes records; returns their places."""
    with closing(sync.producer_of(config, "spoiler")) as producer:
        sent = [sync.produce(producer, codec_of(config), *record) for record in records]
        producer.flush()
    return [f"{d.topic}/{d.partition}@{d.offset}" for d in sent]


def post(config: Settings, path: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    request = urllib.request.Request(
        config.api_url + path, json.dumps(body).encode(),
        {"Content-Type": "application/json", **headers},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def status_of(config: Settings, task_id: str) -> str:
    with urllib.request.urlopen(f"{config.api_url}/api/tasks/{task_id}", timeout=30) as answer:
        return str(json.load(answer)["status"])


def edges(config: Settings) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{config.api_url}/api/edges", timeout=30) as answer:
        found: list[dict[str, Any]] = json.load(answer)["items"]
    return found


def wait_for(what: str, condition: Any, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.3)


def changed(phone: str, **attributes: str) -> tuple[str, Event]:
    """What the CRM says of a customer."""
    customer = f"c-{phone[-4:]}"
    return "customers.changes", CustomerChange(
        event_id=ids.root_id("crm", customer), kind="upserted", occurred_at=now_ms(),
        producer="test", customer_id=customer, source="crm", phone=phone, name="王", level="gold",
        attributes=attributes,
    )  # fmt: skip


def test_a_working_system_holds_at_any_moment(product: Settings) -> None:
    """Calls run on two edges, one of which is killed, and tasks are dialled (no carrier answers);
    one customer must not be called."""
    *called, refused = PHONES
    produce(product, *map(changed, called), changed(refused, opted_out="true"))
    wait_for("the opt-out", lambda: any(True for _ in sync.read(product, "compliance.optouts")))
    for phone in PHONES:
        body = {
            "customer_id": f"c-{phone[-4:]}", "phone": phone, "campaign_id": "spring",
            "pool": "sales", "playbook": "promotion", "priority": "high", "wait_ms": 0,
        }  # fmt: skip
        answer = post(product, "/api/tasks/assign", body, **{"Idempotency-Key": f"k-{phone}"})
        TASKS.append(answer["task_id"])
    sessions = [open_session(product) for _ in range(2)]
    CALLS.extend(opened["call_id"] for opened in sessions)

    async def talk() -> dict[str, Any]:
        samples = spoken(["方便你说", "价格太高了"], pause_s=5.0)
        talking = asyncio.gather(*(send_rtp(opened, samples) for opened in sessions))
        await asyncio.sleep(4)
        busy = {edge["edge_id"]: edge["calls"] for edge in edges(product)}
        assert busy.keys() == {"edge", "edge-2"} and min(busy.values()) > 0
        os.kill(json.loads(product.pids_file.read_text())["edge-2"], signal.SIGKILL)
        await asyncio.sleep(2)
        report = await asyncio.to_thread(verify, product, code=0)
        await talking
        return report

    report = asyncio.run(talk())
    assert found_in(report) == {}
    assert report["ok"] is True
    for opened in sessions:
        close_session(product, opened["call_id"])


def test_after_a_campaign_all_is_proved_and_nothing_open(product: Settings) -> None:
    over = {"completed", "failed", "refused"}
    wait_for("tasks", lambda: all(status_of(product, task) in over for task in TASKS))
    assert status_of(product, TASKS[2]) == "refused"
    wait_for("finals", lambda: all(finals_of(product, call) for call in CALLS))
    report = verify(product, "--idle", code=0)
    checks = checks_of(report)
    assert found_in(report) == {}
    assert checks.keys() == ALL
    unseen = {name for name, check in checks.items() if not check["looked_at"]}
    assert unseen <= {"dead_letters", "tries", "law", "campaigns", "callbacks"}
    assert (checks["calls"]["looked_at"], checks["permits"]["looked_at"]) == (4, 2)
    assert (checks["optouts"]["looked_at"], checks["tasks"]["looked_at"]) == (2, 3)
    assert {n for n, check in checks.items() if check["open"]} <= {"windows"}
    assert checks["history"]["looked_at"] > 200
    assert report["behind"] == {}
    only = verify(product, "--idle", "--only", "calls", "--only", "tasks", code=0)
    assert list(checks_of(only)) == ["calls", "tasks"]


def test_a_robot_that_does_not_answer_is_found(product: Settings) -> None:
    """Both workers stand still while a customer speaks; when they go on, nothing is missing."""
    pids = json.loads(product.pids_file.read_text())
    robots = [pids[name] for name in ("robots-a", "robots-b") if name in pids]
    final = next(e for e in events_of(product, "asr.transcripts", CALLS[0]) if e.kind == "final")
    assert isinstance(final, Transcript)
    unheard = final.model_copy(update={"event_id": ids.root_id("unheard"), "text": "喂"})
    for pid in robots:
        os.kill(pid, signal.SIGSTOP)
    try:
        (where,) = produce(product, ("asr.transcripts", unheard))
        report = verify(product, "--idle", "--only", "turns", code=1)
        assert found_in(report) == {"turns.no_turn": [where]}
    finally:
        for pid in robots:
            os.kill(pid, signal.SIGCONT)
    turn = ids.event_id(unheard.event_id, "turn")
    wait_for(
        "the turn",
        lambda: any(e.event_id == turn for e in events_of(product, "dialogue.turns", CALLS[0])),
    )
    assert found_in(verify(product, "--idle", code=0)) == {}


def test_what_is_planted_is_found_and_nothing_else(product: Settings) -> None:
    codec = codec_of(product)

    def first(topic: str, kind: str) -> Event:
        return next(
            event
            for record in sync.read(product, topic)
            if (event := codec.decode(topic, record.value)).kind == kind
        )

    dialing, profile = first("calls.events", "dialing"), first("customers.profiles", "profile")
    assert isinstance(dialing, CallEvent) and isinstance(profile, Profile)
    said = [e for e in events_of(product, "dialogue.directives", CALLS[0]) if e.kind == "say"]
    assert isinstance(said[0], Directive) and said[0].epoch is not None
    assert all(isinstance(e, Directive) for e in said)
    old = said[0].model_copy(
        update={
            "event_id": ids.root_id("old"), "directive_id": ids.root_id("old"),
            "epoch": said[0].epoch - 1,
        }
    )  # fmt: skip
    playout = CallEvent(
        event_id=ids.root_id("planted"), kind="playout_started", occurred_at=now_ms() + 5_000,
        producer="test", call_id=CALLS[0], directive_id=old.directive_id, prompt_ms=10,
    )  # fmt: skip
    turn = Turn(
        event_id=ids.root_id("turn"), occurred_at=now_ms(), producer="test", call_id=CALLS[1],
        input_kind="final", input_event_id=ids.root_id("nothing"), node="x",
    )  # fmt: skip
    task = TaskEvent(
        event_id=ids.root_id("task"), kind="queued", occurred_at=now_ms(), producer="test",
        task_id="nobody's",
    )  # fmt: skip
    letter = DeadLetter(
        event_id=ids.dead_letter_id("asr.transcripts", 0, 999_999), occurred_at=now_ms(),
        producer="test", source_topic="asr.transcripts", source_partition=0,
        source_offset=999_999, reason="not decided: KeyError: 'x'", raw=b"",
    )  # fmt: skip
    newest = profile.model_copy(
        update={"event_id": ids.root_id("profile"), "version": 99, "level": "vip"}
    )
    again = dialing.model_copy(update={"event_id": ids.root_id("again")})
    at = produce(
        product, ("calls.events", again), ("dialogue.directives", old), ("calls.events", playout),
        ("dialogue.turns", turn), ("tasks.events", task), ("customers.profiles", newest),
        ("dead_letters", letter),
    )  # fmt: skip

    clickhouse = ClickHouse(product)
    report = verify(product, "--idle", code=1)
    found = found_in(report)
    assert set(found) == {
        "calls.dialled_after_end", "calls.spoke_after_end", "directives.played_stale",
        "turns.no_input", "permits.dialled_twice", "tasks.unasked", "profiles.differs",
        "dead_letters.our_fault",
    }  # fmt: skip
    assert found["permits.dialled_twice"][1] == found["calls.dialled_after_end"][1] == at[0]
    assert found["directives.played_stale"] == [at[2]]
    assert found["calls.spoke_after_end"][1] == at[2]
    assert (found["turns.no_input"], found["tasks.unasked"]) == ([at[3]], [at[4]])
    assert found["profiles.differs"][1] == at[5]
    assert found["dead_letters.our_fault"] == ["asr.transcripts/0@999999", at[6]]

    partition, offset = at[3].removeprefix("dialogue.turns/").split("@")
    clickhouse.execute(
        f"DELETE FROM raw_dialogue_turns WHERE _partition = {partition} AND _offset = {offset}"
    )
    final = finals_of(product, CALLS[1])[0]
    clickhouse.execute(
        "ALTER TABLE raw_asr_transcripts UPDATE text = 'x' WHERE "
        f"event_id = '{final.event_id}' SETTINGS mutations_sync = 2"
    )
    clickhouse.execute(
        "ALTER TABLE raw_calls_events UPDATE disposition = 'x' WHERE "
        f"call_id = '{CALLS[1]}' AND kind = 'ended' SETTINGS mutations_sync = 2"
    )
    report = verify(product, "--only", "history", "--only", "views", "--only", "status", code=1)
    found = found_in(report)
    assert set(found) == {
        "history.missing", "history.differs", "views.differs", "status.differs",
    }  # fmt: skip
    assert found["history.missing"] == [at[3]]
    assert {place.partition("/")[0] for place in found["history.differs"]} == {
        "asr.transcripts", "calls.events",
    }  # fmt: skip
    assert found["views.differs"] == [f"dialogue.turns/{partition}"]


def test_a_rebuild_mends_the_tables(product: Settings) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "cli.main", "rebuild", "history", "--yes"],
        capture_output=True, text=True, timeout=300, check=False, cwd=root(),
        env=environment.of_services(product),
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    report = verify(product, "--only", "history", "--only", "views", "--only", "status", code=0)
    assert found_in(report) == {}
