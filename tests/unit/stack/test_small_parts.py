"""Back-off, output, ports, environment, the status table."""

import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.stack import parse_only, table
from ringlog.settings import Settings
from stack import environment, ports
from stack.backoff import delay_s, failures_after
from stack.output import ServiceOutput, as_record, for_console
from stack.runner import ServiceStatus

_NOW = datetime(2030, 1, 2, tzinfo=UTC)


def test_delays_double_up_to_a_limit() -> None:
    delays = [delay_s(n) for n in range(1, 12)]
    assert delays[:3] == [0.2, 0.4, 0.8]
    assert delays == sorted(delays)
    assert delay_s(10_000) == delays[-1] == 15.0


def test_a_long_good_run_starts_the_count_anew() -> None:
    assert failures_after(5, lived_s=1.0) == 6
    assert failures_after(5, lived_s=60.0) == 1


def test_own_lines_pass_others_are_wrapped_and_masked() -> None:
    own = as_record("edge", '{"event": "up", "level": "warning", "port": 5}', _NOW)
    assert (own["event"], own["level"], own["service"], own["port"]) == ("up", "warning", "edge", 5)
    jvm = as_record("kafka", "WARN QuorumController - hello", _NOW)
    assert (jvm["level"], jvm["event"]) == ("warning", "QuorumController - hello")
    timed = as_record("clickhouse", "2026-11-24 10:28:55,908 ERROR x gone", _NOW)
    assert (timed["level"], timed["event"]) == ("error", "x gone")
    assert "13800138000" not in as_record("x", "calling 13800138000 now", _NOW)["event"]
    assert as_record("x", "[1, 2]", _NOW)["event"] == "[1, 2]"
    assert as_record("x", "{broken", _NOW)["event"] == "{broken"


def test_console_shows_service_level_and_fields() -> None:
    record = as_record("edge", '{"event": "slow", "level": "warning", "took_s": 2}', _NOW)
    assert for_console(record) == "edge       | WARNING slow took_s=2"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=6))
def test_any_bytes_become_whole_json_lines(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("logs")
    output = ServiceOutput("x", folder, console=False)
    for chunk in chunks:
        output.feed(chunk)
    output.close()
    stored = (folder / "x.jsonl").read_text(encoding="utf-8").splitlines()
    lines = b"".join(chunks).split(b"\n")
    expected = [line for line in lines if line.decode(errors="replace").strip()]
    assert len([json.loads(line) for line in stored]) == len(expected)


def test_percent_signs_are_stored_as_they_are(tmp_path: Path) -> None:
    output = ServiceOutput("x", tmp_path, console=False)
    output.feed(b"100 %s done\n")
    output.close()
    assert json.loads((tmp_path / "x.jsonl").read_text())["event"] == "100 %s done"


def test_an_endless_line_is_cut(tmp_path: Path) -> None:
    output = ServiceOutput("x", tmp_path, console=False)
    for _ in range(24):
        output.feed(b"a" * (1 << 16))
    output.close()
    lengths = [
        len(json.loads(line)["event"]) for line in (tmp_path / "x.jsonl").read_text().splitlines()
    ]
    assert sum(lengths) == 24 << 16
    assert len(lengths) == 2


def test_a_taken_port_is_told_with_its_holder() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not ports.is_free("127.0.0.1", port)
        (message,) = ports.conflicts("127.0.0.1", {port: "kafka: clients"})
        assert f"port {port} (kafka: clients) is held by" in message
        assert f"pid {os.getpid()}" in message
    assert ports.conflicts("127.0.0.1", {port: "kafka: clients"}) == []


def test_settings_survive_the_way_into_another_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    before = Settings.model_validate(
        {"home": "relative", "port_shift": 7, "api_key": "k", "kafka": "b:1"}
    )
    for name, value in environment.as_variables(before).items():
        monkeypatch.setenv(name, value)
    after = Settings()
    assert after.home == tmp_path / "relative"
    assert after.model_dump(exclude={"home"}) == before.model_dump(exclude={"home"})


def test_services_find_java_and_the_interpreters_tools() -> None:
    variables = environment.of_services(Settings())
    java = Path(variables["JAVA_HOME"]) / "bin" / "java"
    assert java.is_file()
    assert variables["PATH"].split(os.pathsep)[1] == str(java.parent)


def test_status_table_and_only_list() -> None:
    text = table([ServiceStatus("kafka", 12, "ready", 1, 61.4, True)])
    assert text.splitlines()[1].split() == ["kafka", "ready", "12", "1", "61", "s"]
    assert parse_only(" a, b,") == {"a", "b"}
    assert parse_only("") is None
