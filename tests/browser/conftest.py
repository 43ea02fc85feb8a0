"""A real workspace and Debian's Chromium; without Selenium and Chromium on the machine there is nothing to collect."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local.workspace import SHORT, Workspace
from tests.e2e.conftest import MORE_CATALOGUE, PATIENCE_SECONDS, free_ports
from tests.e2e.people import eventually
from tests.privileges.judge import Judge

HAS_BROWSER = find_spec("selenium") is not None and Path("/usr/bin/chromedriver").exists()
collect_ignore_glob = [] if HAS_BROWSER else ["test_*.py"]
if HAS_BROWSER:
    from tests.browser.page import Page, start_browser
if TYPE_CHECKING:
    from selenium.webdriver import Chrome

UNHURRIED = {"ACCESS": 3600, "APPROVAL_WAIT": 3600, "IDLE_GRACE": 60}
"""Nothing ends by itself while somebody reads."""
PEOPLE = ("U0ALICE", "U0BOB", "U0CAROL")


@pytest.fixture(scope="module")
def workspace(request: pytest.FixtureRequest) -> Iterator[Workspace]:
    """A workspace of the module's own, in which things take as long as it says in SECONDS, or else as long as people like."""
    seconds = SHORT | getattr(request.module, "SECONDS", UNHURRIED)
    judge = Judge()
    with Workspace(ports=free_ports(), seconds=seconds, more_catalogue=MORE_CATALOGUE, authorize=judge) as running:
        running.slack.request_timeout_seconds = PATIENCE_SECONDS
        yield running

    assert [] == judge.refusals


@pytest.fixture(scope="session")
def browser() -> Iterator["Chrome"]:
    """One browser for all journeys."""
    started = start_browser()
    yield started
    started.quit()


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: the directory that DRAWBRIDGE_SCREENSHOTS names, or one that is thrown away."""
    directory = Path(os.environ.get("DRAWBRIDGE_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@pytest.fixture
def page(browser: "Chrome", workspace: Workspace, screenshots: Path) -> Iterator["Page"]:
    """The page as somebody finds it who just opened it; afterwards nobody has a modal open, or holds access."""
    yield Page(browser, workspace.slack.page_url, screenshots=screenshots).resize(1280, 1000).load()
    browser.get("about:blank")
    for person in workspace.slack.people:
        workspace.slack.close(person, everything=True)
    for person in PEOPLE:
        _leave_nothing(workspace, person)


def _leave_nothing(workspace: Workspace, person: str) -> None:
    def say(line: str) -> str:
        return workspace.slack.command(person, "C0GENERAL", f"/db-access {line}").text

    say("end all")
    say("cancel")
    eventually(f"the end of everything of {person}", lambda: "You hold no access and wait for none" in say("mine"))
