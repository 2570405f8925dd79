"""`ringlog config`: the settings in force, and a check of them."""

import json
import os
from typing import TypeVar

import click
from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings

from cli.errors import CheckFailed
from ringlog.law.rules import rule_book
from ringlog.settings import Settings
from ringlog.tls import CertificateUnusable, certificate_of
from ringlog.yaml_source import InvalidFile
from streams.dispatch.policy import SitePolicy

ANY_FREE = 0
"""A port of the system's choice."""


@click.group()
def config() -> None:
    """Show or check the settings (`RINGLOG_*`, or the file `ringlog.env`)."""


S = TypeVar("S", bound=BaseSettings)


def _load(part: type[S]) -> S:
    try:
        return part()
    except ValidationError as error:
        prefix = part.model_config.get("env_prefix", "")
        lines = [
            f"{prefix}{'_'.join(str(p) for p in e['loc']).upper()}: {e['msg']}"
            for e in error.errors(include_url=False)
        ]
        raise CheckFailed("\n".join(lines)) from None


@config.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def show(as_json: bool) -> None:
    """Print every setting; secrets are masked."""
    current = _load(Settings)
    rows = {}
    for name, field in Settings.model_fields.items():
        value = getattr(current, name)
        changed = f"RINGLOG_{name.upper()}" in os.environ or value != field.default
        if isinstance(value, SecretStr):
            value = "********" if value.get_secret_value() else ""
        rows[name] = (value, "set" if changed else "default", field.description or "")
    if as_json:
        click.echo(json.dumps({k: v[0] for k, v in rows.items()}, default=str))
        return
    for name, (value, origin, description) in rows.items():
        click.echo(f"{'RINGLOG_' + name.upper():34}{value!s:28}{origin:9}{description}")


@config.command()
def check() -> None:
    """Check that the settings fit together; exit code 1 when they do not."""
    current = _load(Settings)
    _load(SitePolicy)
    ports: dict[int, str] = {}
    for name in Settings.model_fields:
        if name.endswith("_port") and getattr(current, name) != ANY_FREE:
            port = current.port(getattr(current, name))
            if not 0 < port < 65_536:
                raise CheckFailed(f"{name} + port_shift is {port}: no port")
            if port in ports:
                raise CheckFailed(f"{name} and {ports[port]} are both {port}")
            ports[port] = name
    if current.rtp_port_min % 2 or current.rtp_port_min > current.rtp_port_max:
        raise CheckFailed("rtp_port_min must be even and not above rtp_port_max")
    clash = next((p for p in current.rtp_ports if p in ports), None)
    if clash is not None:
        raise CheckFailed(f"{ports[clash]} {clash} lies among the RTP ports")
    try:
        if (certificate := certificate_of(current)) is not None:
            certificate.context()
    except CertificateUnusable as error:
        raise CheckFailed(str(error)) from None
    if current.tls_key is not None and current.tls_cert is None:
        raise CheckFailed("RINGLOG_TLS_KEY is set, and RINGLOG_TLS_CERT is not")
    try:
        rule_book(current.law_rules)
    except InvalidFile as error:
        raise CheckFailed(f"RINGLOG_LAW_RULES: {error}") from None
    click.echo("settings are good")
