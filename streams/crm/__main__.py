"""`python -m streams.crm`: the bridge from the CRM's queue to the log."""

import sys

from ringlog import log
from ringlog.crm.mapping import load_mapping
from ringlog.kafka.producer import EventProducer
from ringlog.lifecycle import Lifecycle, run
from ringlog.settings import settings
from ringlog.yaml_source import InvalidFile
from streams.crm.bridge import Bridge

SERVICE = "crm"


async def main(life: Lifecycle) -> None:
    """Runs until told to stop."""
    mapping = load_mapping(life.settings)
    producer = EventProducer(life.settings, SERVICE)
    await life.learn(producer.codec)
    life.health.set_waiting("kafka")
    async with producer:
        await producer.announce()
        life.health.set_waiting("RabbitMQ")
        await Bridge(life, mapping, producer).run()


if __name__ == "__main__":
    try:
        load_mapping(settings())
    except InvalidFile as error:
        log.configure(SERVICE, settings().log_level)
        log.logger("streams.crm").error("the mapping is not valid", error=str(error))
        sys.exit(1)
    run(SERVICE, main)
