"""The schema registry: Apicurio with its schemas in a file, speaking Confluent's HTTP API."""

from pathlib import Path

from ringlog.jvm import JAVA, Pin, pins
from ringlog.settings import Settings
from stack import jvm

_HEAP_MB = 256


def home(settings: Settings) -> Path:
    """Folder of the registry's database."""
    return settings.home.absolute() / "registry"


def prepare(settings: Settings) -> None:
    """Unpack the program where that has not been done, and make the data folder."""
    home(settings).mkdir(parents=True, exist_ok=True)
    jvm.unpack(_pin(), report=lambda _: None)


def command(settings: Settings) -> list[str]:
    """Command line of the registry.

    An answered registration is on disk (`WRITE_DELAY=0`): an id that was handed out must outlive a
    crash, since events already carry it. The management port, which by default listens on every
    address, is bound as the main one.
    """
    host = settings.bind_host
    options = {
        "apicurio.storage.kind": "sql",
        "apicurio.storage.sql.kind": "h2",
        "apicurio.datasource.url": f"jdbc:h2:file:{home(settings) / 'schemas'};WRITE_DELAY=0",
        "quarkus.http.host": host,
        "quarkus.http.port": str(settings.port(settings.registry_port)),
        "quarkus.management.host": host,
        "quarkus.management.port": str(settings.port(settings.registry_management_port)),
        "quarkus.log.level": "WARN",
        'quarkus.log.category."io.apicurio".level': "WARN",
        "quarkus.log.console.format": "%p [%c{1.}] %m%n%e",
        "quarkus.banner.enabled": "false",
        "java.util.logging.manager": "org.jboss.logmanager.LogManager",
    }
    return [
        JAVA, "-Xms64m", f"-Xmx{_HEAP_MB}m",
        "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
        "-XX:+ExitOnOutOfMemoryError",
        *(f"-D{name}={value}" for name, value in options.items()),
        "-jar", str(jvm.unpacked_dir(_pin()) / "quarkus-run.jar"),
    ]  # fmt: skip


def _pin() -> Pin:
    (pin,) = pins("registry")
    return pin
