"""Content codings of HTTP bodies, in both directions, with bounds on what they unpack to."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

import lz4.frame
import zstandard

from sql.server.errors import CANNOT_DECOMPRESS, UNKNOWN_COMPRESSION_METHOD, ServerError
from sql.server.protocol import compression
from sql.server.protocol.wire import NEED, Buffer

_PIECE_BYTES = 1 << 20
_ZSTD_FEED_BYTES = 1 << 8  # a zstd block unpacks to at most 128 KiB from three bytes
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_GZIP = 16 + zlib.MAX_WBITS
_FAST = 1


class Decoder(Protocol):
    """Turns a body's bytes into plain ones, piece by piece."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what ``data`` unpacks to, in pieces of about a MiB. Raises ServerError."""

    def end(self) -> None:
        """Raise ServerError if the body stopped in the middle."""


class _Plain:
    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data

    def end(self) -> None:
        pass


class _Zlib:
    def __init__(self) -> None:
        self._unpack = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._started = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._started = self._started or bool(data)
        try:
            while data:
                yield self._unpack.decompress(data, _PIECE_BYTES)
                data = self._unpack.unconsumed_tail
                if self._unpack.eof and self._unpack.unused_data:  # a further gzip member
                    data = self._unpack.unused_data
                    self._unpack = zlib.decompressobj(_GZIP_OR_ZLIB)
        except zlib.error as error:
            raise _broken(error) from None

    def end(self) -> None:
        if self._started and not self._unpack.eof:
            raise _broken("the data ends too early")


class _Lz4:
    def __init__(self) -> None:
        self._unpack = lz4.frame.LZ4FrameDecompressor()
        self._started = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._started = self._started or bool(data)
        try:
            while data or not (self._unpack.needs_input or self._unpack.eof):
                if self._unpack.eof:
                    self._unpack = lz4.frame.LZ4FrameDecompressor()
                yield self._unpack.decompress(data, _PIECE_BYTES)
                data = (self._unpack.unused_data or b"") if self._unpack.eof else b""
        except (RuntimeError, EOFError, ValueError) as error:
            raise _broken(error) from None

    def end(self) -> None:
        if self._started and not self._unpack.eof:
            raise _broken("the data ends too early")


class _Zstd:
    def __init__(self) -> None:
        self._unpack = zstandard.ZstdDecompressor().decompressobj()
        self._started = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._started = self._started or bool(data)
        try:
            while data:
                if self._unpack.eof:
                    self._unpack = zstandard.ZstdDecompressor().decompressobj()
                yield self._unpack.decompress(data[:_ZSTD_FEED_BYTES])
                data = self._unpack.unused_data + data[_ZSTD_FEED_BYTES:]
        except zstandard.ZstdError as error:
            raise _broken(error) from None

    def end(self) -> None:
        if self._started and not self._unpack.eof:
            raise _broken("the data ends too early")


class _Frames:
    """ClickHouse's own frames: ``decompress=1``."""

    def __init__(self, frame_bytes: int) -> None:
        self._buffer = Buffer()
        self._frame_bytes = frame_bytes
        self._running = compression.frame(self._buffer, frame_bytes)

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._buffer.feed(data)
        while True:
            try:
                if next(self._running) is NEED:
                    return
            except StopIteration as stop:
                yield stop.value
                self._buffer.compact()
                self._running = compression.frame(self._buffer, self._frame_bytes)

    def end(self) -> None:
        if len(self._buffer):
            raise _broken("the data ends in the middle of a frame")


def decoder(encoding: str, frames: bool, frame_bytes: int) -> Decoder:
    """The decoder for a Content-Encoding. Raises ServerError for one that is not known."""
    if frames:
        return _Frames(frame_bytes)
    match encoding.strip().lower():
        case "" | "identity":
            return _Plain()
        case "gzip" | "x-gzip" | "deflate":
            return _Zlib()
        case "lz4":
            return _Lz4()
        case "zstd":
            return _Zstd()
        case other:
            raise ServerError(
                UNKNOWN_COMPRESSION_METHOD, f"Unknown content encoding {other[:40]!r}"
            )


class Encoder:
    """Packs a body: ``name`` is its Content-Encoding, empty when there is none to tell."""

    def __init__(
        self, name: str, pack: Callable[[bytes], bytes], finish: Callable[[], bytes]
    ) -> None:
        self.name = name
        self.pack = pack
        self.finish = finish


def encoder(accept: str, frames: bool) -> Encoder:
    """The encoder for an Accept-Encoding header, or for ClickHouse's frames (``compress=1``)."""
    if frames:
        return Encoder("", compression.compress, lambda: b"")
    offered = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    if "zstd" in offered:
        zstd = zstandard.ZstdCompressor(level=_FAST).compressobj()
        return Encoder("zstd", zstd.compress, zstd.flush)
    if "lz4" in offered:
        frame = lz4.frame.LZ4FrameCompressor()
        head = [frame.begin()]
        return Encoder(
            "lz4",
            lambda data: _with_head(head, frame.compress(data)),
            lambda: _with_head(head, frame.flush()),
        )
    if "gzip" in offered:
        gzip = zlib.compressobj(_FAST, zlib.DEFLATED, _GZIP)
        return Encoder("gzip", gzip.compress, gzip.flush)
    return Encoder("", lambda data: data, lambda: b"")


def _with_head(head: list[bytes], data: bytes) -> bytes:
    return (head.pop() if head else b"") + data


def _broken(why: object) -> ServerError:
    return ServerError(CANNOT_DECOMPRESS, f"Cannot decompress the body: {why}. (CANNOT_DECOMPRESS)")
