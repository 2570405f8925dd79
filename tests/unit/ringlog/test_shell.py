"""Settings, logs, command line: the shared shell without services."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from click.testing import CliRunner

from cli.campaigns import law
from cli.config import config
from cli.main import cli
from ringlog.health import Health, add_routes
from ringlog.log import mask_phones
from ringlog.settings import Settings


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("called +86 138 0000 1234", "called ***********34"),
        ("called 13800001234.", "called *********34."),
        ("offset 1234", "offset 1234"),
        ("call 1c6ab012-0000-5000-8000-000000000001", "call 1c6ab012-0000-5000-8000-000000000001"),
    ],
)
def test_phone_numbers_are_masked(text: str, masked: str) -> None:
    assert mask_phones(text) == masked


def test_log_lines_are_json_and_masked() -> None:
    code = (
        "from ringlog import log; import logging; log.configure('edge');"
        "log.logger('a').info('dialing', phone='+8613800001234', call_id='c');"
        "logging.getLogger('b').warning('plain %s', 'text')"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    first, second = (json.loads(line) for line in out.stdout.splitlines())
    assert first["phone"] == "***********34"
    assert (first["service"], first["event"], first["level"]) == ("edge", "dialing", "info")
    assert (second["service"], second["event"]) == ("edge", "plain text")


def test_ports_shift_together() -> None:
    a, b = Settings(), Settings(port_shift=500)
    assert b.metrics_port_of("asr") - a.metrics_port_of("asr") == 500
    assert b.kafka_bootstrap.endswith(str(a.kafka_port + 500))
    assert b.rtp_ports[0] % 2 == 0
    odd = Settings(port_shift=7).rtp_ports
    assert not set(a.browser_ports) & set(a.rtp_ports) and len(a.browser_ports) == 499
    assert odd[0] % 2 == 0 and len(odd) in (len(a.rtp_ports) - 1, len(a.rtp_ports))


def test_config_check_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGLOG_API_PORT", "19000")
    result = CliRunner().invoke(config, ["check"])
    assert result.exit_code == 1
    assert "api_port" in result.output
    assert "19000" in result.output
    monkeypatch.setenv("RINGLOG_API_PORT", "none")
    result = CliRunner().invoke(config, ["check"])
    assert "RINGLOG_API_PORT" in result.output


def test_a_sites_rules_are_checked_with_file_and_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rule = "  - {id: ours, kind: caller_id, source: our board}\n"
    (tmp_path / "ours.yaml").write_text(f"place: CN\nname: Ours\nrules:\n{rule}", encoding="utf-8")
    result = CliRunner().invoke(law, [str(tmp_path)])
    assert result.exit_code == 0 and "our board" in result.output and "1 rules" in result.output
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "bad.yaml").write_text("place: CN\nname: Bad\nrules: 7\n", encoding="utf-8")
    monkeypatch.setenv("RINGLOG_LAW_RULES", str(bad))
    for command, said in ((law, [str(bad)]), (config, ["check"])):
        result = CliRunner().invoke(command, said)
        assert result.exit_code == 1 and "bad.yaml:3: " in result.output


def test_config_show_masks_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGLOG_API_KEY", "hunter2")
    result = CliRunner().invoke(config, ["show"])
    assert result.exit_code == 0
    assert "hunter2" not in result.output
    lines = {line.split()[0]: line for line in result.output.splitlines()}
    assert " set " in lines["RINGLOG_API_KEY"]
    assert " default " in lines["RINGLOG_CLICKHOUSE_PASSWORD"], "an empty secret is the default"


def test_help_lists_all_commands_and_wrong_usage_is_2() -> None:
    result = CliRunner().invoke(cli, ["--help"])
    assert result.exit_code == 0
    for name in ("up", "tail", "call", "recording", "rebuild", "models"):
        assert f"\n  {name} " in result.output
    assert CliRunner().invoke(cli, ["tail", "no.such.topic"]).exit_code == 2


def test_a_stack_that_does_not_run_is_exit_code_3(monkeypatch: pytest.MonkeyPatch) -> None:
    from ringlog import settings as module

    monkeypatch.setattr(module, "settings", lambda: Settings(kafka="127.0.0.1:9"))
    monkeypatch.setattr("cli.records.settings", lambda: Settings(kafka="127.0.0.1:9"))
    result = CliRunner().invoke(cli, ["topics"])
    assert result.exit_code == 3
    assert "ringlog up" in result.output


def test_a_library_that_repeats_itself_is_heard_once_in_a_while() -> None:
    code = (
        "from ringlog import log; import logging, time; log.configure('robots')\n"
        "def say():\n"
        "    for n in range(50):\n"
        "        logging.getLogger('aiokafka.x').error('cannot connect to %s', n)\n"
        "        logging.getLogger('ours').error('as often as it happens')\n"
        "say(); real = time.monotonic; time.monotonic = lambda: real() + 10; say()"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    events = [json.loads(line)["event"] for line in out.stdout.splitlines()]
    assert events.count("as often as it happens") == 100
    assert [e for e in events if "connect" in e] == ["cannot connect to 0"] * 2


async def test_a_service_whose_work_stands_still_is_stuck() -> None:
    health = Health("asr", ready=True)
    app = web.Application()
    add_routes(app, health)
    async with TestClient(TestServer(app)) as client:
        assert (await client.get("/readyz")).status == 200
        health.beats_within_s = 30.0
        health.beat()
        assert (await client.get("/readyz")).status == 200
        health.beaten_s -= 31
        answer = await client.get("/readyz")
        assert answer.status == 500 and "no turn for 31 s" in await answer.text()
        assert (await client.post("/rebuild")).status == 404
        health.beat()
        assert (await client.get("/readyz")).status == 200
