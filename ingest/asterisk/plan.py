"""How one Asterisk is reached and what it dials."""

import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from ingest.addresses import rtp_host
from ingest.asterisk.media import MediaKind
from ingest.asterisk.names import app_of
from ingest.asterisk.tls import tls_of
from ingest.trunks.plan import SitePlan, SwitchPlan, TrunkPlan
from ringlog.settings import Settings


@dataclass(frozen=True, slots=True)
class AsteriskPlan:
    """Where an Asterisk is, and how it dials.

    `endpoint` is dialled for a call that names none, `transfer` for the target of a transfer:
    {number} is E.164, {digits} the same without +, {target} what the script says. `formats` limits
    the codecs that a called party is offered. `rtp_host`: where Asterisk takes RTP, if not at the
    address that it names. `media`: how sound comes; `host` is where Asterisk reaches an AudioSocket
    port of ours, 0 takes a free one; `websocket_client` is a section of `websocket_client.conf`.
    `json_control`: whether chan_websocket is asked to speak JSON. `tls` is for a URL `https:`.
    `devices`: our trunks by the device that they dial, for instance `PJSIP/carrier-a`.
    """

    name: str
    url: str
    user: str
    password: SecretStr
    app: str
    endpoint: str = ""
    transfer: str = ""
    formats: str = ""
    rtp_host: str = ""
    media: MediaKind = "rtp"
    bind_host: str = "127.0.0.1"
    host: str = "127.0.0.1"
    audiosocket_port: int = 0
    websocket_client: str = "ringlog-media"
    json_control: bool = False
    tls: ssl.SSLContext | None = field(default=None, compare=False)
    devices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def asterisk_plan(
    config: Settings,
    edge_id: str,
    name: str,
    plan: SwitchPlan,
    trunks: Mapping[str, TrunkPlan] | None = None,
) -> AsteriskPlan:
    """One switch of a plan with its trunks; what it leaves out is as in the settings RINGLOG_ARI_*.

    Raises ValueError for a password or a file of authorities that is not there, and for control
    messages of another form.
    """
    options = plan.options
    control = options.get("control", "text")
    if control not in ("text", "json"):
        raise ValueError(f"{name}: control is text or json, not {control!r}")
    endpoint = options.get("endpoint", config.ari_endpoint)
    return AsteriskPlan(
        name,
        plan.url,
        plan.user or config.ari_user,
        plan.password() if plan.names_password else site_password(config),
        app_of(edge_id),
        endpoint,
        options.get("transfer", config.ari_transfer),
        options.get("formats", config.ari_formats),
        options.get("rtp_host", config.ari_rtp_host),
        plan.media,
        config.bind_host,
        rtp_host(config),
        config.ari_audiosocket_port,
        options.get("websocket_client", "ringlog-media"),
        control == "json",
        tls_of(plan.url, options.get("ca_file", str(config.ari_ca_file or ""))),
        _devices({n: trunk.endpoint or endpoint for n, trunk in (trunks or {}).items()}),
    )


def asterisks_of(
    config: Settings, site: SitePlan, name: str | None
) -> list[tuple[AsteriskPlan, list[str]]]:
    """The Asterisks to check, with the endpoints of `pjsip.conf` that their trunks dial.

    `name` is a switch or a trunk. Raises ValueError for one that is not there.
    """
    wanted = [n for n, switch in site.switches.items() if switch.type == "asterisk"]
    if name is not None:
        of_trunk = site.trunks[name].switch if name in site.trunks else name
        if of_trunk not in wanted:
            known = ", ".join([*wanted, *site.trunks])
            raise ValueError(f"{name} is no Asterisk, nor a trunk of one; there are: {known}")
        wanted = [of_trunk]
    found: list[tuple[AsteriskPlan, list[str]]] = []
    for switch in wanted:
        plan = asterisk_plan(config, config.edge_id, switch, site.switches[switch])
        templates = [
            trunk.endpoint or plan.endpoint
            for n, trunk in site.trunks.items()
            if trunk.switch == switch and name in (None, switch, n)
        ]
        found.append((plan, _endpoints(templates)))
    return found


def _endpoints(templates: Iterable[str]) -> list[str]:
    """The names after the @ of `PJSIP/…@name`."""
    return list(dict.fromkeys(name for name in map(_endpoint, templates) if name))


def _endpoint(template: str) -> str:
    found = re.fullmatch(r"PJSIP/[^@/]*@([^@/]+)", template)
    return found[1] if found else ""


def _devices(templates: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Trunks by their device, from each trunk's endpoint. An address in the endpoint itself is no
    contact that Asterisk tries, so such a trunk has none."""
    found: dict[str, tuple[str, ...]] = {}
    for trunk, template in templates.items():
        if name := _endpoint(template):
            device = f"PJSIP/{name}"
            found[device] = (*found.get(device, ()), trunk)
    return found


def site_password(config: Settings) -> SecretStr:
    """The password of the settings; raises ValueError when it cannot be read."""
    return _password(config.ari_password, config.ari_password_file)


def _password(given: SecretStr | None, file: Path | None) -> SecretStr:
    if given is not None:
        return given
    if file is None:
        raise ValueError("set RINGLOG_ARI_PASSWORD_FILE or RINGLOG_ARI_PASSWORD")
    try:
        return SecretStr(file.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"RINGLOG_ARI_PASSWORD_FILE: {error}") from None
