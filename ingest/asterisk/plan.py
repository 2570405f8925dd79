"""How one Asterisk is reached and what it dials."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from ingest.asterisk.media import MediaKind
from ingest.asterisk.names import app_of
from ingest.trunks.plan import SitePlan, SwitchPlan
from ringlog.settings import Settings


@dataclass(frozen=True, slots=True)
class AsteriskPlan:
    """Where an Asterisk is, and how it dials.

    `endpoint` is dialled for a call that names none, `transfer` for the target of a transfer:
    {number} is E.164, {digits} the same without +, {target} what the script says. `formats` limits
    the codecs that a called party is offered. `rtp_host`: where Asterisk takes RTP, if not at the
    address that it names. `media`: how sound comes; `host` is where Asterisk reaches an AudioSocket
    port of ours, 0 takes a free one; `websocket_client` is a section of `websocket_client.conf`.
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


def asterisk_of(
    config: Settings, name: str, plan: SwitchPlan, edge_id: str | None = None
) -> AsteriskPlan:
    """One of the switches of a site's plan. Its options: `endpoint`, `transfer`, `formats`,
    `rtp_host`; the settings have the defaults.

    Raises ValueError for a password that is not there.
    """
    options = plan.options
    password = (
        plan.password()
        if plan.names_password
        else _password(config.ari_password, config.ari_password_file)
    )
    return AsteriskPlan(
        name,
        plan.url,
        plan.user or config.ari_user,
        password,
        app_of(edge_id or config.edge_id),
        options.get("endpoint", config.ari_endpoint),
        options.get("transfer", config.ari_transfer),
        options.get("formats", config.ari_formats),
        options.get("rtp_host", config.ari_rtp_host),
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
            raise ValueError(f"{name} is no Asterisk, nor a trunk of one; there are: "
                             + ", ".join([*wanted, *site.trunks]))  # fmt: skip
        wanted = [of_trunk]
    return [
        (
            asterisk_of(config, switch, site.switches[switch]),
            _endpoints(
                trunk.endpoint or config.ari_endpoint
                for n, trunk in site.trunks.items()
                if trunk.switch == switch and name in (None, switch, n)
            ),
        )
        for switch in wanted
    ]


def _endpoints(templates: Iterable[str]) -> list[str]:
    """The names after the @ of `PJSIP/…@name`."""
    found = [re.fullmatch(r"PJSIP/[^@/]*@([^@/]+)", template) for template in templates]
    return list(dict.fromkeys(match[1] for match in found if match))


def _password(given: SecretStr | None, file: Path | None) -> SecretStr:
    if given is not None:
        return given
    if file is None:
        raise ValueError("set RINGLOG_ARI_PASSWORD_FILE or RINGLOG_ARI_PASSWORD")
    try:
        return SecretStr(file.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"RINGLOG_ARI_PASSWORD_FILE: {error}") from None
