"""RabbitMQ from Debian's packages, unpacked into the cache: no root, no installation, no service.

Debian's package lists, and apt's signatures, say what is fetched. Erlang's start scripts have their
folder written into them, so it is put right.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from ringlog import jvm
from ringlog.crm.addresses import USER, own_password
from ringlog.settings import Settings

PACKAGES = (
    "rabbitmq-server", "erlang-base", "erlang-asn1", "erlang-crypto", "erlang-public-key",
    "erlang-mnesia", "erlang-runtime-tools", "erlang-ssl", "erlang-eldap", "erlang-ftp",
    "erlang-tftp", "erlang-inets", "erlang-snmp", "erlang-os-mon", "erlang-parsetools",
    "erlang-syntax-tools", "erlang-tools", "erlang-xmerl",
)  # fmt: skip

_ERLANG = Path("usr/lib/erlang")
_FETCH_S = 600
_LONGEST_MESSAGE_BYTES = 1_048_576
_MEMORY = "400MB"
"""RabbitMQ stops publishers when it has this much."""

_RAFT_LOG_BYTES = 33_554_432
"""Messages of quorum queues stay in memory until a log of this size is full: RabbitMQ's own 512 MB
are more than the memory above, so a long queue would stop publishers before it went to disk."""


class NoRabbitMQ(RuntimeError):
    """RabbitMQ cannot be had on this machine; the text says why and what to do instead."""


def folder() -> Path:
    """Where it is unpacked."""
    return jvm.cache_dir().parent / "rabbitmq"


def is_here() -> bool:
    """Whether it is unpacked."""
    return (folder() / _ERLANG / "bin" / "erl").is_file()


def install(report: Callable[[str], None] = print) -> None:
    """Fetches and unpacks it, once a machine (34 MB); raises NoRabbitMQ."""
    if is_here():
        return
    lacking = [name for name in ("apt-get", "dpkg") if shutil.which(name) is None]
    if lacking:
        raise NoRabbitMQ(
            f"RabbitMQ comes from Debian's packages, and there is no {' and no '.join(lacking)} "
            "here: set RINGLOG_CRM_AMQP_URL to a RabbitMQ of yours"
        )
    partial = folder().with_name(f"rabbitmq.{os.getpid()}.part")
    shutil.rmtree(partial, ignore_errors=True)
    packages = partial / "packages"
    packages.mkdir(parents=True)
    report(f"RabbitMQ: {len(PACKAGES)} packages of Debian, 34 MB, into {folder()}")
    try:
        _run(["apt-get", "download", "-q", *PACKAGES], packages)
        for package in sorted(packages.glob("*.deb")):
            _run(["dpkg", "-x", str(package), str(partial)], partial)
        shutil.rmtree(packages)
        _put_right(partial)
        partial.rename(folder())
    except OSError as error:
        if not is_here():  # else another process was first
            raise NoRabbitMQ(f"RabbitMQ could not be unpacked: {error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _run(command: list[str], cwd: Path) -> None:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=_FETCH_S
    )
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise NoRabbitMQ(
            f"{command[0]} failed: {' '.join(last)[:300]}; `apt-get update` first, or set "
            "RINGLOG_CRM_AMQP_URL to a RabbitMQ of yours"
        )


def _put_right(unpacked: Path) -> None:
    erlang = unpacked / _ERLANG
    for name in ("bin/erl", "bin/start"):
        for script in (erlang / name, *erlang.glob(f"erts-*/{name}")):
            if script.is_file() and not script.is_symlink():
                text = script.read_text(encoding="utf-8")
                script.write_text(
                    text.replace("ROOTDIR=/usr/lib/erlang", f"ROOTDIR={folder() / _ERLANG}"),
                    encoding="utf-8",
                )


def home(settings: Settings) -> Path:
    """Folder of its settings and data."""
    return settings.home.absolute() / "rabbitmq"


def ports(settings: Settings) -> dict[int, str]:
    """What it listens on, all on loopback."""
    first = settings.port(settings.crm_amqp_port)
    return {first: "AMQP", first + 1: "Erlang's distribution", first + 2: "epmd"}


def configuration(settings: Settings) -> str:
    """Content of `rabbitmq.conf`."""
    return (
        f"listeners.tcp.1 = 127.0.0.1:{settings.port(settings.crm_amqp_port)}\n"
        f"default_user = {USER}\n"
        f"default_pass = {own_password(settings, 'rabbitmq')}\n"
        f"max_message_size = {_LONGEST_MESSAGE_BYTES}\n"
        f"vm_memory_high_watermark.absolute = {_MEMORY}\n"
        f"raft.wal_max_size_bytes = {_RAFT_LOG_BYTES}\n"
        "disk_free_limit.absolute = 200MB\n"
        "log.console = true\n"
        "log.console.level = warning\n"
        "log.connection.level = error\n"  # each probe of readiness is a connection
        "log.file = false\n"
    )


def prepare(settings: Settings) -> None:
    """Writes its settings; raises SiteKeyError, OSError."""
    base = home(settings)
    base.mkdir(parents=True, exist_ok=True)
    file = base / "rabbitmq.conf"
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(configuration(settings))
    (base / "enabled_plugins").write_text("[].\n")
    (base / "env.conf").write_text("")


def environment(settings: Settings) -> dict[str, str]:
    """Variables of its process."""
    base, unpacked = home(settings), folder()
    server = next(iter(unpacked.glob("usr/lib/rabbitmq/lib/rabbitmq_server-*")), unpacked)
    amqp, distribution, epmd = ports(settings)
    return {
        "PATH": os.pathsep.join(
            [str(unpacked / _ERLANG / "bin"), str(server / "sbin"), "/usr/bin", "/bin"]
        ),
        "HOME": str(base),  # Erlang's cookie
        "RUNNING_UNDER_SYSTEMD": "true",  # else a shell stays in front of it
        "RABBITMQ_CONF_ENV_FILE": str(base / "env.conf"),
        "RABBITMQ_CONFIG_FILE": str(base / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(base / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(base / "data"),
        "RABBITMQ_LOG_BASE": str(base / "log"),
        "RABBITMQ_PID_FILE": str(base / "pid"),
        "RABBITMQ_SCHEMA_DIR": str(base / "schema"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(base / "config"),
        "RABBITMQ_FEATURE_FLAGS_FILE": str(base / "feature_flags"),
        "RABBITMQ_NODENAME": "rabbit@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(amqp),
        "RABBITMQ_DIST_PORT": str(distribution),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(epmd),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none"
        ),
    }


def command() -> list[str]:
    """Command line of the broker."""
    return ["rabbitmq-server"]
