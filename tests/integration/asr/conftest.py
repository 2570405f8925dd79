"""The log of the session's stack."""

from collections.abc import Iterator

import pytest

from ringlog.settings import Settings
from tests.integration.asr.log import Log


@pytest.fixture
def log(stack: Settings) -> Iterator[Log]:
    """Writes audio and reads transcripts."""
    made = Log(stack)
    yield made
    made.close()
