"""Holds the reviewed file to the whole end-to-end suite: what its workspaces saw together must be what the file says.

A run of less than the whole, or one that fails anyway, proves nothing about calls that are not made, so it is not compared.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

SEEN = "DRAWBRIDGE_SEEN_CALLS"
"""The variable that names the directory in which each workspace leaves what it saw."""
WHOLE = Path(__file__).parents[1] / "e2e"
_found = pytest.StashKey[list[str]]()
_directory = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Give all processes of the run one directory, unless somebody else has and compares for themselves."""
    if not is_worker(config) and SEEN not in os.environ:
        config.stash[_directory] = os.environ[SEEN] = tempfile.mkdtemp(prefix="drawbridge-calls-")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Nothing is left."""
    if _directory in config.stash:
        shutil.rmtree(config.stash[_directory], ignore_errors=True)
        os.environ.pop(SEEN, None)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail the run that saw other calls than were reviewed."""
    if _directory not in session.config.stash or exitstatus != pytest.ExitCode.OK or not is_whole(session.config):
        return
    from tests.privileges.calls import differences, read_calls, union  # noqa: PLC0415  it loads moto, which few runs need

    seen = union([read_calls(file) for file in Path(session.config.stash[_directory]).iterdir()])
    if found := differences(read_calls(), seen):
        session.config.stash[_found] = found
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which, and what to do."""
    if found := config.stash.get(_found, []):
        terminalreporter.section("calls to AWS that were not reviewed, or are not made any more")
        for sentence in found:
            terminalreporter.line(sentence)
        terminalreporter.line(
            "Look at each. To take them over: python -m tests.privileges.record; then mend the policies."
        )


def is_worker(config: pytest.Config) -> bool:
    """Is this one of xdist's processes, and not the one that drives them?"""
    return hasattr(config, "workerinput")


def is_whole(config: pytest.Config) -> bool:
    """Was every end-to-end test asked for?"""
    option = config.option
    chosen = [option.keyword, option.markexpr, option.deselect, option.ignore_glob, option.collectonly]
    ignored = [Path(each).resolve() for each in option.ignore or ()]
    chosen += [each for each in ignored if WHOLE.is_relative_to(each) or each.is_relative_to(WHOLE)]
    asked = [(config.invocation_params.dir / each).resolve() for each in config.args]
    return not any(chosen) and any(WHOLE.is_relative_to(each) for each in asked)
