"""What the stack is made of: every service and step, as data, in start order.

A *server* stays up and is restarted when it dies; a *step* runs once to its end. Both start when
all that they need is ready, so independent parts start side by side.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from typing import Literal

from ringlog.settings import METRICS_SERVICES, Settings
from stack import kafka, last_words, postgres, rabbitmq, registry

_SAVEPOINT_GRACE_S = 25.0
"""Flink's savepoint, and then the end of its JVM."""


EDGES = ("edge", "edge-2")
"""Services of the stack's edges, by number; each has a spare with `-b` behind its name."""

_PORT_STEP = 6
"""Between the ports of one edge and those of the next."""

_LONG_SILENCE_S = 90.0
"""Servers that others wait for: a restart costs more than waiting out a long pause."""


class UnknownService(ValueError):
    """A service was named that the stack does not have."""


@dataclass(frozen=True)
class Probe:
    """How readiness is checked: an HTTP address that answers 2xx, or a server (`host:port`) that
    names itself in its own protocol."""

    kind: Literal["http", "kafka", "postgres", "amqp"]
    target: str


@dataclass(frozen=True)
class Service:
    """One part of the stack. `ports` must be free before it starts: port -> what for."""

    name: str
    command: Sequence[str]
    needs: tuple[str, ...] = ()
    probe: Probe | None = None
    ports: Mapping[int, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[], None] | None = None
    on_exit: Callable[[int], None] | None = None
    """Called with the pid of a process that died; it may block, raise and be late."""
    stop_grace_s: float = 10.0
    silence_s: float = 20.0
    """A ready service that gives no answer for this long is stuck, and is restarted."""

    @property
    def is_step(self) -> bool:
        """Whether it runs once to its end."""
        return self.probe is None


def build(settings: Settings) -> list[Service]:
    """All parts that these settings call for, in an order in which they can start.

    A broker, registry or ClickHouse that the settings place elsewhere is not started here.
    """
    parts = [*_servers(settings), *_steps(settings), *_own(settings), *_crm(settings)]
    elsewhere = {
        name
        for name, address in (
            ("kafka", settings.kafka),
            ("registry", settings.registry),
            ("clickhouse", settings.clickhouse_host),
        )
        if address
    }
    return in_order([_without(part, elsewhere) for part in parts if part.name not in elsewhere])


def in_order(parts: Sequence[Service]) -> list[Service]:
    """Every part after what it needs; otherwise as given. Raises graphlib.CycleError."""
    by_name = {part.name: part for part in parts}
    graph = {part.name: part.needs for part in parts}
    return [by_name[name] for name in TopologicalSorter(graph).static_order()]


def select(parts: Sequence[Service], only: set[str] | None) -> list[Service]:
    """The named parts and all that they need; all parts for None. Raises UnknownService."""
    if only is None:
        return list(parts)
    by_name = {part.name: part for part in parts}
    if unknown := only - by_name.keys():
        known = ", ".join(by_name)
        raise UnknownService(f"no such service: {', '.join(sorted(unknown))} (there are: {known})")
    wanted: set[str] = set()
    todo = list(only)
    while todo:
        name = todo.pop()
        if name not in wanted:
            wanted.add(name)
            todo.extend(by_name[name].needs)
    return [part for part in parts if part.name in wanted]


def _without(part: Service, elsewhere: set[str]) -> Service:
    if not elsewhere & set(part.needs):
        return part
    return replace(part, needs=tuple(n for n in part.needs if n not in elsewhere))


def _servers(s: Settings) -> list[Service]:
    native, http = s.port(s.clickhouse_native_port), s.port(s.clickhouse_http_port)
    metrics = s.metrics_port_of("clickhouse")
    secret = s.clickhouse_password.get_secret_value()
    password = ("--password-env", "RINGLOG_CLICKHOUSE_PASSWORD") if secret else ()
    return [
        Service(
            "kafka",
            kafka.command(s),
            probe=Probe("kafka", s.kafka_bootstrap),
            ports={s.port(s.kafka_port): "clients", s.port(s.kafka_controller_port): "controller"},
            prepare=lambda: kafka.prepare(s),
            stop_grace_s=30.0,
            silence_s=_LONG_SILENCE_S,
        ),
        Service(
            "registry",
            registry.command(s),
            probe=Probe("http", f"{s.registry_url}/subjects"),
            ports={
                s.port(s.registry_port): "HTTP",
                s.port(s.registry_management_port): "management",
            },
            prepare=lambda: registry.prepare(s),
            silence_s=_LONG_SILENCE_S,
        ),
        Service(
            "clickhouse",
            _python(
                "sql.server",
                *("--path", str(s.home.absolute() / "clickhouse"), "--host", s.bind_host),
                *("--native-port", str(native), "--http-port", str(http)),
                *("--metrics-port", str(metrics), "--user", s.clickhouse_user),
                *("--database", s.clickhouse_database, *password),
            ),
            probe=Probe("http", f"http://127.0.0.1:{metrics}/readyz"),
            ports={native: "native protocol", http: "HTTP", metrics: "metrics"},
            stop_grace_s=30.0,
            silence_s=_LONG_SILENCE_S,
        ),
    ]


def _steps(s: Settings) -> list[Service]:
    host, port = s.clickhouse_native
    address = ("--host", host, "--port", str(port), "--database", s.clickhouse_database)
    return [
        Service(
            "contract",
            _python("schemas.apply", "--kafka", s.kafka_bootstrap, "--registry", s.registry_url),
            needs=("kafka", "registry"),
        ),
        Service("publish", _python("streams.robots.publish"), needs=("contract",)),
        Service("migrate", _python("sql.migrate", *address), needs=("clickhouse",)),
        *([_trunks()] if (s.trunks_file or s.home / "trunks.yaml").exists() else []),
    ]


def _trunks() -> Service:
    """Publishes the site's carriers and switches; edges take what is published while they run."""
    return Service("trunks", _python("ingest.trunks.publish"), needs=("contract",))


def _own(s: Settings) -> list[Service]:
    def service(
        name: str,
        module: str,
        *arguments: str,
        needs: tuple[str, ...] = ("contract",),
        ports: Mapping[int, str] | None = None,
    ) -> Service:
        return _with_metrics(s, name, module, needs, arguments, ports)

    stored, published = ("contract", "migrate"), ("contract", "publish")
    edges: list[Service] = []
    for number in range(s.edges):
        theirs, name = edge_settings(s, number), EDGES[number]
        ports = {
            theirs.port(theirs.media_ws_port): "media WebSocket",
            theirs.port(theirs.edge_control_port): "control",
        }
        named = () if number == 0 else ("--name", name)
        serving = service(name, "ingest", *named, needs=published, ports=ports)
        spare = service(f"{name}-b", "ingest", *named, "--spare", needs=(name,))
        env = _edge_env(s, theirs)
        grace_s = serving.stop_grace_s + s.drain_s
        edges += [replace(one, env=env, stop_grace_s=grace_s) for one in (serving, spare)]
    return [
        *edges,
        service("asr", "asr_worker"),
        service("asr-b", "asr_worker", "--spare", needs=("asr",)),
        _robots(service("robots-a", "streams.robots", "--name", "a", needs=published), s),
        _robots(service("robots-b", "streams.robots", "--name", "b", needs=published), s),
        service("profiles", "streams.profiles"),
        service("dispatch", "streams.dispatch"),
        service("campaigns", "streams.campaigns"),
        service("history", "streams.history", needs=stored),
        service("archive", "streams.archive", needs=stored),
        replace(service("analytics", "streams.analytics"), stop_grace_s=_SAVEPOINT_GRACE_S),
        service("api", "streams.api", needs=stored, ports={s.port(s.api_port): "REST"}),
    ]


def _crm(s: Settings) -> list[Service]:
    """The bridge to the CRM with what it needs here: database and RabbitMQ may be elsewhere."""
    parts: list[Service] = []
    if s.crm and not s.crm_database_url.get_secret_value():
        port = s.port(s.crm_postgres_port)
        parts += [
            Service(
                "postgres",
                postgres.command(s),
                probe=Probe("postgres", f"127.0.0.1:{port}"),
                ports={port: "PostgreSQL"},
                prepare=lambda: postgres.prepare(s),
                silence_s=_LONG_SILENCE_S,
            ),
            Service("crm-schema", _python("stack.postgres"), needs=("postgres",)),
        ]
    if s.crm and not s.crm_amqp_url.get_secret_value():
        parts.append(
            Service(
                "rabbitmq",
                rabbitmq.command(),
                probe=Probe("amqp", f"127.0.0.1:{s.port(s.crm_amqp_port)}"),
                ports=rabbitmq.ports(s),
                env=rabbitmq.environment(s),
                prepare=lambda: rabbitmq.prepare(s),
                stop_grace_s=20.0,
                silence_s=_LONG_SILENCE_S,
            )
        )
    here = tuple(part.name for part in parts if part.name != "postgres")
    if s.has_crm:
        queue = tuple(name for name in here if name == "rabbitmq")
        parts.append(_with_metrics(s, "crm", "streams.crm", ("contract", *queue)))
    if s.captures_crm:
        parts.append(_with_metrics(s, "debezium", "streams.crm.capture", here))
    return parts


def _with_metrics(
    s: Settings,
    name: str,
    module: str,
    needs: tuple[str, ...],
    arguments: Sequence[str] = (),
    ports: Mapping[int, str] | None = None,
) -> Service:
    """A program of ours, ready when it says so at its metrics port."""
    metrics = s.metrics_port_of(name)
    return Service(
        name,
        _python(module, *arguments),
        needs=needs,
        probe=Probe("http", f"http://127.0.0.1:{metrics}/readyz"),
        ports={metrics: "metrics", **(ports or {})},
    )


def edge_settings(s: Settings, n: int) -> Settings:
    """The settings of the stack's edge number `n`: with more than one, they share out the RTP
    ports, and those after the first have an id, a WebSocket port and a control port of their own,
    reached on this machine."""
    if s.edges == 1:
        return s
    first, ports = s.rtp_port_min, s.rtp_port_max + 2 - s.rtp_port_min
    share = ports // s.edges // 2 * 2
    changes: dict[str, object] = {
        "rtp_port_min": first + n * share,
        "rtp_port_max": first + (n + 1) * share - 2,
    }
    if n > 0:
        changes |= {
            "edge_id": EDGES[n],
            "media_ws_port": s.media_ws_port + _PORT_STEP * n,
            "edge_control_port": s.edge_control_port + _PORT_STEP * n,
            "media_url": "",
            "control_url": "",
        }
    return s.model_copy(update=changes)


def _edge_env(s: Settings, theirs: Settings) -> dict[str, str]:
    """What differs from the stack's settings, for the environment of an edge's processes."""
    before, after = s.model_dump(), theirs.model_dump()
    return {
        f"RINGLOG_{name.upper()}": str(after[name]) for name in after if after[name] != before[name]
    }


def _robots(worker: Service, s: Settings) -> Service:
    """The other worker of the shard takes over at once, instead of waiting for a sign of life."""
    return replace(worker, on_exit=lambda pid: last_words.tell(s, worker.name, pid))


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def endpoints(settings: Settings, parts: Sequence[Service]) -> dict[str, object]:
    """Content of `endpoints.json`: addresses of the running stack, metrics of what runs."""
    host, native = settings.clickhouse_native
    rtp = settings.rtp_ports
    running = {part.name for part in parts} | {"supervisor"}
    return {
        "kafka": settings.kafka_bootstrap,
        "registry": settings.registry_url,
        "clickhouse_native": f"{host}:{native}",
        "clickhouse_http": settings.clickhouse_http,
        "api": settings.api_url,
        "media_ws": settings.media_ws_url,
        "rtp": f"127.0.0.1:{rtp[0]}-{rtp[-1]}",
        "metrics": {
            name: f"http://127.0.0.1:{settings.metrics_port_of(name)}/metrics"
            for name in METRICS_SERVICES
            if name in running
        },
    }
