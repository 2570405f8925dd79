"""The API process against the real broker, registry and ClickHouse."""

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing

import pytest
import urllib3
from click.testing import CliRunner
from websockets.sync.client import connect

from cli.main import cli
from ringlog.clock import now_ms
from ringlog.kafka import sync
from ringlog.kafka.codec import codec_of
from ringlog.settings import Settings
from schemas import ids
from schemas.envelope import Event
from schemas.events import CallEvent, MediaChunk, Profile, TaskEvent
from schemas.text import ms_of

HTTP = urllib3.PoolManager(timeout=60)


@pytest.fixture(scope="module")
def api(stack: Settings) -> Iterator[Settings]:
    process = subprocess.Popen([sys.executable, "-m", "streams.api"], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                url = f"http://127.0.0.1:{stack.metrics_port_of('api')}/readyz"
                if HTTP.request("GET", url, retries=False).status == 200:
                    break
            except urllib3.exceptions.HTTPError:
                pass
            assert process.poll() is None
            time.sleep(0.1)
        yield stack
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def ask(
    config: Settings, method: str, path: str, body: object = None, **headers: str
) -> tuple[int, dict[str, object]]:
    answer = HTTP.request(
        method, config.api_url + path, body=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"}
        | {k.replace("_", "-"): v for k, v in headers.items()},
        retries=False,
    )  # fmt: skip
    return answer.status, json.loads(answer.data) if answer.data else {}


def produce(config: Settings, topic: str, *events: Event) -> None:
    codec = codec_of(config)
    with closing(sync.producer_of(config, "test")) as producer:
        for event in events:
            sync.produce(producer, codec, topic, event)
        producer.flush()


def until(config: Settings, path: str, enough: object) -> dict[str, object]:
    deadline = time.monotonic() + 30
    while True:
        status, body = ask(config, "GET", path)
        if status == 200 and enough(body):  # type: ignore[operator]
            return body
        assert time.monotonic() < deadline, (status, body)
        time.sleep(0.05)


def request_body() -> dict[str, object]:
    return {
        "customer_id": f"k-{uuid.uuid4()}", "phone": "+8613800001234", "campaign_id": "c",
        "pool": "p", "playbook": "promotion", "skills": {"sales": 1},
    }  # fmt: skip


def test_a_key_is_one_task_and_another_body_is_refused(api: Settings) -> None:
    key, body = str(uuid.uuid4()), request_body()
    status, first = ask(api, "POST", "/api/tasks/assign", body, Idempotency_Key=key)
    assert status == 202
    assert first["task_id"] == ids.task_id("default", "/api/tasks/assign", key)
    until(api, f"/api/tasks/{first['task_id']}", lambda b: b["status"] == "queued")
    again = ask(api, "POST", "/api/tasks/assign", body | {"wait_ms": 1}, Idempotency_Key=key)
    assert again == (202, first)
    other = ask(api, "POST", "/api/tasks/assign", body | {"pool": "q"}, Idempotency_Key=key)
    assert other[0] == 409
    requests = [
        r for r in sync.read(api, "tasks.requested")
        if codec_of(api).decode("tasks.requested", r.value).task_id == first["task_id"]
    ]  # fmt: skip
    assert len(requests) == 1


def decided(task: str, kind: str, **fields: object) -> TaskEvent:
    base = {"event_id": ids.event_id(task, kind), "kind": kind, "occurred_at": now_ms(),
            "producer": "test", "task_id": task}  # fmt: skip
    return TaskEvent.model_validate(base | fields)


def test_waiting_returns_the_assignment(api: Settings) -> None:
    key = str(uuid.uuid4())
    task = ids.task_id("default", "/api/tasks/assign", key)
    produce(
        api, "tasks.events",
        decided(task, "assigned", call_id="call-1", robot_id="r-1", attempt=1, profile_version=3),
    )  # fmt: skip
    status, body = ask(
        api, "POST", "/api/tasks/assign", request_body() | {"wait_ms": 20_000}, Idempotency_Key=key
    )
    assert status == 200
    assert body == {"task_id": task, "call_id": "call-1", "robot_id": "r-1",
                    "status": "assigned", "profile_version": 3}  # fmt: skip


def test_a_refusal_says_why(api: Settings) -> None:
    key = str(uuid.uuid4())
    task = ids.task_id("default", "/api/tasks/assign", key)
    produce(api, "tasks.events", decided(task, "refused", reason="no robot has skill x"))
    status, body = ask(
        api, "POST", "/api/tasks/assign", request_body() | {"wait_ms": 20_000}, Idempotency_Key=key
    )
    assert status == 422
    assert body["detail"] == "no robot has skill x"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"phone": "call me"}, "phone"),
        ({"priority": "urgent"}, "priority"),
        ({"wait_ms": -1}, "wait_ms"),
        ({"surprise": 1}, "surprise"),
        ({"deadline": "2001-01-01T00:00:00Z"}, "deadline"),
    ],
)
def test_bad_requests_name_the_field(api: Settings, change: dict[str, object], field: str) -> None:
    status, body = ask(api, "POST", "/api/tasks/assign", request_body() | change)
    assert status == 422
    assert field in str(body["detail"])


def test_what_is_no_json_is_refused(api: Settings) -> None:
    for data, content, status in (
        (b"{", "application/json", 400), (b"{}", "text/plain", 415),
        (b"x" * 3_000_000, "application/json", 413),
    ):  # fmt: skip
        answer = HTTP.request(
            "POST", api.api_url + "/api/tasks/assign", body=data,
            headers={"Content-Type": content}, retries=False,
        )  # fmt: skip
        assert answer.status == status
        assert answer.headers["Content-Type"].startswith("application/problem+json")


def test_a_wrong_key_and_a_foreign_host_are_refused(api: Settings) -> None:
    assert ask(api, "GET", "/api/calls/status", Authorization="Bearer wrong")[0] == 401
    assert ask(api, "GET", "/api/calls/status", Host="evil.example")[0] == 401
    key = (api.home / "api-key").read_text().strip()
    assert ask(api, "GET", "/api/calls/status", Authorization=f"Bearer {key}")[0] == 200
    assert (api.home / "api-key").stat().st_mode & 0o777 == 0o600


def test_a_carriers_reports_become_the_calls_state(api: Settings) -> None:
    call_id = str(uuid.uuid4())
    first = CallEvent(
        event_id=ids.event_id(call_id, "dialing"), kind="dialing", occurred_at=now_ms(),
        producer="test", call_id=call_id, customer_id="k", campaign_id="c", robot_id="r",
        pool="p", task_id="t",
    )  # fmt: skip
    produce(api, "calls.events", first)
    until(api, f"/api/calls/status?call_id={call_id}", lambda b: b["state"] == "dialing")
    report = {"call_id": call_id, "source": "sim", "occurred_at": now_ms()}
    for kind in ("ringing", "answered", "answered"):
        status, body = ask(api, "POST", "/api/calls/status", report | {"kind": kind})
        assert status == 202
    assert body["event_id"] == ids.call_once_id(call_id, "answered")
    ask(api, "POST", "/api/calls/status", report | {"kind": "ended", "cause_q850": 16})
    end = until(api, f"/api/calls/status?call_id={call_id}", lambda b: b["state"] == "ended")
    assert (end["robot_id"], end["customer_id"], end["disposition"]) == ("r", "k", "abandoned")
    assert end["version"] == 4
    page = until(api, "/api/calls/status?state=ended&limit=1", lambda b: b["items"])
    assert page["items"][0]["call_id"] == call_id  # type: ignore[index]
    assert ask(api, "GET", "/api/calls/status?call_id=nobody")[0] in (404, 503)
    door = f"http://127.0.0.1:{api.metrics_port_of('api')}/rebuild"
    assert HTTP.request("POST", door).status == 401, "a web page must not reach it"
    key = {"Authorization": f"Bearer {(api.home / 'api-key').read_text().strip()}"}
    rebuilt = HTTP.request("POST", door, headers=key)
    assert json.loads(rebuilt.data)["calls"] >= 1
    assert ask(api, "GET", f"/api/calls/status?call_id={call_id}")[1] == end


def test_r2_the_view_calls_agrees_with_the_api_in_any_order(api: Settings) -> None:
    history = subprocess.Popen(
        [sys.executable, "-m", "streams.history", "--topics", "calls.events"],
        stdout=subprocess.DEVNULL,
    )
    try:
        at = now_ms() - 90_000
        orders: dict[str, list[tuple[str, int]]] = {
            "a": [("bridged", 5_000), ("answered", 4_000), ("ended", 60_000)],
            "b": [("ended", 60_000), ("answered", 4_000)],
            "c": [("ringing", 2_000), ("dialing", 0), ("ended", 9_000)],
            "d": [("ended", 9_000), ("ended", 8_000)],
            "e": [("answered", 5_000), ("answered", 3_000), ("ended", 1_000)],
        }
        calls = {name: str(uuid.uuid4()) for name in orders}
        for name, reports in orders.items():
            for kind, after_ms in reports:
                report = {"call_id": calls[name], "source": "pbx", "kind": kind,
                          "occurred_at": at + after_ms, "cause_q850": 16}  # fmt: skip
                assert ask(api, "POST", "/api/calls/status", report)[0] == 202
        fields = "state, started_at, answered_at, ended_at, cause_q850, disposition"
        said = {
            name: until(api, f"/api/calls/status?call_id={this}", lambda b: b["state"] == "ended")
            for name, this in calls.items()
        }
        assert {n: s["disposition"] for n, s in said.items()} == {
            "a": "abandoned", "b": "abandoned", "c": "no_answer", "d": "no_answer",
            "e": "abandoned",
        }  # fmt: skip
        for name, this in calls.items():
            query = f"select {fields} from calls where call_id = '{this}'"
            wanted = [said[name][field] for field in fields.split(", ")]
            deadline = time.monotonic() + 30
            while (row := _row(query)) != wanted:
                assert time.monotonic() < deadline, (name, row, wanted)
                time.sleep(0.2)
    finally:
        history.terminate()
        history.wait(20)


def _row(query: str) -> list[object]:
    """A call's row with its times as the API gives them."""
    out = CliRunner().invoke(cli, ["sql", query, "-f", "JSONCompactEachRow"])
    assert out.exit_code == 0, out.output
    if not out.output.strip():
        return []
    state, *times, cause, disposition = json.loads(out.output.splitlines()[0])
    return [state, *(None if at is None else ms_of(at) for at in times), cause, disposition]


def test_an_opt_out_by_the_command_is_listed_and_taken_back(api: Settings) -> None:
    def run(*words: str) -> str:
        done = CliRunner().invoke(cli, ["optout", *words])
        assert done.exit_code == 0, done.output
        return done.output

    made = run("add", "138 0013 8000", "--reason", "asked by letter").strip()
    deadline = time.monotonic() + 10
    while made not in run("list"):
        assert time.monotonic() < deadline
    assert "asked by letter" in run("list")
    run("undo", "+8613800138000", "--reason", "asked to be called")
    while made in run("list"):
        assert time.monotonic() < deadline
    assert CliRunner().invoke(cli, ["optout", "undo", "13800138000"]).exit_code == 1
    assert "emergency" in CliRunner().invoke(cli, ["optout", "add", "110", "--reason", "x"]).output


def test_r1_produce_writes_numbers_as_e164(api: Settings) -> None:
    line = {"event_id": ids.root_id("e164"), "kind": "upserted", "producer": "t", "source": "crm",
            "occurred_at": now_ms(), "customer_id": "e164"}  # fmt: skip
    for phone, code in (("0086 138-0013-8000", 0), ("110", 1)):
        done = CliRunner().invoke(
            cli, ["produce", "customers.changes"], input=json.dumps(line | {"phone": phone})
        )
        assert done.exit_code == code, done.output
    decode = codec_of(api).decode
    changes = [decode("customers.changes", r.value) for r in sync.read(api, "customers.changes")]
    assert [c.phone for c in changes if c.customer_id == "e164"] == ["+8613800138000"]  # type: ignore[attr-defined] # all are changes


def test_a_profile_is_served(api: Settings) -> None:
    customer = f"k-{uuid.uuid4()}"
    for version in (1, 2):
        profile = Profile(
            event_id=ids.root_id(customer, version), occurred_at=now_ms(), producer="test",
            customer_id=customer, version=version, level="member",
        )  # fmt: skip
        produce(api, "customers.profiles", profile)
    body = until(api, f"/api/customers/{customer}/profile", lambda b: b["version"] == 2)
    assert body["level"] == "member"
    assert ask(api, "GET", "/api/customers/nobody/profile")[0] == 404


def test_the_live_websocket_is_tail(api: Settings) -> None:
    call_id = str(uuid.uuid4())
    url = api.api_url.replace("http", "ws") + "/ws/events?topics=calls.events"
    event = CallEvent(
        event_id=ids.event_id(call_id, "dialing"), kind="dialing", occurred_at=1, producer="test",
        call_id=call_id,
    )  # fmt: skip
    produce(api, "calls.events", event)
    with connect(f"{url}&call_id={call_id}&from=beginning") as ws:
        live = json.loads(ws.recv(timeout=30))
    result = CliRunner().invoke(
        cli, ["tail", "calls.events", "--call", call_id, "--from-beginning", "--max", "1", "--json"]
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.output) == live
    assert live["occurred_at"] == "1970-01-01T00:00:00.001Z"


def test_call_show_and_recording_read_the_log(api: Settings, tmp_path: object) -> None:
    call_id = str(uuid.uuid4())
    produce(
        api, "calls.events",
        CallEvent(event_id=ids.call_once_id(call_id, "ended"), kind="ended", occurred_at=1,
                  producer="test", call_id=call_id, disposition="completed"),
    )  # fmt: skip
    chunk = MediaChunk(
        event_id=ids.media_chunk_id(call_id, "customer", 0), kind="chunk", occurred_at=1,
        producer="test", call_id=call_id, leg="customer", asr_profile="demo", turn_silence_ms=500,
        ssrc=1, first_seq=0, rtp_ts=0, leg_start_ts=0, leg_start_ms=0, codec="pcmu", rate_hz=8_000,
        payload=b"\x00" * 800,
    )  # fmt: skip
    produce(api, "media.audio", chunk)
    shown = CliRunner().invoke(cli, ["call", "show", call_id])
    assert shown.exit_code == 0, shown.output
    assert "ended completed" in shown.output
    out = f"{tmp_path}/x.wav"
    written = CliRunner().invoke(cli, ["recording", call_id, out])
    assert written.exit_code == 0, written.output
    assert "0.1 s" in written.output
    assert CliRunner().invoke(cli, ["call", "show", "nobody"]).exit_code == 1


def test_produce_checks_all_lines_before_the_first_is_sent(api: Settings) -> None:
    before = len(list(sync.read(api, "tasks.requested")))
    good = json.dumps({"event_id": ids.root_id("x"), "kind": "cancel", "producer": "t",
                       "occurred_at": "2026-01-01T00:00:00Z", "body_sha256": ""})  # fmt: skip
    bad = CliRunner().invoke(cli, ["produce", "tasks.requested"], input=f"{good}\n{{}}\n")
    assert bad.exit_code == 1
    assert "line 2" in bad.output
    assert len(list(sync.read(api, "tasks.requested"))) == before
    ok = CliRunner().invoke(cli, ["produce", "tasks.requested"], input=f"{good}\n")
    assert ok.exit_code == 0, ok.output
    assert len(list(sync.read(api, "tasks.requested"))) == before + 1
