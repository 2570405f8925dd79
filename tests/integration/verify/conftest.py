"""The whole product, started once for these tests."""

from collections.abc import Iterator

import pytest

from ringlog.settings import Settings
from stack import control
from tests.integration.conftest import free_port_shift


@pytest.fixture(scope="package")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a complete running stack of its own, with two edges."""
    config = Settings(home=tmp_path_factory.mktemp("verify"), port_shift=free_port_shift(), edges=2)
    control.up(config, detach=True, tied=True)
    try:
        yield config
    finally:
        control.down(config)
