"""What the server is told when it starts: addresses, the one user, and every limit."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one client can make this process hold or do.

    Sizes are bytes, times seconds. A client that crosses one gets a ClickHouse error.
    """

    connections: int = 200
    http_connections: int = 400
    http_queries: int = 32
    http_sessions: int = 64
    query_bytes: int = 16 * MIB
    string_bytes: int = MIB  # names, settings' values
    settings: int = 1_000
    frame_bytes: int = 64 * MIB  # one compressed frame, before and after decompression
    block_bytes: int = 256 * MIB  # one Native block, uncompressed
    block_columns: int = 10_000
    insert_bytes: int = 512 * MIB  # one INSERT in its spool
    insert_total_bytes: int = 2_048 * MIB  # all spools together
    insert_flush_bytes: int = 128 * MIB  # a native INSERT is written in pieces of about this size
    handshake_s: float = 10.0
    receive_s: float = 300.0
    idle_s: float = 3_600.0
    shutdown_s: float = 5.0


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """ClickHouse server settings, lowered to fit beside the other processes of one machine."""

    max_server_memory_usage: int = 2_048 * MIB
    max_thread_pool_size: int = 1_000
    cache_bytes: int = 64 * MIB  # each of mark, primary index, … cache
    background_pool_size: int = 2

    def as_query(self) -> str:
        """The settings as chDB's connection string wants them, without the ``?``."""
        small = max(self.cache_bytes // 4, MIB)
        values: dict[str, int] = {
            "implicit_select": 0,
            "max_server_memory_usage": self.max_server_memory_usage,
            "max_thread_pool_size": self.max_thread_pool_size,
            "background_pool_size": self.background_pool_size,
            "background_schedule_pool_size": 8,
            "background_common_pool_size": 2,
            "background_fetches_pool_size": 1,
            "background_move_pool_size": 1,
            "tables_loader_background_pool_size": 2,
            "mark_cache_size": self.cache_bytes,
            "primary_index_cache_size": self.cache_bytes,
            "index_mark_cache_size": small,
            "uncompressed_cache_size": 0,
            "vector_similarity_index_cache_size": small,
            "text_index_tokens_cache_size": small,
            "text_index_header_cache_size": small,
            "text_index_postings_cache_size": self.cache_bytes,
            "unique_key_index_cache_size_bytes": small,
            "unique_key_bitmap_cache_size_bytes": small,
            "parquet_metadata_cache_size": small,
            "iceberg_metadata_files_cache_size": small,
            "paimon_metadata_files_cache_size": small,
            "point_in_polygon_cache_size": small,
            "query_condition_cache_size": small,
            "compiled_expression_cache_size": small,
        }
        return "&".join(f"{name}={value}" for name, value in values.items())


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Everything ``python -m sql.server`` needs. A port of 0 asks the system for a free one."""

    path: Path
    host: str = "127.0.0.1"
    native_port: int = 19000
    http_port: int = 18123
    metrics_port: int | None = None
    user: str = "default"
    password: str = field(default="", repr=False)
    database: str = "ringlog"
    cors_origins: tuple[str, ...] = ()  # web pages of these may ask; ``*``: of any
    allowed_hosts: tuple[str, ...] = ()  # further names of this server in a Host header
    limits: Limits = field(default_factory=Limits)
    engine: EngineSettings = field(default_factory=EngineSettings)
