"""`python -m streams.api`: the API process."""

import contextlib
from collections.abc import Awaitable, Callable

from aiohttp import web

from ringlog.api_key import api_key
from ringlog.health import BACKLOG, add_routes, serve
from ringlog.kafka.producer import EventProducer
from ringlog.lifecycle import Lifecycle, run
from ringlog.settings import Settings
from ringlog.tls import Certificate, certificate_of
from streams.api.auth import is_open, middleware
from streams.api.calls import CallRoutes
from streams.api.campaigns import CampaignRoutes
from streams.api.contacts import ContactLog
from streams.api.crm import CrmRoutes
from streams.api.customers import CustomerRoutes
from streams.api.docs_page import DocsRoutes
from streams.api.edge import Edges
from streams.api.fleet import FleetRoutes
from streams.api.history import HistoryRows
from streams.api.hub import Hub
from streams.api.live import LiveRoutes
from streams.api.media import MediaRoutes
from streams.api.openapi import PATH, document
from streams.api.optouts import OptOutRoutes
from streams.api.problems import Problem, problem_middleware
from streams.api.softphone import SoftphoneRoutes, tokens_of
from streams.api.tasks import TaskRoutes
from streams.api.whip import WhipRoutes

MAX_BODY_BYTES = 65_536


async def main(life: Lifecycle) -> None:
    """Serves until told to stop; ready once the last 24 hours are folded."""
    config = life.settings
    producer = EventProducer(config, "api")
    hub = Hub(config, producer)
    internal = web.Application()
    add_routes(internal, life.health)
    life.health.rebuild = hub.refold
    metrics = await serve(internal, config.bind_host, config.metrics_port_of("api"))
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(_clean_up, metrics)
        await life.learn(producer.codec)
        life.health.set_waiting("kafka")
        await stack.enter_async_context(producer)
        await producer.announce()
        public = _application(life, hub, producer)
        life.health.set_waiting("folding the last 24 hours")
        life.spawn(hub.follow(), "hub")
        life.spawn(_when_caught_up(life, hub), "ready")
        runner = await serve(public, config.bind_host, config.port(config.api_port))
        stack.push_async_callback(_clean_up, runner)
        if (certificate := certificate_of(config)) is not None:
            life.spawn(_serve_tls(config, runner, certificate), "tls")
        await life.until_stopped()


async def _serve_tls(config: Settings, runner: web.AppRunner, certificate: Certificate) -> None:
    """The same routes by TLS, at a port of their own: programs on this machine keep the other."""
    context = await certificate.first()
    port = config.port(config.api_tls_port)
    site = web.TCPSite(
        runner, config.bind_host, port, ssl_context=context, reuse_address=True, backlog=BACKLOG
    )
    await site.start()
    await certificate.follow(context)


async def _clean_up(runner: web.AppRunner) -> None:
    with contextlib.suppress(Exception):
        await runner.cleanup()


async def _when_caught_up(life: Lifecycle, hub: Hub) -> None:
    await hub.caught_up.wait()
    life.health.set_ready()


def _application(life: Lifecycle, hub: Hub, producer: EventProducer) -> web.Application:
    config = life.settings
    key, configured = api_key(config)
    history = HistoryRows(config)
    live = LiveRoutes(config, producer)
    tokens, edges = tokens_of(config), Edges(config, hub.fleet)
    app = web.Application(
        client_max_size=MAX_BODY_BYTES,
        middlewares=[problem_middleware, _until_ready(life), middleware(key, configured, tokens)],
    )
    app.add_routes(TaskRoutes(config, hub, producer, history).routes())
    app.add_routes(CallRoutes(config, hub, producer, history).routes())
    app.add_routes(OptOutRoutes(config, hub, producer).routes())
    app.add_routes(CustomerRoutes(config, hub, producer).routes())
    app.add_routes(CrmRoutes(config, producer).routes())
    contacts = ContactLog(config, producer)
    app.add_routes(CampaignRoutes(config, hub, producer, contacts).routes())
    app.add_routes(MediaRoutes(edges).routes())
    app.add_routes(FleetRoutes(hub.fleet, edges).routes())
    app.add_routes(WhipRoutes(edges).routes())
    app.add_routes(SoftphoneRoutes(tokens).routes())
    app.add_routes(DocsRoutes().routes())
    app.add_routes(live.routes())
    described = document()

    async def openapi(_: web.Request) -> web.Response:
        return web.json_response(described)

    app.router.add_get(PATH, openapi)
    app.on_shutdown.append(live.close)
    return app


def _until_ready(life: Lifecycle) -> "web.middleware":  # type: ignore[valid-type] # aiohttp types it as a function
    """Answers 503 until the fold is done: before that, a known idempotency key would look new."""

    @web.middleware
    async def check(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if not life.health.ready and not is_open(request.path):
            raise Problem(503, "Not ready", life.health.waiting_for)
        return await handler(request)

    return check


if __name__ == "__main__":
    run("api", main, own_http=True)
