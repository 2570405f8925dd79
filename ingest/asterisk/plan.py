"""How one Asterisk is reached and what it dials."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from ringlog.settings import Settings


@dataclass(frozen=True, slots=True)
class AsteriskPlan:
    """Where an Asterisk is, and how it dials.

    `endpoint` is dialled for a call that names none, `transfer` for the target of a transfer:
    {number} is E.164, {digits} the same without +, {target} what the script says. `formats` limits
    the codecs that a called party is offered. `rtp_host`: where Asterisk takes RTP, if not at the
    address that it names.
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
