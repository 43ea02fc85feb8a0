"""What holds for every test: properties keep no database of their own, so that a checkout may be read-only."""

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("drawbridge", database=None, deadline=None)
settings.load_profile("drawbridge")

pytest_plugins = ["tests.privileges.suite"]

HERE = Path(__file__).parent
LONGEST_FIRST = ("e2e", "drawbridge_network", "adapters", "statemachines", "fuzz")
"""Folders whose files take long: begun last, one of them would run alone while other processes have nothing left to do."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files keep their order within a folder, tests within a file."""
    ranks = {name: rank for rank, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: ranks.get(item.path.relative_to(HERE).parts[0], len(ranks)))
