"""Configuration that a usual installation has by itself, for an instance in a folder of its own."""

from pathlib import Path

MODULES = "/usr/lib/x86_64-linux-gnu/asterisk/modules"

EMPTY = ("acl", "ccss", "cel", "features", "manager", "stasis", "udptl")
"""Files that modules want to see, and need nothing in."""

AS_PACKAGED = ("amd", "indications")
"""Files of the package, taken as they are."""

FOLDERS = ("etc", "lib/keys", "lib/sounds", "moh", "db", "spool/recording", "spool/monitor",
           "run", "log", "cache")  # fmt: skip


def texts(base: str, name: str, rtp_ports: range) -> dict[str, str]:
    """Files by name, for an instance whose folder within Asterisk's root is `base`."""
    return {
        "asterisk.conf": _ASTERISK.format(base=base, name=name, modules=MODULES),
        "logger.conf": _LOGGER,
        "rtp.conf": f"[general]\nrtpstart = {rtp_ports[0]}\nrtpend = {rtp_ports[-1]}\n",
        "pjproject.conf": "[startup]\ntype = startup\n",
        "chan_websocket.conf": "[global]\ntype = global\ncontrol_message_format = plain-text\n",
        "cdr.conf": "[general]\nenable = no\n",
        "musiconhold.conf": f"[default]\nmode = files\ndirectory = {base}/moh\n",
    } | {f"{name}.conf": "" for name in EMPTY}


def packaged(root: Path) -> dict[str, str]:
    """Texts of the files that are taken from the package."""
    etc = root / "etc" / "asterisk"
    names = [f"{name}.conf" for name in AS_PACKAGED]
    return {n: (etc / n).read_text(encoding="utf-8") for n in names if (etc / n).exists()}


_ASTERISK = """[directories]
astetcdir => {base}/etc
astmoddir => {modules}
astvarlibdir => {base}/lib
astdbdir => {base}/db
astkeydir => {base}/lib
astdatadir => /usr/share/asterisk
astagidir => /usr/share/asterisk/agi-bin
astspooldir => {base}/spool
astrundir => {base}/run
astlogdir => {base}/log
astcachedir => {base}/cache
[options]
systemname = {name}
verbose = 3
nocolor = yes
hideconnect = yes
maxfiles = 16384
live_dangerously = no
"""

_LOGGER = """[general]
dateformat = %F %T.%3q
[logfiles]
full => notice,warning,error,verbose,security
"""
