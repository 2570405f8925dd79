"""What people and programs are told, and how the command ends."""

import io
import json

import pytest
from click.testing import CliRunner
from rich.console import Console

from cli.main import cli
from tests.unit.verify.world import PHONE, World, judge
from verify import report
from verify.check import Result
from verify.cut import Cut
from verify.run import NAMES, VerifyReport, make_checks


def report_of(*results: Result, idle: bool = False, behind: int = 0) -> VerifyReport:
    late = {"history": behind} if behind else {}
    cut = Cut({}, {}, {}, {}, 0, 1_000, frozenset({"routes"}), late)
    return VerifyReport(cut, idle, 10.0, 5, 0.5, 1, results)


def text_of(found: VerifyReport) -> str:
    out = io.StringIO()
    report.show(found, Console(file=out, width=150))
    return out.getvalue()


def test_a_good_report_says_so() -> None:
    world = World()
    world.whole_call()
    results = judge(world, "calls", "permits", idle=True)
    found = report_of(*results.values(), idle=True)
    text = text_of(found)
    assert "everything holds: 5 records up to 1970-01-01T00:00:00.000Z" in text
    assert "NOT" not in text
    assert report.as_json(found)["ok"] is True


def test_a_violation_names_records_and_ids_and_no_number() -> None:
    result = Result("permits", "no dial", "dials", looked_at=3)
    for n in range(report.SHOWN + 2):
        result.violate("no_permit", f"dialled {PHONE}", f"calls.events/1@{n}", call_id=f"c{n}")
    result.violate("no_permit", "dialled", customer_id=PHONE)
    result.notes.append(f"a note with {PHONE}")
    found = report_of(result)
    text = text_of(found)
    assert "NOT everything holds" in text
    assert "permits.no_permit" in text
    assert "calls.events/1@0  call_id=c0" in text
    assert "and 3 more; see --json" in text
    data = json.loads(json.dumps(report.as_json(found)))
    assert data["ok"] is False
    (check,) = data["checks"]
    assert (check["violations"], len(check["found"])) == (13, 13)
    assert check["found"][11] == {
        "rule": "permits.no_permit", "text": "dialled *********01",
        "where": ["calls.events/1@11"], "ids": {"call_id": "c11"},
    }  # fmt: skip
    assert PHONE not in text + json.dumps(data)


def test_a_part_that_is_behind_is_a_violation_only_when_nothing_runs() -> None:
    assert report_of(behind=7).ok
    assert "history: 7 records behind after 10 s" in text_of(report_of(behind=7))
    assert not report_of(behind=7, idle=True).ok


def test_a_check_that_saw_nothing_says_so() -> None:
    assert "there was nothing to look at" in text_of(report_of(Result("calls", "t", "calls")))


def test_only_some_checks() -> None:
    assert [check.name for check in make_checks(("permits", "calls"), None)] == ["calls", "permits"]
    assert [check.name for check in make_checks((), None)] == list(NAMES)


def test_wrong_usage_and_no_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = CliRunner().invoke(cli, ["verify", "--only", "nothing"])
    assert wrong.exit_code == 2
    assert "known: ids, calls" in wrong.output
    monkeypatch.setattr("ringlog.settings.Settings.kafka_bootstrap", "127.0.0.1:1")
    away = CliRunner().invoke(cli, ["verify"])
    assert away.exit_code == 3
    assert "ringlog up -d" in away.output
