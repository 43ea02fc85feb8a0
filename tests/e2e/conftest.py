"""Local workspaces for the end-to-end tests: the same parts, in the same order, as `make demo`. One runs at a time."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from local.workspace import SHORT, Workspace
from tests.e2e.people import People

LOCATIONS = ("my-aurora-location", "my-reports-location")
USUAL = {"ACCESS": 6, "IDLE_GRACE": 2}
"""Grants last long enough for a test to look at them."""
MORE_CATALOGUE = (Path(__file__).parent / "catalogue.toml").read_text(encoding="utf-8")
"""Locations beside the local ones, and people whom no catalogue should list."""


class Workspaces:
    """Starts a workspace when a test needs another one than stands, and ends the one that stands."""

    def __init__(self) -> None:
        self._parts, self._seconds = ExitStack(), dict[str, int]()

    def open(self, seconds: Mapping[str, int]) -> Workspace:
        """The workspace in which things take so many seconds."""
        if self._seconds != seconds:
            self.close()
            started = Workspace(ports=free_ports(), seconds=SHORT | dict(seconds), more_catalogue=MORE_CATALOGUE)
            self._running, self._seconds = self._parts.enter_context(started), dict(seconds)
        return self._running

    def close(self) -> None:
        """End the workspace that stands, if one does."""
        self._seconds = {}
        self._parts.close()


@pytest.fixture(scope="session")
def workspaces() -> Iterator[Workspaces]:
    """The workspaces of this process."""
    standing = Workspaces()
    yield standing
    standing.close()


@pytest.fixture(scope="module")
def workspace(workspaces: Workspaces, request: pytest.FixtureRequest) -> Workspace:
    """A workspace in which things take as long as the module says, in SECONDS, or else as long as usual."""
    return workspaces.open(getattr(request.module, "SECONDS", USUAL))


@pytest.fixture
def people(workspace: Workspace) -> Iterator[People]:
    """What people do in the workspace; afterwards nobody has a window open."""
    yield People(workspace)
    for person in workspace.slack.people:
        workspace.slack.close(person, everything=True)


def free_ports() -> dict[str, int]:
    """A free local port for each location."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in LOCATIONS]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return {location: each.getsockname()[1] for location, each in zip(LOCATIONS, sockets, strict=True)}
