"""`ringlog task assign`: a file of requests in batches, each with a key of its own."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli import tasks


def test_a_file_goes_out_in_batches_whose_keys_come_from_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, list[Any]]] = []

    def ask(method: str, path: str, body: Any, Idempotency_Key: str) -> Any:  # noqa: N803 # a header's name
        assert (method, path) == ("POST", "/api/tasks/assign")
        seen.append((Idempotency_Key, body["tasks"]))
        return {"items": [{"status": 202, "task": {}} for _ in body["tasks"]]}

    monkeypatch.setattr(tasks, "ask", ask)
    monkeypatch.setattr(tasks, "BATCH", 2)
    file = tmp_path / "requests.jsonl"
    file.write_text('{"a": 1}\n{"a": 2}\n\n{"a": 3}\n')
    for _ in range(2):
        result = CliRunner().invoke(tasks.task, ["assign", str(file)])
        assert result.exit_code == 0, result.output
        assert [json.loads(line)["request"] for line in result.output.splitlines()] == [1, 2, 3]
    assert [body for _, body in seen[:2]] == [[{"a": 1}, {"a": 2}], [{"a": 3}]]
    assert seen[:2] == seen[2:] and seen[0][0] != seen[1][0]
    file.write_text("no json\n")
    result = CliRunner().invoke(tasks.task, ["assign", str(file)])
    assert result.exit_code == 1 and "line 1" in result.output
