"""The same running services as dispatch's tests use."""

from tests.integration.dispatch.conftest import services, world

__all__ = ["services", "world"]
