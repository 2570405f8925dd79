"""The examples, run as a reader would run them, against the running product."""

import asyncio
import subprocess
import sys
import time

from ringlog.settings import Settings, root
from schemas.events import CallEvent
from tests.integration.e2e.outside import (
    events_of,
    finals_of,
    open_session,
    send_rtp,
    spoken,
)

EXAMPLES = root() / "examples"


def run(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        capture_output=True, text=True, timeout=60, check=False, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_they_are_short_and_use_no_code_of_ours() -> None:
    for path in EXAMPLES.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) < 40, path.name
        assert "import schemas" not in text and "import ringlog" not in text
        assert "from schemas" not in text and "from ringlog" not in text


def test_a_call_produced_from_outside_is_a_call(product: Settings) -> None:
    call_id = run("produce_call.py", product.kafka_bootstrap, product.registry_url).strip()
    events = events_of(product, "calls.events", call_id)
    assert [e.kind for e in events] == ["dialing", "answered", "ended"]
    last = events[-1]
    assert isinstance(last, CallEvent)
    assert last.disposition == "completed"
    deadline = time.monotonic() + 30
    host, port = product.clickhouse_native
    while "completed" not in (table := run("query_history.py", f"{host}:{port}")):
        assert time.monotonic() < deadline, table
        time.sleep(0.5)
    assert "came_to" in table


def test_a_topic_is_subscribed_to(product: Settings) -> None:
    opened = open_session(product)
    asyncio.run(send_rtp(opened, spoken(["方便你说"])))
    assert finals_of(product, opened["call_id"])
    printed = run("subscribe.py", product.kafka_bootstrap, product.registry_url, "1")
    assert len(printed.splitlines()) == 1
    assert "partial" in printed or "final" in printed
