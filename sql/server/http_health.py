"""Metrics and health over HTTP."""

from __future__ import annotations

from aiohttp import web

from sql.server.engine import Engine
from sql.server.metrics import Metrics


def add_health_routes(app: web.Application, engine: Engine, metrics: Metrics) -> None:
    """Add /metrics, /healthz (the process lives) and /readyz (the engine answers)."""

    async def show_metrics(_: web.Request) -> web.Response:
        metrics.spool_bytes.set(engine.budget.used_bytes)
        return web.Response(body=metrics.text(), headers={"Content-Type": "text/plain"})

    async def ready(_: web.Request) -> web.Response:
        good = await engine.ping()
        return web.Response(status=200 if good else 503, text="ok\n" if good else "not ready\n")

    app.router.add_get("/metrics", show_metrics)
    app.router.add_get("/healthz", say_ok)
    app.router.add_get("/readyz", ready)


async def say_ok(_: web.Request) -> web.Response:
    """ClickHouse's answer to /ping."""
    return web.Response(body=b"Ok.\n", content_type="text/html")
