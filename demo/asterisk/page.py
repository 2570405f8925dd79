"""Asterisk's configuration as `docs/how-to/connect-asterisk.md` prints it, with values of its own.

What a person pastes is what the tests run. A value that the page no longer has is an error, so
that neither can move away from the other unnoticed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ringlog.settings import root

PAGE = "docs/how-to/connect-asterisk.md"
_BLOCK = re.compile(r"^```ini\n; ([\w.]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class TrunkAddress:
    """A carrier's endpoint in `pjsip.conf`, and where it listens for SIP over UDP."""

    name: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Surface:
    """What differs from the page: this instance's addresses, ports and password."""

    http_port: int
    sip_port: int
    password: str
    media_url: str
    trunks: Sequence[TrunkAddress]
    host: str = "127.0.0.1"


def files(page: Path | None = None) -> dict[str, str]:
    """Text of each configuration file that the page prints."""
    text = (page or root() / PAGE).read_text(encoding="utf-8")
    return dict(_BLOCK.findall(text))


def fill(printed: Mapping[str, str], surface: Surface) -> dict[str, str]:
    """The files for one instance. Raises ValueError for a printed value that is not there."""
    wanted = {
        "http.conf": {"bindport = 8088": f"bindport = {surface.http_port}"},
        "ari.conf": {"password = change-me": f"password = {surface.password}"},
        "websocket_client.conf": {"ws://127.0.0.1:18090/media/asterisk": surface.media_url},
        "pjsip.conf": {"bind = 0.0.0.0:5060": f"bind = {surface.host}:{surface.sip_port}"},
    }
    out = dict(printed)
    for name, values in wanted.items():
        for old, new in values.items():
            if old not in out.get(name, ""):
                raise ValueError(f"{PAGE} prints no {old!r} in {name}")
            out[name] = out[name].replace(old, new)
    out["pjsip.conf"] = _with_trunks(out["pjsip.conf"], surface.trunks)
    return out


def _with_trunks(text: str, trunks: Sequence[TrunkAddress]) -> str:
    """The page's two carriers give way to `trunks`, each made of the first one's sections."""
    first, second = text.find("[carrier-a]"), text.find("[carrier-b]")
    if not 0 <= first < second or "sip:198.51.100.11:5060" not in text[first:second]:
        raise ValueError(f"{PAGE} prints no carrier-a before carrier-b in pjsip.conf")
    sections = text[first:second]
    alike = text[second:].replace("carrier-b", "carrier-a").replace("100.12", "100.11")
    if alike.strip() != sections.strip():
        raise ValueError(f"{PAGE}: carrier-b differs from carrier-a in more than name and address")
    made = [
        sections.replace("carrier-a", t.name)
        .replace("198.51.100.11:5060", f"{t.host}:{t.port}")
        .replace("198.51.100.11", t.host)
        for t in trunks
    ]
    return text[:first] + "".join(made)
