"""A stack of this room's own: its tests delete records that others count on."""

from collections.abc import Iterator

import pytest

from ringlog.settings import Settings, settings
from stack import control
from tests.integration.conftest import free_port_shift


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """As the session's; the process's environment names it until the room's last test."""
    home = tmp_path_factory.mktemp("archive-stack")
    config = Settings(home=home, port_shift=free_port_shift())
    control.up(config, only={"contract", "migrate"}, detach=True, tied=True)
    try:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("RINGLOG_HOME", str(home))
            environment.setenv("RINGLOG_PORT_SHIFT", str(config.port_shift))
            settings.cache_clear()
            yield config
    finally:
        settings.cache_clear()
        control.down(config)
