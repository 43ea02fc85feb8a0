"""One local workspace for all end-to-end tests: the same parts, in the same order, as `make demo`."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from local.workspace import SHORT, Workspace
from tests.e2e.people import People

LOCATIONS = ("my-aurora-location", "my-reports-location")


@pytest.fixture(scope="package")
def workspace() -> Iterator[Workspace]:
    """A workspace whose grants last long enough for a test to look at them."""
    with Workspace(ports=free_ports(), seconds=SHORT | {"ACCESS": 6, "IDLE_GRACE": 2}) as running:
        yield running


@pytest.fixture
def people(workspace: Workspace) -> People:
    """What people do in the workspace."""
    return People(workspace)


def free_ports() -> dict[str, int]:
    """A free local port for each location."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in LOCATIONS]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return {location: each.getsockname()[1] for location, each in zip(LOCATIONS, sockets, strict=True)}
