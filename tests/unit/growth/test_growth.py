"""What grows with the log and is not mended yet, so that nobody forgets it (streams review 5 to 8).

Each test fails today and is expected to; it fails the suite on the day it passes.
"""

import re
from pathlib import Path
from typing import cast

import pytest

from ringlog.kafka.producer import EventProducer
from ringlog.settings import Settings, root
from schemas.events import Profile
from schemas.ids import root_id
from streams.analytics.options import common
from streams.api.hub import Hub

later = pytest.mark.xfail(
    strict=True, reason="belongs to the growth of recovery and history with the log"
)


@later
def test_streams_5_flinks_state_lies_on_disk_and_is_saved_by_what_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streams.analytics.options._jar_urls", lambda: [])
    settings = common()
    assert settings.get("state.backend.type") == "rocksdb"
    assert settings.get("execution.checkpointing.incremental") == "true"


@later
@pytest.mark.parametrize("view", ["calls", "turns", "transcripts", "tasks"])
def test_streams_6_users_views_read_serving_tables(view: str) -> None:
    """Over raw tables a view keeps all ids of the table in memory, and reads all of it."""
    text = "\n".join(p.read_text() for p in sorted(Path(root(), "sql/migrations").glob("*.sql")))
    newest = re.findall(rf"CREATE OR REPLACE VIEW {view}\b.*?;\n", text, re.S)[-1]
    assert "FROM raw_" not in newest


@later
def test_streams_8_the_api_keeps_a_bounded_number_of_profiles() -> None:
    hub = Hub(Settings(), cast(EventProducer, None))
    profile = Profile(
        event_id=root_id("k"), occurred_at=1, producer="t", customer_id="k", version=1
    )
    for n in range(100_000):
        hub._fold(profile.model_copy(update={"customer_id": str(n)}))
    assert len(hub.profiles) < 100_000
