"""Fetches prompts from the log into a folder of this edge, which is kept within a size.

The lists on `prompts` name the offsets, so nothing is read of `prompts.audio` but what is wanted.
"""

import asyncio
import contextlib
import hashlib
import os
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from ingest.sound.prompt_lists import PromptMissing
from ingest.sound.prompts import SHA256
from ringlog import log
from ringlog.kafka.codec import decode
from ringlog.kafka.sync import ISOLATION
from ringlog.settings import Settings
from schemas.catalogue import KAFKA_MESSAGE_BYTES
from schemas.events import PromptRef, PromptSound
from schemas.wire import Codec, Poison

logger = log.logger("ringlog.ingest.prompts")

SOUNDS: Final = TopicPartition("prompts.audio", 0)
FETCH_S: Final = 5.0
"""Longest wait for one prompt."""

MAX_BYTES: Final = 32 * 2**20
"""Of one prompt: five minutes of 16-bit sound at 48 kHz are less."""


class PromptCache:
    """Files by the digest of their content; the least recently used are removed first."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes

    def find(self, sha256: str) -> Path | None:
        """The file of that content."""
        path = self._folder / f"{sha256}.wav"
        try:
            os.utime(path)
        except OSError:
            return None
        return path

    def put(self, sha256: str, content: bytes) -> Path:
        """Adds a file, whole or not at all, and makes room; raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{sha256}.wav"
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_bytes(content)
        os.replace(part, path)
        self._make_room(path)
        return path

    def _make_room(self, newest: Path) -> None:
        files: list[tuple[int, int, Path]] = []
        for file in self._folder.glob("*.wav"):
            with contextlib.suppress(FileNotFoundError):  # the other process removed it
                found = file.stat()
                files.append((found.st_mtime_ns, found.st_size, file))
        total = sum(size for _, size, _ in files)
        for _, size, file in sorted(files):
            if total <= self._most_bytes:
                return
            if file != newest:
                file.unlink(missing_ok=True)
                total -= size


class PromptFetcher:
    """One consumer that reads single records. `fetch` gives the file of a prompt."""

    def __init__(self, config: Settings, codec: Codec) -> None:
        self._config = config
        self._codec = codec
        self._cache = PromptCache(
            config.home / config.edge_id / "prompts", config.prompt_cache_mb * 2**20
        )
        self._consumer: AIOKafkaConsumer | None = None
        self._turn = asyncio.Lock()

    async def fetch(self, ref: PromptRef) -> Path:
        """The prompt's file, from the folder or the log; raises PromptMissing."""
        if not SHA256.fullmatch(ref.sha256):
            raise PromptMissing(f"the list of {ref.name} names no SHA-256")
        found = await asyncio.to_thread(self._cache.find, ref.sha256)
        if found is not None:
            return found
        if ref.size > MAX_BYTES:
            raise PromptMissing(f"{ref.name} has {ref.size} bytes, more than {MAX_BYTES}")
        async with self._turn:
            found = await asyncio.to_thread(self._cache.find, ref.sha256)
            if found is not None:
                return found
            try:
                async with asyncio.timeout(FETCH_S):
                    content = b"".join([await self._part(offset) for offset in ref.offsets])
                if hashlib.sha256(content).hexdigest() != ref.sha256:
                    raise PromptMissing(f"{ref.name} is not what its list says")
                return await asyncio.to_thread(self._cache.put, ref.sha256, content)
            except (TimeoutError, KafkaError, OSError, Poison) as error:
                why = f"{type(error).__name__}: {error}"
                raise PromptMissing(f"{ref.name} cannot be fetched: {why}") from error

    async def _part(self, offset: int) -> bytes:
        consumer = await self._connected()
        if await consumer.position(SOUNDS) != offset:
            consumer.seek(SOUNDS, offset)
        record = await consumer.getone(SOUNDS)
        if record.offset != offset:
            raise PromptMissing(f"no sound lies at offset {offset} any more")
        event = await decode(self._codec, SOUNDS.topic, record.value)
        assert isinstance(event, PromptSound)
        return event.payload

    async def _connected(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self._config.kafka_bootstrap,
                client_id="edge-prompts",
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="latest",
                isolation_level=ISOLATION,
                max_partition_fetch_bytes=KAFKA_MESSAGE_BYTES,
                request_timeout_ms=10_000,
            )
            await consumer.start()
            consumer.assign([SOUNDS])
            consumer.seek(SOUNDS, 0)
            self._consumer = consumer
        return self._consumer

    async def stop(self) -> None:
        """Disconnects."""
        if self._consumer is not None:
            await self._consumer.stop()
            self._consumer = None
