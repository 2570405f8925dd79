"""One connection to FreeSWITCH's event socket: log-in, commands in turn, events as they come."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from ingest.freeswitch.esl import EslError, EslEvent, EslMessage, EslParser, command, event_of

CONNECT_S: Final = 5.0
ANSWER_S: Final = 5.0
READ_BYTES: Final = 65_536

EVENTS: Final = (
    "BACKGROUND_JOB CHANNEL_PARK CHANNEL_PROGRESS CHANNEL_PROGRESS_MEDIA CHANNEL_ANSWER "
    "CHANNEL_HANGUP_COMPLETE DTMF CUSTOM mod_audio_stream::play mod_audio_stream::json "
    "sofia::gateway_state"
)


class EslLost(ConnectionError):
    """The connection is lost, or the switch does not let us in; the text says why."""


class EslSocket:
    """After `connect`, `run` reads until the connection is lost, and gives events to `on_event`."""

    def __init__(self, on_event: Callable[[EslEvent], None]) -> None:
        self._on_event = on_event
        self._parser = EslParser()
        self._waiting: deque[asyncio.Future[str]] = deque()
        self._asked = asyncio.Event()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self, host: str, port: int, password: str) -> None:
        """Connects, logs in and asks for events; raises EslLost."""
        try:
            async with asyncio.timeout(CONNECT_S):
                self._reader, self._writer = await asyncio.open_connection(
                    host, port, limit=READ_BYTES
                )
                while not self._asked.is_set():
                    self._take(await self._read())
                for words in (f"auth {password}", f"event plain {EVENTS}"):
                    answered = self._send(command(words))
                    while not answered.done():
                        self._take(await self._read())
                    if not answered.result().startswith("+OK"):
                        raise EslLost("the password is wrong" if words[0] == "a" else "no events")
        except (OSError, TimeoutError, EslError, ValueError) as error:
            self.close()
            raise EslLost(f"{type(error).__name__}: {error}") from None

    async def run(self) -> None:
        """Reads until the connection is lost; then raises EslLost."""
        try:
            while True:
                self._take(await self._read())
        except (OSError, EslError) as error:
            raise EslLost(str(error)) from None
        finally:
            self.close()

    async def api(self, words: str) -> str:
        """The answer to an api command, stripped; raises EslLost, also after 5 s."""
        return await self._ask(command(f"api {words}"))

    async def bgapi(self, words: str, job: str) -> str:
        """Begins a command whose result comes as BACKGROUND_JOB; raises EslLost."""
        return await self._ask(command(f"bgapi {words}", [("Job-UUID", job)]))

    async def _ask(self, data: bytes) -> str:
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._send(data)
        except TimeoutError:
            self.close()  # the answers to come would be another command's
            raise EslLost("no answer") from None

    def _send(self, data: bytes) -> "asyncio.Future[str]":
        if self._writer is None or self._writer.is_closing():
            raise EslLost("not connected")
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._writer.write(data)
        return future

    async def _read(self) -> list[EslMessage]:
        assert self._reader is not None, "connect() first"
        data = await self._reader.read(READ_BYTES)
        if not data:
            raise EslLost("closed by the switch")
        return self._parser.feed(data)

    def _take(self, messages: list[EslMessage]) -> None:
        for message in messages:
            match message.kind:
                case "auth/request":
                    self._asked.set()
                case "command/reply":
                    self._answer(message.headers.get("Reply-Text", ""))
                case "api/response":
                    self._answer(message.body.strip())
                case "text/disconnect-notice" | "text/rude-rejection":
                    raise EslLost("the switch refuses or ends the connection")
                case _ if (event := event_of(message)) is not None:
                    self._on_event(event)

    def _answer(self, text: str) -> None:
        if not self._waiting:
            raise EslError("an answer to no command")
        future = self._waiting.popleft()
        if not future.done():
            future.set_result(text)

    def close(self) -> None:
        """Ends the connection; commands that wait fail."""
        if self._writer is not None:
            self._writer.close()
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(EslLost("the connection is lost"))
                future.exception()  # somebody may no longer wait for it
