"""``drawbridge run`` as pipelines use it: the command's own status, and no access after it, however it ends."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local.ssm.documents import SsmError
from tests.drawbridge.conftest import Start
from tests.drawbridge.fake_api import LOCATION, FakeApi
from tests.drawbridge.processes import SECONDS
from tests.drawbridge_network.world import DATABASE, KEY, USER, World
from tests.waiting import eventually

ASK = "import psycopg; print(*psycopg.connect('').execute('SELECT current_user, current_database()').fetchone())"
SLEEP = "import pathlib, sys, threading; pathlib.Path(sys.argv[1]).touch(); threading.Event().wait(60)"
WAIT = """
import pathlib, sys, threading
begun, go_on = map(pathlib.Path, sys.argv[1:])
begun.touch()
while not go_on.exists():
    threading.Event().wait(0.05)
"""


def run(
    start: Start, *command: str, options: tuple[str, ...] = ("-p", "r"), **environment: str
) -> tuple[int, str, str]:
    """Exit status, standard output and standard error."""
    process = start(["run", LOCATION, *options, "--", *command], environment)
    output, errors = process.communicate(timeout=SECONDS)
    return process.returncode, output, errors


def python(code: str, *arguments: str) -> tuple[str, ...]:
    """A command that runs this."""
    return (sys.executable, "-c", code, *arguments)


def only_state(api: FakeApi) -> str:
    """Of the one request that there was."""
    (state,) = api.states().values()
    return state


def was_ended(api: FakeApi) -> bool:
    """Whether the client itself asked for the end."""
    return any(method == "DELETE" for method, _, _ in api.calls)


def test_a_command_finds_its_database_and_leaves_no_access(api: FakeApi, world: World, start: Start) -> None:
    """Standard output is the command's alone, the tunnel is gone and the grant is being ended."""
    status, output, errors = run(start, *python(ASK))

    assert (0, f"{USER} {DATABASE}\n") == (status, output), errors
    assert "ending" == only_state(api)
    assert {"Terminated"} == set(world.statuses())


def test_no_token_is_shown(world: World, start: Start) -> None:
    """Not in what is told, and not in the command's environment or service file."""
    show = "import os; print(os.environ, open(os.environ['PGSERVICEFILE']).read())"
    _, output, errors = run(start, *python(show))

    assert "PGHOST" in output
    assert "X-Amz" not in output + errors


def test_a_service_file_names_the_same_database(world: World, start: Start) -> None:
    """For programs that are told a service."""
    ask = "import psycopg; print(psycopg.connect('service=drawbridge').info.user)"
    clean = "import os; [os.environ.pop(name) for name in ('PGHOST', 'PGPORT', 'PGUSER', 'PGDATABASE')]; "

    assert (0, f"{USER}\n") == run(start, *python(clean + ask))[:2]


def test_what_the_shell_had_for_another_database_does_not_lead_there(world: World, start: Start) -> None:
    """A pipeline's own settings of libpq would win over the host."""
    other = {"PGSERVICE": "other", "PGSSLMODE": "verify-full", "PGHOSTADDR": "192.0.2.1", "PGPASSFILE": "/nowhere"}
    status, output, errors = run(start, *python(ASK), **other, PGAPPNAME="release")

    assert (0, f"{USER} {DATABASE}\n") == (status, output), errors


@pytest.mark.parametrize(("code", "status"), [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)])
def test_the_commands_status_is_passed_through(
    api: FakeApi, world: World, start: Start, code: str, status: int
) -> None:
    """As a shell would report it; the access ends all the same."""
    assert status == run(start, *python(code))[0]
    assert "ending" == only_state(api)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_pipeline_that_is_ended_leaves_nothing(
    api: FakeApi, world: World, start: Start, directory: Path, number: signal.Signals
) -> None:
    """The command gets the signal, the tunnel is closed and the access is ended."""
    begun = directory / "begun"
    process = start(["run", LOCATION, "-p", "r", "--", *python(SLEEP, str(begun))])

    assert eventually(begun.exists)
    process.send_signal(number)
    process.communicate(timeout=SECONDS)
    assert 128 + number == process.returncode
    assert "ending" == only_state(api)
    assert {"Terminated"} == set(world.statuses())


def test_a_command_that_does_not_heed_is_killed(api: FakeApi, world: World, start: Start, directory: Path) -> None:
    """After a grace, so that the end of the access is still asked for."""
    begun = directory / "begun"
    process = start(
        [
            "run",
            LOCATION,
            "-p",
            "r",
            "--",
            *python(f"import signal; signal.signal(15, signal.SIG_IGN); {SLEEP}", str(begun)),
        ]
    )

    assert eventually(begun.exists)
    process.terminate()
    process.communicate(timeout=SECONDS)
    assert (143, "ending") == (process.returncode, only_state(api))


def test_a_killed_pipeline_leaves_no_tunnel(api: FakeApi, world: World, start: Start, directory: Path) -> None:
    """Nobody could end its access before its end, but its plugin does not outlive it."""
    begun = directory / "begun"
    command = python(
        f"import os, pathlib, sys; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); {SLEEP}", str(begun)
    )
    process = start(["run", LOCATION, "-p", "r", "--", *command])

    assert eventually(lambda: begun.exists() and begun.read_text())
    process.kill()
    subprocess.run(["kill", "-9", begun.read_text()], check=True)  # CI ends the whole job
    process.communicate(timeout=SECONDS)
    assert eventually(lambda: set(world.statuses()) == {"Terminated"})
    assert "ready" == only_state(api)


def test_what_waits_is_withdrawn_when_the_pipeline_ends(api: FakeApi, start: Start) -> None:
    """Nobody shall approve what nobody waits for."""
    process = start(["run", LOCATION, "-p", "w", "--", "true"])

    assert eventually(lambda: "waiting" in api.states().values())
    process.terminate()
    process.communicate(timeout=SECONDS)
    assert (143, "ended") == (process.returncode, only_state(api))


def test_the_deadline_ends_the_waiting(api: FakeApi, start: Start) -> None:
    """With its own status, and the request withdrawn."""
    status, _, errors = run(start, "true", options=("-p", "w", "--timeout", "1s"))

    assert (5, "ended") == (status, only_state(api))
    assert "was not ready within 1 s: It waits for 1 more approval." in errors


@pytest.mark.parametrize(
    ("outcome", "explanation", "status"),
    [("denied", "It was denied.", 4), ("timed_out", "Nobody decided in time.", 5), ("failed", "It failed.", 8)],
)
def test_a_request_that_ends_unused_says_how(
    api: FakeApi, start: Start, outcome: str, explanation: str, status: int
) -> None:
    """Each with its own status and the API's own words."""
    process = start(["run", LOCATION, "-p", "w", "--", "true"])

    assert eventually(lambda: "waiting" in api.states().values())
    (request_id,) = api.states()
    api.decide(request_id, outcome, explanation)
    _, errors = process.communicate(timeout=SECONDS)
    assert status == process.returncode
    assert f"drawbridge: {request_id}: {explanation}" in errors
    assert not was_ended(api)


def test_what_is_waited_for_is_told_in_lines(api: FakeApi, world: World, start: Start) -> None:
    """A pipeline's log is no terminal: one line for each change, and who may approve."""
    process = start(["run", LOCATION, "-p", "w", "--", "true"])

    assert eventually(lambda: "waiting" in api.states().values())
    (request_id,) = api.states()
    api.decide(request_id)
    _, errors = process.communicate(timeout=SECONDS)
    assert [
        f"Asking for {LOCATION}",
        f"{request_id}: It is being prepared.",
        f"{request_id} was asked for. carol may approve it.",
        f"{request_id}: It waits for 1 more approval.",
        f"{request_id}: It is being prepared.",
        f"Opening the tunnel to {LOCATION}",
        "Trying the login",
        f"Ending {request_id}",
        f"{request_id} is ending.",
    ] == errors.splitlines()


def test_a_tunnel_that_does_not_open_ends_the_access(api: FakeApi, world: World, start: Start) -> None:
    """The status says which link it was."""
    world.front.refusal = SsmError("AccessDeniedException", "User is not authorized to perform: ssm:StartSession")
    status, _, errors = run(start, "true")

    assert 6 == status, errors
    assert "ending" == only_state(api)


def test_a_login_that_is_refused_ends_the_access(api: FakeApi, world: World, start: Start) -> None:
    """Likewise, with another status."""
    world.may_connect[USER] = False
    status, _, errors = run(start, "true")

    assert 7 == status, errors
    assert ("ending", {"Terminated"}) == (only_state(api), set(world.statuses()))


@pytest.mark.parametrize(("name", "status"), [("no-such-program", 127), ("no-program", 126)])
def test_a_command_that_cannot_run_asks_for_nothing(
    api: FakeApi, start: Start, directory: Path, name: str, status: int
) -> None:
    """Nobody approves access for a typing mistake."""
    (directory / "no-program").write_text("text", encoding="utf-8")

    assert status == run(start, str(directory / name))[0]
    assert [] == api.calls


def test_access_that_was_held_before_stays(api: FakeApi, world: World, start: Start) -> None:
    """A person's other terminal is not cut off by their run."""
    connected = start(["connect", LOCATION, "-p", "r", "--", "true"])
    connected.communicate(timeout=SECONDS)
    status, _, errors = run(start, "true")

    (held,) = api.states()
    assert (0, "ready") == (status, only_state(api))
    assert f"{held} was there before this run, and stays." in errors


def test_one_run_of_a_machine_follows_the_other(api: FakeApi, world: World, start: Start, directory: Path) -> None:
    """Runs of one pipeline share its name; the end of the first must not cut off the second."""
    api.machines.add(KEY)
    begun, go_on = directory / "begun", directory / "go-on"
    first = start(["run", LOCATION, "-p", "r", "--", *python(WAIT, str(begun), str(go_on))])
    assert eventually(begun.exists)
    second = start(["run", LOCATION, "-p", "r", "--", *python(ASK)])
    assert eventually(lambda: sum(method == "POST" for method, _, _ in api.calls) == 2)
    go_on.touch()

    assert 0 == first.wait(SECONDS)
    output, errors = second.communicate(timeout=SECONDS)
    assert (0, f"{USER} {DATABASE}\n") == (second.returncode, output), errors
    assert "Another run asked for" in errors
    assert 2 == len(api.states())


def test_an_end_that_cannot_be_asked_for_is_told(api: FakeApi, world: World, start: Start, directory: Path) -> None:
    """The command's status stands; the access ends by itself."""
    begun, go_on = directory / "begun", directory / "go-on"
    process = start(["run", LOCATION, "-p", "r", "--", *python(WAIT, str(begun), str(go_on))])
    assert eventually(begun.exists)
    api.broken = [(500, b"")] * 5
    go_on.touch()
    _, errors = process.communicate(timeout=SECONDS)

    assert 0 == process.returncode
    assert "could not be ended from here. It ends by itself at" in errors
