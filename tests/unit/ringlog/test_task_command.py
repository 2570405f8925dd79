"""`ringlog task assign`: a file of requests in batches, each with a key of its own."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli import tasks
from streams.api.models import BATCH_BYTES

Seen = list[tuple[str, list[Any]]]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Keys and requests of the batches that were sent; a request with `bad` is not taken."""
    found: Seen = []

    def ask(method: str, path: str, body: Any, timeout_s: float, Idempotency_Key: str) -> Any:  # noqa: N803 # a header's name
        assert (method, path) == ("POST", "/api/tasks/assign") and timeout_s > 30
        assert len(json.dumps(body)) < BATCH_BYTES
        found.append((Idempotency_Key, body["tasks"]))
        return {
            "items": [
                {"status": 422, "problem": {}} if "bad" in task else {"status": 202, "task": {}}
                for task in body["tasks"]
            ]
        }

    monkeypatch.setattr(tasks, "ask", ask)
    return found


def test_a_file_goes_out_in_batches_whose_keys_come_from_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: Seen
) -> None:
    monkeypatch.setattr(tasks, "BATCH", 2)
    file = tmp_path / "requests.jsonl"
    file.write_text('{"a": 1}\n{"a": 2}\n\n{"a": 3}\n')
    for _ in range(2):
        result = CliRunner().invoke(tasks.task, ["assign", str(file)])
        assert result.exit_code == 0, result.output
        assert [json.loads(line)["request"] for line in result.output.splitlines()] == [1, 2, 3]
    assert [body for _, body in seen[:2]] == [[{"a": 1}, {"a": 2}], [{"a": 3}]]
    assert seen[:2] == seen[2:] and seen[0][0] != seen[1][0]


@pytest.mark.parametrize(
    "line", ["no json", '"' + "x" * tasks.MAX_REQUEST + '"', '"' + "王" * 3_000 + '"']
)
def test_a_fault_in_any_line_is_told_before_the_first_call_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: Seen, line: str
) -> None:
    monkeypatch.setattr(tasks, "BATCH", 1)
    file = tmp_path / "requests.jsonl"
    file.write_text('{"a": 1}\n' + line)
    result = CliRunner().invoke(tasks.task, ["assign", str(file)])
    assert result.exit_code == 1 and "line 2" in result.output
    assert seen == []


def test_a_mended_file_has_the_keys_of_before_where_the_failure_is_heeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: Seen
) -> None:
    monkeypatch.setattr(tasks, "BATCH", 2)
    file = tmp_path / "requests.jsonl"
    file.write_text('{"a": 1}\n{"bad": 2}\n{"a": 3}\n')
    result = CliRunner().invoke(tasks.task, ["assign", str(file)])
    assert result.exit_code == 1 and "1 of 3 were not taken" in result.output
    key = result.output.partition("--key ")[2].partition(",")[0]
    file.write_text('{"a": 1}\n{"mended": 2}\n{"a": 3}\n')
    result = CliRunner().invoke(tasks.task, ["assign", str(file), "--key", key])
    assert result.exit_code == 0, result.output
    assert [key for key, _ in seen[:2]] == [key for key, _ in seen[2:]]


def test_the_longest_requests_fit_one_batch(tmp_path: Path, seen: Seen) -> None:
    file = tmp_path / "requests.jsonl"
    file.write_text(f'"{"x" * (tasks.MAX_REQUEST - 3)}"\n' * tasks.BATCH)
    result = CliRunner().invoke(tasks.task, ["assign", str(file)])
    assert result.exit_code == 0, result.output
    assert [len(body) for _, body in seen] == [tasks.BATCH]
