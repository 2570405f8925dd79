"""A session that a first message opens: what keeps it from being opened is told to the peer."""

from typing import Any, cast

import pytest
from aiokafka.errors import KafkaConnectionError

from ingest.call.actor import CallActor
from ingest.opening import open_by_message
from ingest.sessions import SessionSpec
from ingest.trunks.driver import Medium
from ingest.ws.line import WsLine
from ingest.ws.server import NoSession
from tests.unit.ingest.test_sessions import request, site


class Edge:
    """Opens nothing; raises what it is told to."""

    def __init__(self) -> None:
        self.site = site()
        self.draining = False
        self.known: set[str] = set()
        self.error: Exception | None = None
        self.opened: list[tuple[SessionSpec, Medium]] = []
        self.line = object()

    def knows(self, call_id: str) -> bool:
        return call_id in self.known

    async def open_external(self, spec: SessionSpec, medium: Medium = "rtp") -> CallActor:
        if self.error is not None:
            raise self.error
        self.opened.append((spec, medium))
        return cast(CallActor, type("Actor", (), {"ws": self.line}))


async def test_it_takes_no_port() -> None:
    edge = Edge()
    assert await open_by_message(edge, request()) is cast(WsLine, edge.line)
    assert [medium for _, medium in edge.opened] == ["socket"]


@pytest.mark.parametrize(
    ("wanted", "set_up", "reason", "later"),
    [
        ({}, {"draining": True}, "stopping", True),
        ({}, {"known": {"客户一"}}, "over", False),
        ({}, {"error": KafkaConnectionError()}, "not opened", True),
        ({}, {"error": OSError()}, "not opened", True),
        ({"phone": "110"}, {}, "phone", False),
        ({"playbook": "laon"}, {}, "loan", False),
    ],
)
async def test_what_keeps_it_from_being_opened(
    wanted: dict[str, Any], set_up: dict[str, Any], reason: str, later: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("ingest.opening._ON_ITS_WAY_S", 0.001)
    edge = Edge()
    for name, value in set_up.items():
        setattr(edge, name, value)
    with pytest.raises(NoSession, match=reason) as refused:
        await open_by_message(edge, request(**wanted))
    assert (refused.value.retry_after_s is not None) is later
    assert edge.opened == []
