"""Writes settings.md, metrics.md, problems.md and command-line.md from the code.

`python -m docs.reference.generate` writes; `--check` only says what differs and exits 1.
"""

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from prometheus_client import Counter, Gauge, Histogram
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from cli.main import cli
from ringlog import metrics
from ringlog.problems import BY_KIND, KINDS, KINDS_PATH
from ringlog.settings import METRICS_SERVICES, Settings
from streams.dispatch.policy import SitePolicy
from streams.faust_host import FaustSettings

HERE = Path(__file__).parent
HEAD = "Generated from {source} by `python -m docs.reference.generate`; change that.\n"

PORTS = {
    "kafka_port": "Kafka, for clients",
    "kafka_controller_port": "Kafka's controller",
    "registry_port": "Schema registry",
    "registry_management_port": "Schema registry's own health",
    "clickhouse_native_port": "ClickHouse's native protocol",
    "clickhouse_http_port": "ClickHouse's HTTP interface",
    "api_port": "REST API and live WebSocket",
    "media_ws_port": "Media WebSocket",
    "sim_port": "Simulated carrier of the demo",
    "flink_ui_port": "Flink's REST interface",
}
NOTES = {
    "call_partitions": "the contract has 8, and topics are made with that whatever is set here",
    "fsync": "nothing reads it yet",
    "asr_profile": "its model is loaded before the ASR worker is ready; as shipped, the default is "
    "`demo`, which knows only the words of the demo calls, and the edge warns of it at its start",
    "bind_host": "`0.0.0.0` to be reached from elsewhere; first set `RINGLOG_API_KEY` and "
    "`RINGLOG_CLICKHOUSE_PASSWORD`, and keep strangers out: Kafka, the registry and the metrics "
    "ask for nothing",
}
"""What the description in the code leaves out."""

OUTSIDE = {
    "RINGLOG_CACHE": ("~/.cache/ringlog",
                      "Downloaded JVM parts and the tests' Asterisk, shared by all checkouts"),
    "RINGLOG_MAVEN_REPOSITORY": ("a mirror in Maven's settings, else the central one",
                                 "Repository that JVM parts are downloaded from"),
}  # fmt: skip
"""Variables that are read before, or outside of, the settings."""


def settings_page() -> str:
    """All variables, their defaults and meanings."""
    out = ["# Settings\n", HEAD.format(source="the models of settings")]
    out.append(
        "A setting is an environment variable, or a line `NAME=value` in the file `ringlog.env` of "
        "the checkout; the environment wins. `ringlog config show` prints what is in force, "
        "`ringlog config check` whether it fits together. The stack hands its settings to all of "
        "its services; with services started by hand, give each the same.\n"
    )
    out += ["## The product\n", *_table(Settings, "RINGLOG_")]
    out += ["\nMetrics ports count upwards from `RINGLOG_METRICS_PORT`, plus the shift:\n"]
    out += ["| service | port |", "|---|---|"]
    first = Settings.model_fields["metrics_port"].default
    out += [f"| {name} | {first + n} |" for n, name in enumerate(METRICS_SERVICES)]
    out += ["\n## Dispatch\n", *_table(SitePolicy, "RINGLOG_DISPATCH_")]
    out += ["\n## Profiles and dispatch as consumer groups\n",
            *_table(FaustSettings, "RINGLOG_FAUST_")]  # fmt: skip
    out += ["\n## Outside of the settings\n", "| variable | default | meaning |", "|---|---|---|"]
    out += [f"| `{name}` | {default} | {text} |" for name, (default, text) in OUTSIDE.items()]
    return "\n".join(out) + "\n"


def _table(model: type[BaseSettings], prefix: str) -> Iterator[str]:
    yield "| variable | default | meaning |"
    yield "|---|---|---|"
    for name, field in model.model_fields.items():
        meaning = field.description or f"Port: {PORTS[name]}"
        if name in NOTES:
            meaning += f" ({NOTES[name]})"
        yield f"| `{prefix}{name.upper()}` | {_default(field.default)} | {meaning} |"


def _default(value: object) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value == "":
        return ""
    text = "[" + ", ".join(f'"{v}"' for v in value) + "]" if isinstance(value, tuple) else value
    return f"`{text}`"


def metrics_page() -> str:
    """All metrics with what to do about them, which the source says in comments."""
    out = ["# Metrics\n", HEAD.format(source="`ringlog/metrics.py`")]
    out.append(
        "Every service answers `/metrics` (Prometheus), `/healthz` and `/readyz` on its metrics "
        "port; `endpoints.json` in the home folder has the addresses. A service exports all names; "
        "those of other services stay 0 or empty there. ClickHouse's embedded server has its own: "
        "`ringlog_sql_connections`, `ringlog_sql_running_queries`, `ringlog_sql_query_seconds`, "
        "`ringlog_sql_errors_total`, `ringlog_sql_insert_spool_bytes`.\n"
    )
    out += ["| metric | labels | what it says |", "|---|---|---|"]
    for metric, comment in _metrics():
        name = next(iter(metric.describe())).name + (
            "_total" if isinstance(metric, Counter) else ""
        )
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)
        out.append(f"| `{name}` | {labels} | {comment} |")
    return "\n".join(out) + "\n"


def _metrics() -> Iterator[tuple[Counter | Gauge | Histogram, str]]:
    comment: list[str] = []
    for line in inspect.getsource(metrics).splitlines():
        if line.startswith("# "):
            comment.append(line[2:])
        elif found := re.match(r"([A-Z][A-Z_]+) = (?:Counter|Gauge|Histogram)\(", line):
            yield getattr(metrics, found[1]), " ".join(comment)
        if not line.startswith("#"):
            comment = []


def problems_page() -> str:
    """The kinds of errors, by the address that is their `type`."""
    out = ["# Problems\n", HEAD.format(source="`ringlog/problems.py`")]
    out.append(
        "Errors of the [REST API](rest-api.md) are problem+json (RFC 9457). `type` never changes: "
        "decide by it, and by nothing else. It is an address of the API, which tells the same. "
        "Where the HTTP status says it all, `type` is `about:blank`.\n"
    )
    out += ["| type | title | what to do |", "|---|---|---|"]
    out += [
        f"| `{KINDS_PATH}{kind}` | {title} | {KINDS[title]} |"
        for kind, title in sorted(BY_KIND.items())
    ]
    return "\n".join(out) + "\n"


def command_page() -> str:
    """Every command with its arguments and options."""
    out = ["# Command line\n", HEAD.format(source="the commands themselves")]
    out.append(
        "`ringlog` lies in `.venv/bin`. Exit codes: 0 good, 1 a check failed, 2 wrong usage, 3 the "
        "stack, or the part that is asked, is not running.\n"
    )
    root = click.Context(cli, info_name="ringlog")
    for context in _leaves(root):
        out += _command(context)
    return "\n".join(out).rstrip() + "\n"


def _leaves(context: click.Context) -> Iterator[click.Context]:
    command = context.command
    if not isinstance(command, click.Group):
        yield context
        return
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        yield from _leaves(click.Context(child, info_name=name, parent=context))


def _command(context: click.Context) -> Iterator[str]:
    command = context.command
    usage = " ".join(context.command_path.split() + command.collect_usage_pieces(context))
    yield f"## `{usage}`\n"
    for part in inspect.cleandoc(command.help or "").split("\n\n"):
        if part.startswith("\b"):
            yield "```sh\n" + part.removeprefix("\b").strip() + "\n```\n"
        else:
            yield " ".join(part.split()) + "\n"
    options = [p for p in command.params if isinstance(p, click.Option)]
    for option in options:
        names = ", ".join(f"`{name}`" for name in option.opts)
        record = option.get_help_record(context)
        yield f"- {names}: {(record or ('', ''))[1]}"
    if options:
        yield ""


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "metrics.md": metrics_page,
    "problems.md": problems_page,
    "command-line.md": command_page,
}


def main(arguments: list[str]) -> int:
    """Exit code 1: with `--check`, a page is not what the code says."""
    different = []
    for name, page in PAGES.items():
        path, text = HERE / name, page()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            different.append(name)
            if "--check" not in arguments:
                path.write_text(text, encoding="utf-8")
    for name in different:
        print(f"{name} {'differs from the code' if '--check' in arguments else 'written'}")
    return 1 if different and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
