"""`python -m ingest`: the telephony edge. With `--spare` a second process that waits to serve.

Both are the same program; the one that holds the seat serves. The spare follows the log all the
time, so after a crash it only has to read the last records: the calls go on from the same ports
(`Edge.start`) and the same sockets, which have buffered the sound of the meantime
(`ingest.failover.handover`).
"""

import asyncio
import socket

import click
from aiohttp import web

from ingest.control import Control
from ingest.edge import Edge, handover_path
from ingest.failover.handover import HandoverReceiver
from ingest.webrtc.calls import BrowserCalls
from ringlog import lifecycle
from ringlog.health import serve
from ringlog.kafka.codec import codec_of
from ringlog.lifecycle import Lifecycle
from ringlog.seat import Seat


async def main(life: Lifecycle) -> None:
    """Follows the log, waits for the seat, then serves until told to stop."""
    config = life.settings
    codec = codec_of(config)
    await life.learn(codec)
    seat = Seat(config.home / config.edge_id / "seat", life.service)
    edge = Edge(life, codec)
    sockets: dict[int, socket.socket] = {}
    try:
        if not seat.take():
            receiver = HandoverReceiver(handover_path(config))
            life.health.detail["role"] = "spare"
            following = life.spawn(_follow(edge), "following")
            if not await _seated(life, seat):
                receiver.close()
                return
            life.health.set_waiting("the log's end")
            life.health.detail["role"] = "serves"
            await following
            sockets = receiver.take_over()
        else:
            life.health.detail["role"] = "serves"
            await edge.follow()
        await _serve(life, edge, seat, sockets)
    finally:
        await life.close()
        await edge.disconnect()


async def _follow(edge: Edge) -> None:
    """What a spare does all the time; it is ready once it knows what the log holds."""
    await edge.follow(spare=True)
    if edge.life.health.detail["role"] == "spare":
        edge.life.health.set_ready()


async def _serve(
    life: Lifecycle, edge: Edge, seat: Seat, sockets: dict[int, socket.socket]
) -> None:
    app = web.Application()
    control = Control(edge)
    control.add_routes(app)
    BrowserCalls(edge, control).add_routes(app)
    config = life.settings
    runner = await serve(app, config.bind_host, config.port(config.edge_control_port))
    try:
        await edge.start(sockets)
        await life.until_stopped()
    finally:
        try:
            await edge.stop(hand_over=seat.has_successor())
        finally:
            await life.close()
            await runner.cleanup()


async def _seated(life: Lifecycle, seat: Seat) -> bool:
    """Waits for the seat; False when told to stop first."""
    taken = asyncio.ensure_future(seat.taken())
    told = asyncio.ensure_future(life.until_stopped())
    await asyncio.wait({taken, told}, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    return not taken.cancel()


@click.command()
@click.option("--name", default="edge", show_default=True, help="Service of this edge")
@click.option("--spare", is_flag=True, help="Run as the service NAME-b, the spare of NAME")
def cli(name: str, spare: bool) -> None:
    """Serve the edge's calls, or wait until the serving process is gone."""
    lifecycle.run(f"{name}-b" if spare else name, main)


if __name__ == "__main__":
    cli()
