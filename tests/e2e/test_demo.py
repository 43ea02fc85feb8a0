"""`make demo` as a process: it ends by itself, and however it ends it leaves nothing behind."""

import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_SECONDS = 90


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path) -> Iterator[None]:
    """No directory outlives a demo."""
    yield
    assert [] == [entry.name for entry in tmp_path.iterdir()]


def test_without_a_terminal_it_ends_after_the_story(tmp_path: Path) -> None:
    """Status 0, after the refusal and the receipt."""
    with _demo(tmp_path) as demo:
        output = _read_until(demo, "alice types")
        server = _server_of(demo)
        output += demo.communicate(timeout=MOST_SECONDS)[0]

    assert 0 == demo.returncode, output
    assert "PAM authentication failed" in output
    assert "Database sessions left: 0" in output
    assert "The story is over" in output
    assert not _is_left(server)


def test_ctrl_c_in_the_middle_ends_with_one_sentence(tmp_path: Path) -> None:
    """An open tunnel is ended with everything else."""
    with _demo(tmp_path) as demo:
        output = _read_until(demo, "Waiting for connections")
        server = _server_of(demo)
        os.killpg(demo.pid, signal.SIGINT)
        rest, _ = demo.communicate(timeout=MOST_SECONDS)

    assert 130 == demo.returncode, output + rest
    assert "Traceback" not in rest
    assert "Ended by you; nothing is left running." == rest.strip().splitlines()[-1]
    assert not _is_left(server)


def test_with_a_terminal_it_stays_open_for_people(tmp_path: Path) -> None:
    """From a second terminal people type, press and look; Ctrl-C closes everything, with status 0."""
    person, terminal = pty.openpty()
    with _demo(tmp_path, stdin=terminal) as demo:
        _read_until(demo, "stays open until Ctrl-C")
        asked = _by_hand(tmp_path, "slack", "bob", "/db-access my-aurora-location w 15m by hand")
        pressed = _by_hand(tmp_path, "press", "carol", "deny")
        filled = _by_hand(tmp_path, "fill", "carol", "reason=Not now, by hand.")
        seen = _by_hand(tmp_path, "status", "carol")
        mistaken = _by_hand(tmp_path, "press", "alice", "nothing")
        server = _server_of(demo)
        os.killpg(demo.pid, signal.SIGINT)
        rest, _ = demo.communicate(timeout=MOST_SECONDS)
    os.close(person)
    os.close(terminal)

    assert "Asked: write access to my-aurora-location for 15 minutes." in asked
    assert "Pressed." in pressed
    assert "Sent." == filled.strip()
    assert "by hand" in seen
    assert "BASTION#main" in seen
    assert "alice sees no message with a button 'nothing'." == mistaken.strip()
    assert (0, "Everything is closed; nothing is left running.") == (demo.returncode, rest.strip().splitlines()[-1])
    assert not _is_left(server)


def test_without_a_workspace_there_is_nothing_to_drive(tmp_path: Path) -> None:
    """The sentence says how to start one."""
    expected = "No workspace is open. Start one in another terminal: make demo"

    assert expected == _by_hand(tmp_path, "status").strip()


@pytest.mark.parametrize("stage", ["Starting", "alice types", "presses Show Token"])
def test_a_terminal_that_closes_leaves_nothing(tmp_path: Path, stage: str) -> None:
    """Hanging up is as good as Ctrl-C, at whatever moment."""
    with _demo(tmp_path) as demo:
        _read_until(demo, stage)
        servers = _servers_of(demo)
        os.kill(demo.pid, signal.SIGHUP)
        rest, _ = demo.communicate(timeout=MOST_SECONDS)

    assert "Traceback" not in rest
    assert [] == [server for server in servers if _is_left(server)]


def test_a_killed_postgresql_ends_with_one_sentence(tmp_path: Path) -> None:
    """The sentence names what ended."""
    with _demo(tmp_path) as demo:
        output = _read_until(demo, "presses Approve Access on her own request")
        server = _server_of(demo)
        os.kill(int((server / "data" / "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)
        rest, _ = demo.communicate(timeout=MOST_SECONDS)

    assert 1 == demo.returncode, output + rest
    assert "Traceback" not in rest
    assert rest.strip().splitlines()[-1].startswith("PostgreSQL ended by itself")
    assert not _is_left(server)


def test_a_port_in_use_ends_with_one_sentence(tmp_path: Path) -> None:
    """Nothing is started, and the sentence says how to choose another port."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with _demo(tmp_path, PORT=str(port)) as demo:
            output, _ = demo.communicate(timeout=MOST_SECONDS)

    expected = f"Port {port} is in use on this machine. Free it, or choose another one: make demo PORT=57000"
    assert 1 == demo.returncode
    assert expected == output.strip()


@pytest.mark.parametrize("port", ["x", "80", "70000", "-1"])
def test_a_port_that_is_none_is_refused(tmp_path: Path, port: str) -> None:
    """A wish that cannot be met is named."""
    with _demo(tmp_path, PORT=port) as demo:
        output, _ = demo.communicate(timeout=MOST_SECONDS)

    assert f"PORT must be a number from 1024 to 65535, not '{port}'." == output.strip()


def _by_hand(directory: Path, *arguments: str) -> str:
    """What `python -m local …` prints in another terminal."""
    run = subprocess.run(
        [sys.executable, "-m", "local", *arguments],
        cwd=ROOT,
        env=dict(os.environ) | {"TMPDIR": str(directory), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
        check=False,
    )
    return run.stdout + run.stderr


@contextmanager
def _demo(directory: Path, *, stdin: int = subprocess.DEVNULL, **settings: str) -> Iterator["subprocess.Popen[str]"]:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = str(free.getsockname()[1])
    demo = subprocess.Popen(
        [sys.executable, "-u", "-m", "local", "demo"],
        cwd=ROOT,
        env=dict(os.environ) | {"TMPDIR": str(directory), "PYTHONDONTWRITEBYTECODE": "1", "PORT": port} | settings,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield demo
    finally:
        if demo.poll() is None:
            os.killpg(demo.pid, signal.SIGKILL)
            demo.wait()
        demo.stdout.close() if demo.stdout else None


def _read_until(demo: "subprocess.Popen[str]", words: str) -> str:
    """What was printed up to the line with these words; the process is ended when they do not come in time."""
    assert demo.stdout is not None
    overdue = threading.Timer(MOST_SECONDS, demo.kill)
    overdue.start()
    try:
        return _until(demo.stdout.readline, words)
    finally:
        overdue.cancel()


def _until(read: Callable[[], str], words: str) -> str:
    text = ""
    while line := read():
        text += line
        if words in line:
            return text
    raise AssertionError(f"'{words}' did not come; all that came was: {text}")


def _server_of(demo: "subprocess.Popen[str]") -> Path:
    """The directory of the demo's PostgreSQL server."""
    (server,) = _servers_of(demo)
    return server


def _servers_of(demo: "subprocess.Popen[str]") -> list[Path]:
    processes = [line.split(None, 2) for line in _processes()]
    data = [re.search(r" -k (\S+)", command) for _, parent, command in processes if parent == str(demo.pid)]
    return [Path(match[1]) for match in data if match]


def _is_left(server: Path) -> bool:
    return server.exists() or any(str(server) in line for line in _processes())


def _processes() -> list[str]:
    columns = ["-o", "pid=", "-o", "ppid=", "-o", "args="]
    return subprocess.run(["ps", "-A", "-ww", *columns], capture_output=True, text=True, check=True).stdout.splitlines()
