"""Sound by chan_websocket where we are the client: we connect to Asterisk's `/media/ID`."""

import ssl
from collections.abc import Callable
from typing import Final, cast

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from ingest.sound.clock import monotonic_us
from ingest.ws.dialects.asterisk_media import AsteriskMediaDialect
from ingest.ws.dialects.base import Sound, WsRefused
from ingest.ws.direct import DirectClient, Message
from ingest.ws.line import WsLine
from ingest.ws.protocol import WsReader
from ingest.ws.server import MAX_MESSAGE_BYTES, PING_S, PONG_S
from ingest.ws.transport import WsTransport
from ringlog import log

logger = log.logger("ringlog.ingest.asterisk")

OPEN_S: Final = 3.0


async def bring(
    url: str,
    call_id: str,
    find: Callable[[str], WsLine | None],
    tls: ssl.SSLContext | None = None,
) -> None:
    """Connects a call to its media leg, and brings its sound until one of them ends."""
    try:
        async with connect(
            url, subprotocols=[Subprotocol("media")], compression=None, open_timeout=OPEN_S,
            close_timeout=1, max_size=MAX_MESSAGE_BYTES, ping_interval=PING_S,
            ping_timeout=PONG_S, proxy=None, ssl=tls, create_connection=DirectClient,
        ) as made:  # fmt: skip
            connection = cast(DirectClient, made)
            line = find(call_id)
            if line is None:
                return
            session, dialect = line.session, AsteriskMediaDialect()
            now_us = monotonic_us()
            reader, receiver = WsReader(dialect, now_us), line.open(now_us, dialect)
            transport = WsTransport(connection, receiver, session)
            session.attach(transport)

            def take(message: Message) -> None:
                at_us = monotonic_us()
                receiver.alive_us = at_us
                for heard in reader.take(message, at_us):
                    if isinstance(heard, Sound) and session.transport is transport:
                        session.heard(receiver.audio(heard.payload, at_us), at_us)

            try:
                await connection.listen(take)
            finally:
                if session.transport is transport:
                    session.heard(receiver.flush(), monotonic_us())
                line.closed(receiver)
                session.detach(transport)
    except WsRefused as refused:
        logger.info("Asterisk breaks the protocol", call_id=call_id, reason=str(refused))
    except (TimeoutError, OSError, WebSocketException) as error:
        logger.info("a media leg is lost", call_id=call_id, reason=type(error).__name__)
