"""The site that these tests share."""

from collections.abc import AsyncIterator

import pytest

from ringlog.settings import Settings
from streams.robots.publish import apply_robots, playbook_files, publish_playbooks
from tests.integration.robots.scene import Site, open_site


@pytest.fixture(scope="module")
def published(stack: Settings) -> Settings:
    apply_robots(stack)
    publish_playbooks(stack, playbook_files())
    return stack


@pytest.fixture
async def site(published: Settings) -> AsyncIterator[Site]:
    async with open_site(published, "test-robots") as made:
        yield made
