"""``drawbridge connect`` as people use it, at a real terminal: to a prompt, and out again."""

import re
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.drawbridge.conftest import Start
from tests.drawbridge.fake_api import LOCATION, FakeApi
from tests.drawbridge.processes import SECONDS
from tests.drawbridge.terminal import CTRL_C, Terminal
from tests.drawbridge_network.world import DATABASE, USER, World
from tests.waiting import eventually

Open = Callable[..., Terminal]
ASK = "import psycopg; print(*psycopg.connect('').execute('SELECT current_user, current_database()').fetchone())"


@pytest.fixture
def terminal(shell: dict[str, str]) -> Iterator[Open]:
    """Type ``drawbridge …`` at a terminal."""
    opened: list[Terminal] = []

    def typed(*arguments: str) -> Terminal:
        opened.append(Terminal(arguments, shell))
        return opened[-1]

    yield typed
    for each in opened:
        each.leave()


@pytest.fixture
def psql(shell: dict[str, str]) -> str:
    """A psql on the person's PATH: the real one, or where there is none, a prompt that does as much."""
    found, place = shutil.which("psql"), Path(shell["PATH"].split(":")[0]) / "psql"
    prompt = (
        "import psycopg\nc = psycopg.connect('')\nwhile (line := input('=> ')) != r'\\q':\n print(*c.execute(line))\n"
    )
    place = Path(shell["HOME"]) / "bin" / "psql"
    place.unlink()
    if found:
        place.symlink_to(found)
    else:
        place.write_text(f"#!{sys.executable}\n{prompt}", encoding="utf-8")
        place.chmod(0o755)
    return str(place)


def sleeps(world: World) -> bool:
    """Whether the database is at the person's long query."""
    running = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND state = 'active' AND query LIKE %s"
    with world.server.connect() as rdsadmin:
        row = rdsadmin.execute(running, [USER, "%pg_sleep%"]).fetchone()
    return row is not None and row[0] == 1


def only_state(api: FakeApi) -> str:
    """Of the one request that there was."""
    (state,) = api.states().values()
    return state


def test_from_nothing_to_a_prompt(api: FakeApi, world: World, psql: str, terminal: Open) -> None:
    """psql asks for no password; leaving it, one is asked whether the access shall end."""
    at = terminal("connect", LOCATION, "-p", "r")
    at.see("[=>] ")
    at.type("SELECT 'user ' || current_user;\n")
    at.see(f"user {USER}")
    at.type("\\q\n")
    at.see(r"End your access to my-aurora-location now\? R-ABC234 lasts until \d\d:\d\d. \[y/N\]: ")
    at.type("y\n")

    assert 0 == at.wait()
    assert "ending" == only_state(api)
    assert {"Terminated"} == set(world.statuses())
    assert "X-Amz" not in at.shown


def test_access_that_is_kept_is_used_again(api: FakeApi, world: World, psql: str, terminal: Open) -> None:
    """Nobody is asked twice for what one has."""
    for _ in range(2):
        at = terminal("cb", LOCATION, "-p", "r", "--", sys.executable, "-c", ASK)
        at.see(f"{USER} {DATABASE}")
        at.see("now\\?")
        at.type("\n")
        assert 0 == at.wait()
    assert "ready" == only_state(api)
    assert "It stays open to you: drawbridge connect my-aurora-location -p r" in at.shown


def test_ctrl_c_in_psql_is_psqls(api: FakeApi, world: World, psql: str, terminal: Open) -> None:
    """It cancels a query; the tunnel stays."""
    at = terminal("connect", LOCATION, "-p", "r")
    at.see("[=>] ")
    at.type("SELECT pg_sleep(60);\n")
    assert eventually(lambda: sleeps(world))
    at.type(CTRL_C)
    at.see("(?i)cancel")
    at.type("SELECT 'still ' || 'here';\n")
    at.see("still here")
    at.type("\\q\n")
    at.see("now\\?")
    at.type("n\n")

    assert 0 == at.wait()


def test_ctrl_c_while_waiting_offers_to_withdraw(api: FakeApi, terminal: Open) -> None:
    """Enter withdraws: nobody waits for it any more."""
    at = terminal("connect", LOCATION, "-p", "w", "--", "true")
    at.see("It waits for 1 more approval")
    at.type(CTRL_C)
    at.see(r"Withdraw R-ABC234\? \[Y/n\]: ")
    at.type("\n")

    assert 130 == at.wait()
    assert "ended" == only_state(api)
    assert "R-ABC234 is withdrawn." in at.shown


def test_a_second_ctrl_c_leaves_at_once(api: FakeApi, terminal: Open) -> None:
    """Everything stays as it is, and the way to it is told."""
    at = terminal("connect", LOCATION, "-p", "w", "--", "true")
    at.see("It waits for 1 more approval")
    at.type(CTRL_C)
    at.see(r"Withdraw R-ABC234\?")
    at.type(CTRL_C)

    assert 130 == at.wait()
    assert "waiting" == only_state(api)
    assert "R-ABC234 stays as it is. Later: drawbridge end R-ABC234" in at.shown


def test_a_window_closed_instead_of_an_answer_withdraws(api: FakeApi, terminal: Open) -> None:
    """Nobody waits for it any more, and nobody can be asked."""
    at = terminal("connect", LOCATION, "-p", "w", "--", "true")
    at.see("It waits for 1 more approval")
    at.type(CTRL_C)
    at.see(r"Withdraw R-ABC234\?")
    at.close_window()

    assert 129 == at.wait()
    assert "ended" == only_state(api)


def test_waiting_is_redrawn_on_one_line(api: FakeApi, terminal: Open) -> None:
    """With who may approve, and how long it has taken."""
    at = terminal("connect", LOCATION, "-p", "w", "--", "true")
    at.see("carol may approve it.")
    at.see("\r\x1b\\[2KR-ABC234: It waits for 1 more approval. [3-9] s")
    at.type(CTRL_C)
    at.see("Withdraw")
    at.type("y\n")
    at.wait()

    lines = [line.rpartition("\x1b[2K")[2] for line in at.shown.splitlines()]
    assert all(len(line) <= 80 for line in lines)
    assert 2 == sum("It waits" in line or "may approve" in line for line in at.shown.split("\n"))


def test_a_closed_window_ends_the_tunnel(api: FakeApi, world: World, psql: str, terminal: Open) -> None:
    """psql and the plugin go with it; the access stays until its end, as nobody can be asked."""
    at = terminal("connect", LOCATION, "-p", "r")
    at.see("[=>] ")
    at.close_window()

    assert 129 == at.wait()
    assert ({"Terminated"}, "ready") == (set(world.statuses()), only_state(api))


def test_a_gui_finds_its_settings(api: FakeApi, world: World, psql: str, start: Start, free_port: int) -> None:
    """Host, port, database and user are all that it needs; Ctrl-C closes the tunnel."""
    process = start(["connect", LOCATION, "-p", "r", "--gui", "--localport", str(free_port)])
    assert process.stdout is not None
    lines = dict(process.stdout.readline().rstrip("\n").split(maxsplit=1) for _ in range(7))
    with psycopg.connect(
        host=lines["Host"], port=int(lines["Port"]), dbname=lines["Database"], user=lines["User"]
    ) as found:
        who = found.execute("SELECT current_user").fetchone()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=SECONDS)

    assert (USER,) == who
    assert f"jdbc:postgresql://127.0.0.1:{free_port}/{DATABASE}?user={USER}&sslmode=disable" == lines["JDBC"]
    assert "Nothing was copied. There is no clipboard here: this session has no display." in errors
    assert (130, {"Terminated"}) == (process.returncode, set(world.statuses()))


def test_a_port_in_use_is_told(api: FakeApi, world: World, start: Start) -> None:
    """Whoever wanted that port is told which other link to change; nothing is left open."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start(["connect", LOCATION, "-p", "r", "--localport", str(port), "--", "true"])
        _, errors = process.communicate(timeout=SECONDS)

    assert 6 == process.returncode, errors
    assert re.search(rf"drawbridge: .*{port}", errors)
    assert "R-ABC234 stays until" in errors
    assert {"Terminated"} == set(world.statuses())


@pytest.mark.parametrize("missing", ["psql", "session-manager-plugin"])
def test_a_missing_program_is_told_before_anybody_is_asked(
    api: FakeApi, start: Start, directory: Path, missing: str
) -> None:
    """With how to install it."""
    (directory / "bin" / missing).unlink()
    process = start(["connect", LOCATION], {"PATH": str(directory / "bin")})
    _, errors = process.communicate(timeout=SECONDS)

    assert 3 == process.returncode
    assert missing in errors
    assert "nstall" in errors
    assert [] == api.calls


@pytest.fixture
def free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        port: int = tried.getsockname()[1]
        return port
