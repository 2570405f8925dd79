"""`python -m ingest`: the telephony edge."""

from aiohttp import web

from ingest.control import Control
from ingest.edge import Edge
from ringlog import lifecycle
from ringlog.health import add_routes, serve
from ringlog.lifecycle import Lifecycle


async def main(life: Lifecycle) -> None:
    """Runs until told to stop."""
    edge = Edge(life)
    app = web.Application()
    add_routes(app, life.health)
    Control(edge).add_routes(app)
    runner = await serve(app, life.settings.bind_host, life.settings.metrics_port_of(life.service))
    try:
        await edge.start()
        await life.until_stopped()
    finally:
        try:
            await edge.stop()
        finally:
            await life.close()
            await edge.disconnect()
            await runner.cleanup()


if __name__ == "__main__":
    lifecycle.run("edge", main, own_http=True)
