"""The terminal client against the whole local workspace: the API's contract, people at their prompt, a pipeline."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest

from drawbridge.api import Api
from local.identities import assume_role
from local.workspace import Workspace
from tests.drawbridge.api_contract import ApiContract
from tests.drawbridge.processes import CLIENT, ROOT, processes
from tests.drawbridge.terminal import CTRL_D, Terminal
from tests.e2e.people import MOST_SECONDS, People, eventually

LOCATION = "my-aurora-location"
SECONDS = {"ACCESS": 20, "IDLE_GRACE": 2}
REPAIR = "UPDATE shop.orders SET state = 'shipped' WHERE state = 'stuck'"
COUNT = (
    "import psycopg; print(*psycopg.connect('').execute('SELECT current_user, count(*) FROM shop.orders').fetchone())"
)

Start = Callable[..., "subprocess.Popen[str]"]


class TestRealApi(ApiContract):
    """The real API meets what the client's own tests expect of the fake one."""

    @pytest.fixture
    def api(self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Api:
        monkeypatch.setenv("AWS_CONFIG_FILE", workspace.shells.settings("alice")["AWS_CONFIG_FILE"])
        return Api(workspace.aws.api_url, session=boto3.Session(profile_name="alice"))


@pytest.fixture
def home() -> Iterator[Path]:
    """Somebody's home, with nothing in it."""
    made = Path(tempfile.mkdtemp(prefix="db-", dir="/tmp"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def start(workspace: Workspace, home: Path) -> Iterator[Start]:
    """Run ``drawbridge …`` as somebody, in a process of its own."""
    with processes() as begin:
        yield lambda who, *arguments, **more: begin(arguments, shell(workspace, who, home) | more)


def shell(workspace: Workspace, who: str, home: Path) -> dict[str, str]:
    """What a program finds in somebody's shell, and nothing of this process."""
    return {"HOME": str(home), "LANG": "C.UTF-8", **workspace.shells.settings(who)}


def id_of(people: People, who: str, level: str, workspace: Workspace, home: Path) -> str:
    """The id of what somebody has asked for at this level and is open."""

    def find() -> str | None:
        done = subprocess.run(
            [*CLIENT, "mine"],
            cwd=ROOT,
            env=shell(workspace, who, home),
            capture_output=True,
            text=True,
            check=True,
        )
        return next((line.split()[0] for line in done.stdout.splitlines() if f" {LOCATION} {level} " in line), None)

    return eventually(f"a request of {who}", find)


def test_read_access_takes_one_command(workspace: Workspace, start: Start, home: Path, people: People) -> None:
    """Nobody has to approve it; psql or what stands for it is connected as alice's own user."""
    process = start("alice", "connect", LOCATION, "-p", "r", "--", sys.executable, "-c", COUNT)
    output, errors = process.communicate(timeout=MOST_SECONDS)
    (user, count) = output.split()
    request_id = id_of(people, "alice", "r", workspace, home)
    ended = start("alice", "end", LOCATION).communicate(timeout=MOST_SECONDS)[0]

    assert (0, "3") == (process.returncode, count), errors
    assert user.startswith("jit_")
    assert user.endswith("_r_alice")
    assert "Sessions left: 0, login: off." in ended
    assert "X-Amz" not in output + errors
    assert "Finished" == people.wait_for_end(request_id)


def test_write_access_waits_for_a_colleague(workspace: Workspace, home: Path, people: People) -> None:
    """Alice sees at her terminal who may approve it; carol presses the button in Slack; the prompt is psql's."""
    if not shutil.which("psql"):
        pytest.skip("psql is not installed")
    at = Terminal(["connect", LOCATION, "-p", "w", "--reason", "fix the stuck orders"], shell(workspace, "alice", home))
    try:
        at.see("carol may approve it.")
        request_id = at.see(r"R-\w{6}")
        at.see("It waits for 1 more approval")
        people.decide("carol", request_id)
        at.see("=> ")
        at.type(f"{REPAIR};\n")
        at.see("UPDATE [0-3]")
        at.type(CTRL_D)
        at.see(r"now\? ")
        at.type("y\n")

        assert 0 == at.wait(), at.shown
        assert "Finished" == people.wait_for_end(request_id)
    finally:
        at.leave()


def test_a_denial_is_told_at_the_terminal(start: Start, people: People, workspace: Workspace, home: Path) -> None:
    """With its status."""
    process = start("alice", "connect", LOCATION, "-p", "w", "--", "true")
    request_id = id_of(people, "alice", "w", workspace, home)
    people.deny("carol", request_id)
    _, errors = process.communicate(timeout=MOST_SECONDS)

    assert 4 == process.returncode, errors
    assert f"drawbridge: {request_id}: " in errors


def test_a_pipeline_runs_its_command_under_its_role(
    workspace: Workspace, start: Start, people: People, home: Path
) -> None:
    """A session of the role with a name of its own; the access is gone after it, and its status is the command's."""
    keys = {name.upper(): value for name, value in assume_role("ReleasePipeline", "run-42").items()}
    environment = keys | {"CI": "true", "AWS_PROFILE": "services", "GITHUB_RUN_ID": "42"}
    config = Path(workspace.shells.settings("alice")["AWS_CONFIG_FILE"]).read_text(encoding="utf-8")
    services = config[config.index("[services local]") :]
    (home / "config").write_text(
        f"[profile services]\nregion = eu-west-1\nservices = local\n{services}", encoding="utf-8"
    )
    environment["AWS_CONFIG_FILE"] = str(home / "config")
    code = f"{COUNT}; raise SystemExit(3)"
    command = ("run", LOCATION, "-p", "r", "--duration", "10m", "--", sys.executable, "-c", code)
    process = start("release-pipeline", *command, **environment)
    output, errors = process.communicate(timeout=MOST_SECONDS)
    request_id = errors.rpartition("Ending ")[2].split()[0]

    assert 3 == process.returncode, errors
    assert output.startswith("jit_")
    assert f"{request_id} is ending." in errors
    assert "X-Amz" not in output + errors
    assert "Finished" == people.wait_for_end(request_id)
    assert "machine/release-pipeline" == people.record(request_id).request.person.person_id


def test_a_pipeline_that_is_killed_has_no_access_after_its_end(
    workspace: Workspace, start: Start, people: People, home: Path
) -> None:
    """Nothing could ask for the end, so it comes by itself: the login is refused, the tunnel gone."""
    begun = home / "begun"
    code = (
        "import os, pathlib, psycopg, sys, threading; c = psycopg.connect('');"
        "pathlib.Path(sys.argv[1]).write_text(f'{os.getpid()} {c.info.user}'); threading.Event().wait(60)"
    )
    command = ("run", LOCATION, "-p", "r", "--duration", "8s", "--", sys.executable, "-c", code, str(begun))
    process = start("release-pipeline", *command)
    said = eventually("the command", lambda: begun.exists() and begun.read_text())
    pid, user = said.split()
    request_id = id_of(people, "release-pipeline", "r", workspace, home)
    process.kill()
    os.kill(int(pid), signal.SIGKILL)

    assert "Finished" == people.wait_for_end(request_id)
    assert [] == [
        each["SessionId"] for each in workspace.sessions.handle("DescribeSessions", {"State": "Active"}, "")["Sessions"]
    ]
    with workspace.database.connect() as rdsadmin:
        row = rdsadmin.execute("SELECT count(*) FROM pg_roles WHERE rolname = %s AND rolcanlogin", [user]).fetchone()
    assert (0,) == row


def test_somebody_unknown_is_told_whom_to_ask(workspace: Workspace, start: Start) -> None:
    """The sentence names the identity that the catalogue lacks."""
    keys = {name.upper(): value for name, value in assume_role("SomebodyElse", "me").items()}
    process = start("alice", "list", **keys)
    _, errors = process.communicate(timeout=MOST_SECONDS)

    assert 3 == process.returncode, errors
    assert "assumed-role/SomebodyElse/me" in errors


def test_another_ones_request_cannot_be_told_from_none(
    workspace: Workspace, start: Start, people: People, home: Path
) -> None:
    """Bob can neither end nor look at what alice asked for, and is not told that it is there."""
    request_id = people.ask("alice", f"{LOCATION} w")
    answers = [start("bob", "end", each).communicate(timeout=MOST_SECONDS)[1] for each in (request_id, "R-ZZZZZZ")]
    people.decide("carol", request_id)

    assert answers[0] == answers[1]
    assert "None of your requests has this id." in answers[0]
    assert "Finished" == people.wait_for_end(request_id)


def test_the_doctor_finds_nothing_amiss(start: Start) -> None:
    """In a shell of the local workspace."""
    output, errors = start("alice", "doctor").communicate(timeout=MOST_SECONDS)

    assert "✗" not in output, output
    assert "you are alice, a person" in output
    assert "" == errors
