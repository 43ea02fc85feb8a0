"""One ground for all worlds of a module."""

from collections.abc import Iterator

import pytest

from tests.faults.ground import Ground
from tests.faults.play import play


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    """Ready: what is done once per process is done."""
    with Ground() as ready:
        play(ready, "brief", {})
        yield ready
