"""`python -m streams.crm`: changes from the CRM's queue to the log, and results back to the CRM."""

import contextlib
import sys

from ringlog import log
from ringlog.crm.mapping import load_mapping
from ringlog.kafka.producer import EventProducer
from ringlog.lifecycle import Lifecycle, run
from ringlog.settings import settings
from ringlog.yaml_source import InvalidFile
from streams.crm.bridge import Bridge
from streams.crm.outflow import Exchange, Outflow, Webhook

SERVICE = "crm"


async def main(life: Lifecycle) -> None:
    """Runs until told to stop."""
    config = life.settings
    producer = EventProducer(config, SERVICE)
    await life.learn(producer.codec)
    life.health.set_waiting("kafka")
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(producer)
        await producer.announce()
        if config.crm_results_url:
            webhook = Webhook(config)
            stack.push_async_callback(webhook.close)
            life.spawn(Outflow(life, producer, "webhook", webhook.deliver).run(), "webhook")
        if config.crm_results_exchange:
            exchange = Exchange(config)
            stack.push_async_callback(exchange.close)
            life.spawn(Outflow(life, producer, "exchange", exchange.deliver).run(), "exchange")
        if config.has_amqp:
            life.health.set_waiting("RabbitMQ")
            await Bridge(life, load_mapping(config), producer).run()
        else:
            life.health.set_ready()
            await life.until_stopped()
        await life.close()


def _fault() -> str:
    """What is wrong with the settings; empty: nothing."""
    config = settings()
    if config.crm_results_url and config.crm_results_secret is None:
        return "RINGLOG_CRM_RESULTS_URL needs RINGLOG_CRM_RESULTS_SECRET"
    if config.has_amqp:
        try:
            load_mapping(config)
        except InvalidFile as error:
            return f"the mapping is not valid: {error}"
    return ""


if __name__ == "__main__":
    if fault := _fault():
        log.configure(SERVICE, settings().log_level)
        log.logger("streams.crm").error("cannot start", why=fault)
        sys.exit(1)
    run(SERVICE, main)
