"""The sink, the log and the offsets of a test; the sink begins at the beginning of the log."""

from collections.abc import Iterator

import pytest

from ringlog.settings import Settings
from tests.integration.history.support import Log, Offsets, SinkProcess


@pytest.fixture
def log(stack: Settings) -> Iterator[Log]:
    made = Log(stack)
    yield made
    made.close()


@pytest.fixture
def offsets(stack: Settings) -> Iterator[Offsets]:
    made = Offsets(stack)
    made.reset()
    yield made
    made.close()


@pytest.fixture
def sink(stack: Settings, offsets: Offsets) -> Iterator[SinkProcess]:
    made = SinkProcess(stack)
    yield made
    made.close()
