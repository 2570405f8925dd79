"""All settings, in one place, from the environment (`RINGLOG_*`) or `ringlog.env`.

The defaults are the one-machine stack on 127.0.0.1. `ringlog config show` prints what is in force
and where each value came from.
"""

import base64
import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from ringlog.webhooks import keys_of

Port = Annotated[int, Field(ge=1, le=65535)]

_AmqpName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,119}$")]

METRICS_SERVICES = (
    "edge", "asr", "robots-a", "robots-b", "profiles", "dispatch", "history", "analytics", "api",
    "clickhouse", "supervisor", "edge-b", "asr-b", "archive", "edge-2", "edge-2-b", "crm",
    "debezium", "campaigns",
)  # fmt: skip
"""Services in the order of their metrics ports, from `metrics_port` upwards."""


class Settings(BaseSettings):
    """One value per setting; ports are the base value plus `port_shift`."""

    model_config = SettingsConfigDict(
        env_prefix="RINGLOG_", env_file="ringlog.env", extra="ignore", frozen=True
    )

    home: Path = Field(Path(".ringlog"), description="Folder for everything that a run makes")
    bind_host: str = Field("127.0.0.1", description="Address that every listening port binds to")
    edge_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] = Field(
        "edge", description="Name of this machine's edge; no other edge may have it"
    )
    edges: Annotated[int, Field(ge=1, le=2)] = Field(
        1, description="Edges of the one-machine stack; 2 adds edge-2, and they share the RTP ports"
    )
    edge_calls: Annotated[int, Field(ge=0)] = Field(
        0, description="Calls that an edge takes at once; 0: as many as it has RTP ports"
    )
    rtp_host: str = Field(
        "",
        description="Host that far ends send RTP to; empty: bind_host, or this machine's address",
    )
    media_url: str = Field(
        "", description="URL below which clients open media WebSockets; empty: from bind_host"
    )
    edge_takeover_ms: Annotated[int, Field(ge=1_000)] = Field(
        1_500,
        description="Silence after which another edge takes over a lost edge's calls, those that "
        "their switch holds, ms",
    )
    edge_lease_s: Annotated[float, Field(ge=4)] = Field(
        15.0, description="Silence after which another edge ends a lost edge's other calls, s"
    )
    drain_s: Annotated[float, Field(ge=0, le=86_400)] = Field(
        0.0, description="How long running calls may go on when an edge without a spare is stopped"
    )
    prompt_cache_mb: Annotated[int, Field(ge=1)] = Field(
        512, description="Disk for prompts that the edge has fetched from the log, MB"
    )
    control_url: str = Field(
        "",
        description="URL at which the API reaches this edge's control port from another machine; "
        "empty: only from this one",
    )
    port_shift: int = Field(0, description="Added to every default port, for a second stack")
    tenant_id: str = Field("default", description="Tenant stamped on events that name none")
    region: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] = Field(
        "CN", description="Region of numbers without a country code (ISO 3166-1 alpha-2)"
    )
    zone: str = Field(
        "", description="Time zone of times that name none, e.g. Asia/Shanghai; empty: refused"
    )

    law: Literal["basic", "full", "off"] = Field(
        "basic",
        description="Law of calls that no campaign stands behind: basic (numbers, hours, caps, "
        "rest), full (consent, recording and caller id, too), off (opt-outs alone)",
    )
    law_purpose: Literal["marketing", "collection", "service", "survey"] = Field(
        "marketing", description="What these calls are for, as the law asks"
    )
    law_rules: Path | None = Field(
        None, description="Folder of the site's own rules, YAML; they add to ours"
    )

    kafka: str = Field("", description="Bootstrap servers; empty: the stack's own broker")
    registry: str = Field("", description="Registry URL with Confluent's API; empty: the stack's")
    registry_timeout_s: float = Field(5.0, description="Longest wait for one registry answer, s")
    clickhouse_host: str = Field("", description="ClickHouse host; empty: the embedded server")
    clickhouse_user: str = Field("default", description="ClickHouse user")
    clickhouse_password: SecretStr = Field(SecretStr(""), description="ClickHouse password")
    clickhouse_database: str = Field("ringlog", description="ClickHouse database")
    clickhouse_cors_origins: str = Field(
        "", description="Origins whose web pages may ask ClickHouse, spaces between; `*`: all"
    )
    clickhouse_hosts: str = Field(
        "", description="Further names of ClickHouse in a `Host` header, spaces between"
    )

    kafka_port: Port = 19092
    kafka_controller_port: Port = 19093
    registry_port: Port = 18081
    registry_management_port: Port = 18082
    clickhouse_native_port: Port = 19000
    clickhouse_http_port: Port = 18123
    api_port: Port = 18080
    media_ws_port: Port = 18090
    edge_control_port: Port = Field(
        18091,
        description="Edge's control port for the API; loopback only, unless control_url is set",
    )
    api_tls_port: Port = Field(
        18443, description="REST API, WHIP and softphone by TLS, once tls_cert is set"
    )
    sim_port: Port = 18070
    flink_ui_port: Port = 18083
    crm_postgres_port: Port = Field(18432, description="PostgreSQL of the sample CRM")
    crm_amqp_port: Port = Field(18672, description="RabbitMQ; the next two ports are its node's")
    rtp_port_min: Port = Field(20000, description="First RTP port, even")
    rtp_port_max: Port = Field(20998, description="Last RTP port, even")
    metrics_port: Port = Field(19100, description="Metrics port of the first service")

    clean: Literal["off", "auto", "noise", "echo", "noise+echo"] = Field(
        "off",
        description="What is done to a far end's sound before it is logged, where its trunk does "
        "not say: off, noise (suppressed), echo (cancelled), noise+echo, or auto: echo is "
        "cancelled on calls on which one is measured",
    )
    turn_silence_ms: int = Field(500, description="Silence that ends a customer's turn, ms")
    trunks_file: Path | None = Field(
        None, description="The site's trunks; unset: `trunks.yaml` in the home folder, if there"
    )
    ring_back_days: Annotated[int, Field(ge=0, le=90)] = Field(
        3,
        description="How many days back an edge looks at its start for whom a caller was called "
        "by, beyond the last hour",
    )
    asr_profile: str = Field(
        "", description="Recogniser for calls that name none; empty: the registry's `default`"
    )
    robot_death_ms: Annotated[int, Field(ge=300)] | None = Field(
        None,
        description="Silence after which a robot worker counts as dead, ms; unset: 500 with the "
        "stack's own broker, 800 with another",
    )
    recordings_days: Annotated[int, Field(ge=0)] = Field(
        365, description="Days that recordings are kept; 0: for ever"
    )
    api_key: SecretStr | None = Field(None, description="Bearer key of the API; unset: made")
    site_key: SecretStr | None = Field(None, description="HMAC key of opt-out hashes; unset: made")
    tls_cert: Path | None = Field(
        None,
        description="Certificate chain in PEM: with it the media port speaks TLS alone (wss://), "
        "and the API also at api_tls_port; renewed files are taken within 30 s",
    )
    tls_key: Path | None = Field(
        None, description="Its private key in PEM, without a password; unset: in the same file"
    )
    twilio_auth_token: SecretStr | None = Field(
        None, description="Auth token of the Twilio account whose streams and webhooks are served"
    )
    twilio_account_sid: str = Field(
        "", description="SID of the only Twilio account served; empty: any that signs rightly"
    )
    twilio_url: str = Field("https://api.twilio.com", description="URL of Twilio's REST API")
    audiohook_api_key: SecretStr | None = Field(
        None, description="API key that Genesys' AudioHook sends; unset: it is not served"
    )
    audiohook_secret: SecretStr | None = Field(
        None, description="AudioHook's client secret in base64; unset: signatures are not asked for"
    )
    freeswitch: Annotated[str, Field(pattern=r"^$|^[^ ]+:[0-9]{1,5}$")] = Field(
        "", description="host:port of FreeSWITCH's event socket; empty: the simulated carrier dials"
    )
    freeswitch_password: SecretStr = Field(
        SecretStr(""), description="Password of FreeSWITCH's event socket"
    )
    freeswitch_dial: Annotated[str, Field(pattern=r"^[^ ,{}]*(\{(trunk|phone)\}[^ ,{}]*)+$")] = (
        Field(
            "sofia/gateway/{trunk}/{phone}",
            description="FreeSWITCH's endpoint of a call, with {phone}, and {trunk} if need be",
        )
    )
    freeswitch_playback: Literal["raw", "file"] = Field(
        "raw", description="How mod_audio_stream plays: raw from 1.0.3 on, file before"
    )
    ari_url: str = Field(
        "", description="URL of Asterisk's REST interface, http://host:8088; empty: no Asterisk"
    )
    ari_user: str = Field("", description="User of ari.conf")
    ari_password: SecretStr | None = Field(None, description="Its password")
    ari_password_file: Path | None = Field(None, description="File that holds its password")
    ari_ca_file: Path | None = Field(
        None, description="PEM file of who signs the certificate of ari_url; unset: the system's"
    )
    ari_endpoint: str = Field(
        "PJSIP/{number}@carrier",
        description="What Asterisk dials; {number} is E.164, {digits} the same without +",
    )
    ari_transfer: str = Field(
        "", description="What it dials for a transfer's {target}, e.g. Local/{target}@transfers"
    )
    ari_formats: str = Field(
        "",
        description="Codecs that called parties are offered, e.g. alaw,ulaw; empty: as set there",
    )
    ari_media: Literal["rtp", "websocket", "websocket-in", "audiosocket"] = Field(
        "rtp",
        description="How sound comes from Asterisk: RTP, or a socket that Asterisk opens, or (in) "
        "that we open",
    )
    ari_audiosocket_port: Annotated[int, Field(ge=0, le=65_535)] = Field(
        0, description="Port that Asterisk brings sound to by AudioSocket; 0: any free one"
    )
    ari_rtp_host: str = Field(
        "", description="Where Asterisk takes our RTP, if not at the address that it names"
    )
    crm: bool = Field(False, description="Whether the one-machine stack has CRM and bridge")
    crm_mapping: Path | None = Field(
        None, description="Mapping file of the CRM; unset: `crm.yaml` in the home folder"
    )
    crm_database_url: SecretStr = Field(
        SecretStr(""),
        description="postgresql:// URL of the CRM's database to capture; empty: the stack's own",
    )
    crm_amqp_url: SecretStr = Field(
        SecretStr(""), description="amqp:// URL of RabbitMQ; empty: the stack's own, with --crm"
    )
    crm_capture_properties: Path | None = Field(
        None, description="Debezium's properties that replace ours, name=value by line"
    )
    crm_capture_jars: Path | None = Field(
        None, description="Folder of further jars for the capture, such as another connector's"
    )
    crm_exchange: _AmqpName = Field(
        "crm", description="Exchange that the CRM's changes come from, with .dead and .results"
    )
    crm_queue: _AmqpName = Field(
        "crm.changes", description="Queue of changes; made as a quorum queue if there is none"
    )
    crm_webhook_secret: SecretStr | None = Field(
        None,
        description="whsec_ secret of the CRM's webhook; two with a space between while one "
        "replaces the other; unset: not served",
    )
    crm_results_exchange: Annotated[
        str, Field(pattern=r"^$|^[A-Za-z0-9][A-Za-z0-9_.:-]{0,119}$")
    ] = Field("", description="Exchange that results are published to; empty: none")
    crm_results_url: Annotated[str, Field(pattern=r"^$|^https?://[^ ]+$")] = Field(
        "", description="URL that results are posted to; empty: none"
    )
    crm_results_secret: SecretStr | None = Field(
        None, description="whsec_ secret that signs them; needed with crm_results_url"
    )
    crm_prefetch: Annotated[int, Field(ge=1, le=10_000)] = Field(
        256, description="Messages that the bridge holds without having acknowledged them"
    )
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR")

    @field_validator("audiohook_secret")
    @classmethod
    def _is_base64(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            base64.b64decode(secret.get_secret_value(), validate=True)  # raises ValueError
        return secret

    @field_validator("crm_webhook_secret", "crm_results_secret")
    @classmethod
    def _has_keys(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            keys_of(secret.get_secret_value())  # raises ValueError
        return secret

    def port(self, base: int) -> int:
        """A base port moved by `port_shift`."""
        return base + self.port_shift

    @property
    def kafka_bootstrap(self) -> str:
        """host:port list of the broker in force."""
        return self.kafka or f"127.0.0.1:{self.port(self.kafka_port)}"

    @property
    def registry_url(self) -> str:
        """URL whose root path speaks Confluent's registry API."""
        if self.registry:
            return self.registry.rstrip("/")
        return f"http://127.0.0.1:{self.port(self.registry_port)}/apis/ccompat/v7"

    @property
    def clickhouse_native(self) -> tuple[str, int]:
        """(host, port) of ClickHouse's native protocol."""
        return self.clickhouse_host or "127.0.0.1", self.port(self.clickhouse_native_port)

    @property
    def clickhouse_http(self) -> str:
        """URL of ClickHouse's HTTP interface."""
        host = self.clickhouse_host or "127.0.0.1"
        return f"http://{host}:{self.port(self.clickhouse_http_port)}"

    @property
    def api_url(self) -> str:
        """URL of the REST API."""
        return f"http://127.0.0.1:{self.port(self.api_port)}"

    @property
    def media_ws_url(self) -> str:
        """URL below which media WebSockets are opened, as seen from this machine."""
        local = f"{self.media_scheme}://127.0.0.1:{self.port(self.media_ws_port)}/media"
        return self.media_url.rstrip("/") or local

    @property
    def media_scheme(self) -> str:
        """`wss` where the media port speaks TLS, else `ws`."""
        return "ws" if self.tls_cert is None else "wss"

    @property
    def edge_control_url(self) -> str:
        """URL of the serving edge's control port."""
        return (
            self.control_url.rstrip("/") or f"http://127.0.0.1:{self.port(self.edge_control_port)}"
        )

    @property
    def sim_url(self) -> str:
        """URL of the simulated carrier."""
        return f"http://127.0.0.1:{self.port(self.sim_port)}"

    @property
    def has_crm(self) -> bool:
        """Whether the service `crm` belongs to this site."""
        return self.has_amqp or bool(self.crm_results_url)

    @property
    def has_amqp(self) -> bool:
        """Whether the CRM's changes come by RabbitMQ."""
        return self.crm or bool(self.crm_amqp_url.get_secret_value())

    @property
    def captures_crm(self) -> bool:
        """Whether the rows of a CRM's database are captured here."""
        return self.crm or bool(self.crm_database_url.get_secret_value())

    @property
    def robot_death_s(self) -> float:
        """Silence after which a robot worker counts as dead: longer with a network between."""
        return (self.robot_death_ms or (800 if self.kafka else 500)) / 1000

    @property
    def rtp_ports(self) -> range:
        """Even ports that the edge may bind for RTP."""
        first = self.port(self.rtp_port_min)
        return range(first + first % 2, self.port(self.rtp_port_max) + 1, 2)

    @property
    def edge_capacity(self) -> int:
        """Calls that this edge takes at once."""
        return self.edge_calls or len(self.rtp_ports)

    @property
    def browser_ports(self) -> range:
        """Odd ports between them, for browsers: no RTCP has ports of its own here (RFC 5761)."""
        return range(self.rtp_ports.start + 1, self.port(self.rtp_port_max) + 1, 2)

    def metrics_port_of(self, service: str) -> int:
        """Metrics port of a service; raises ValueError for an unknown one."""
        return self.port(self.metrics_port) + METRICS_SERVICES.index(service)

    @property
    def logs_dir(self) -> Path:
        """Folder of `<service>.jsonl` log files."""
        return self.home / "logs"

    @property
    def prompts_dir(self) -> Path:
        """Folder of content-addressed prompt audio."""
        return self.home / "prompts"

    @property
    def recordings_dir(self) -> Path:
        """Folder of archived recordings."""
        return self.home / "recordings"

    @property
    def endpoints_file(self) -> Path:
        """JSON of the addresses of a running stack."""
        return self.home / "endpoints.json"

    @property
    def pids_file(self) -> Path:
        """JSON of the process ids of a running stack."""
        return self.home / "pids.json"


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The process's settings, read once."""
    return Settings()


def root() -> Path:
    """The checkout that this code runs from."""
    return Path(os.path.abspath(__file__)).parent.parent
