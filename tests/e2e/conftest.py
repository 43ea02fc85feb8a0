"""Local workspaces for the end-to-end tests: the same parts, in the same order, as `make demo`."""

import random
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from local.workspace import SHORT, Workspace
from tests.e2e.people import People
from tests.privileges.judge import Judge
from tests.privileges.midnight import Midnight

LOCATIONS = ("my-aurora-location", "my-reports-location")
USUAL = {"ACCESS": 6, "IDLE_GRACE": 2, "APPROVAL_WAIT": 600}
"""Grants last long enough for a test to look at them, and nobody's request times out while a busy machine gets to it."""
PATIENCE_SECONDS = 15.0
"""How long Slack waits for an answer here. Its own three would test the speed of the machine, which may be busy."""
TICK_SECONDS = 1.0
"""Housekeeping asks AWS ten things at each turn, in every workspace that is open at once."""
MORE_CATALOGUE = (Path(__file__).parent / "catalogue.toml").read_text(encoding="utf-8")
"""Locations beside the local ones, and people whom no catalogue should list."""


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    """Every call to AWS in the module's workspace is judged by the deployed policies."""
    judge = Judge()
    yield judge
    judge.leave_behind()


@pytest.fixture(autouse=True)
def _only_what_policies_allow(judge: Judge) -> Iterator[None]:
    """A refused call fails the test, also where the function gets over it."""
    yield

    assert [] == judge.refusals


@pytest.fixture(scope="module")
def workspace(request: pytest.FixtureRequest, judge: Judge) -> Iterator[Workspace]:
    """A workspace in which things take as long as the module says, in SECONDS, or else as long as usual.

    Beside the local catalogue it has the module's CATALOGUE, or else that of all.

    It ends with its module: other tests of this process have moto for themselves.
    """
    seconds = SHORT | getattr(request.module, "SECONDS", USUAL)
    with Workspace(
        ports=free_ports(),
        seconds=seconds,
        more_catalogue=getattr(request.module, "CATALOGUE", MORE_CATALOGUE),
        authorize=Midnight(judge),
        tick_seconds=TICK_SECONDS,
    ) as running:
        running.slack.request_timeout_seconds = PATIENCE_SECONDS
        yield running


@pytest.fixture
def people(workspace: Workspace) -> Iterator[People]:
    """What people do in the workspace; afterwards nobody has a window open."""
    yield People(workspace)
    for person in workspace.slack.people:
        workspace.slack.close(person, everything=True)


def free_ports() -> dict[str, int]:
    """A free local port for each location, from below those that the system gives to whoever asks for any: it stays free."""
    found: list[int] = []
    while len(found) < len(LOCATIONS):
        port = random.randrange(10_000, 32_000)
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            found.append(port)
    return dict(zip(LOCATIONS, found, strict=True))
