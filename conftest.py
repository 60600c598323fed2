"""What holds for every run of the tests: each test ends."""

import pytest

SLOW_SECONDS = 1800.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give a slow test half an hour; ``timeout`` of pyproject.toml is for the others."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_SECONDS))
