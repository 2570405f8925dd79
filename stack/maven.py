"""The Maven repository that this machine uses, if it names one."""

import os
import re
from pathlib import Path
from xml.etree import ElementTree

_CENTRAL = "central"


def repository() -> str | None:
    """Address from `RINGLOG_MAVEN_REPOSITORY` or a mirror of Maven's settings; None: the default.

    Settings are read in Maven's own order: the user's file, then the installation's.
    """
    named = os.environ.get("RINGLOG_MAVEN_REPOSITORY")
    if named:
        return named.rstrip("/")
    for path in _settings_files():
        if path.is_file():
            mirror = mirror_of_central(path.read_bytes())
            if mirror:
                return mirror
    return None


def mirror_of_central(settings_xml: bytes) -> str | None:
    """URL of the first mirror that stands in for the central repository.

    A file that is not XML has no mirror. `${env.NAME}` in the URL is filled in as Maven does.
    """
    try:
        tree = ElementTree.fromstring(settings_xml)
    except ElementTree.ParseError:
        return None
    for mirror in tree.iterfind(".//{*}mirror"):
        patterns = (mirror.findtext("{*}mirrorOf") or "").strip()
        url = (mirror.findtext("{*}url") or "").strip()
        if url and mirrors_central(patterns):
            filled = re.sub(r"\$\{env\.(\w+)}", lambda m: os.environ.get(m[1], ""), url)
            return filled.rstrip("/")
    return None


def mirrors_central(patterns: str) -> bool:
    """Whether a `mirrorOf` list covers the central repository (which speaks HTTPS)."""
    names = {name.strip() for name in patterns.split(",")}
    if f"!{_CENTRAL}" in names:
        return False
    return bool(names & {"*", _CENTRAL, "external:*"})


def _settings_files() -> list[Path]:
    files = [Path.home() / ".m2" / "settings.xml"]
    homes = filter(None, map(os.environ.get, ("MAVEN_HOME", "M2_HOME")))
    files.extend(Path(home) / "conf" / "settings.xml" for home in homes)
    files.append(Path("/etc/maven/settings.xml"))
    return files
