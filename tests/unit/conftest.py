"""What holds for all unit tests."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Properties are tried without coverage: it more than doubles the time of a hundred examples,
    and their lines are those of the examples beside them."""
    if not config.pluginmanager.hasplugin("_cov"):
        return
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.no_cover)
