"""The site that these tests share."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from ringlog.kafka.producer import EventProducer
from ringlog.kafka.reader import TopicReader
from ringlog.settings import Settings
from streams.robots.publish import apply_robots, playbook_files, publish_playbooks
from tests.integration.robots.scene import WATCHED, Site


@pytest.fixture(scope="module")
def published(stack: Settings) -> Settings:
    apply_robots(stack)
    publish_playbooks(stack, playbook_files())
    return stack


@pytest.fixture
async def site(published: Settings) -> AsyncIterator[Site]:
    async with EventProducer(published, "test-robots") as producer:
        made = Site(published, producer)
        reader = TopicReader(published, producer, WATCHED)
        await reader.start()

        async def watch() -> None:
            async for batch in reader.batches():
                async with made.news:
                    made.read += batch
                    made.news.notify_all()

        task = asyncio.create_task(watch())
        await reader.caught_up.wait()
        try:
            yield made
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await reader.stop()
