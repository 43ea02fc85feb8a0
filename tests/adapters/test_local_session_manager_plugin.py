"""The plugin stand-in as a program: run as the AWS CLI runs it, and by the AWS CLI itself."""

import hashlib
import json
import os
import queue
import re
import signal
import socket
import socketserver
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import local.session_manager_plugin
from chalicelib.domain.session_documents import session_document
from local.ssm.documents import AWS_DOCUMENT, own_document
from local.ssm.server import Instance, SessionManager
from tests.factories import a_location
from tests.serving import Serving, SessionManagerFront
from tests.waiting import WAITING_SECONDS, eventually

BASTION = "i-0123456789abcdef0"
HOST = "my-aurora.cluster-example.eu-west-1.rds.amazonaws.com"
OWNER = "arn:aws:sts::123456789012:assumed-role/Developer/alice@example.com"
SOURCE = Path(local.session_manager_plugin.__file__)
AWS = Path(sys.executable).parent / "aws"
BLOCK = bytes(range(256)) * 256
MEGABYTE = 1024 * 1024


class Pump(Serving, socketserver.ThreadingTCPServer):
    """A TCP server that a client tells in one line what to do: echo, send bytes or digest bytes."""

    def __init__(self) -> None:
        pump = self
        self.ended = threading.Semaphore(0)
        self._stopping = threading.Event()
        self.sent_blocks = 0

        class Handler(socketserver.StreamRequestHandler):
            rbufsize = 0  # what follows the line is for `serve`

            def handle(self) -> None:
                with suppress(OSError):
                    pump.serve(self.connection, self.rfile.readline())
                pump.ended.release()

        super().__init__(Handler)

    def serve(self, connection: socket.socket, line: bytes) -> None:
        verb, _, size = line.decode().strip().partition(" ")
        if verb == "down":
            for _ in range(int(size) // len(BLOCK)):
                connection.sendall(BLOCK)
                self.sent_blocks += 1
        elif verb == "up":
            digest, left = hashlib.md5(), int(size)
            while left and (data := connection.recv(65536)):
                digest.update(data)
                left -= len(data)
            connection.sendall(digest.hexdigest().encode())
        else:
            connection.sendall(line)
            while data := connection.recv(65536):
                connection.sendall(data)

    def is_stuck(self) -> bool:
        """Whether a download has not gone on for a while."""
        before = self.sent_blocks
        return not self._stopping.wait(0.3) and 0 < before == self.sent_blocks

    def __exit__(self, *exit_: object) -> None:
        self._stopping.set()
        super().__exit__(*exit_)


class Program:
    """A child process that gets no environment but what is given; its lines, but for empty ones, can be waited for."""

    def __init__(self, arguments: list[str], **environment: str) -> None:
        self.lines: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self.process = subprocess.Popen(
            arguments,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line from here on that the whole pattern fits."""
        deadline = time.monotonic() + WAITING_SECONDS
        while (line := self._queue.get(timeout=deadline - time.monotonic())) is not None:
            self.lines += filter(None, [line])
            if found := re.fullmatch(pattern, line):
                return found
        raise AssertionError(f"ended without {pattern!r}: {self.lines}")

    def wait(self) -> int:
        """Its exit status; `lines` then holds all that it said."""
        status = self.process.wait(WAITING_SECONDS)
        self._thread.join(WAITING_SECONDS)
        while not self._queue.empty():
            self.lines += filter(None, [self._queue.get()])
        return status

    def interrupt(self) -> None:
        """What a terminal does on Ctrl-C: the signal goes to the program and everything it runs."""
        os.killpg(self.process.pid, signal.SIGINT)

    def kill(self) -> None:
        if self.process.poll() is None:  # an id is its own only until its end is known
            os.killpg(self.process.pid, signal.SIGKILL)
        self.wait()


@dataclass
class World:
    """A Session Manager with one bastion, one database behind it, and the programs of one person."""

    manager: SessionManager
    pump: Pump
    instances: dict[str, Instance]
    programs: list[Program] = field(default_factory=list)

    def call(self, operation: str, **request: Any) -> dict[str, Any]:
        return self.manager.handle(operation, request, "AKIALOCALALICE000000")

    def start(self, **parameters: str) -> dict[str, Any]:
        given = {"host": [HOST], "portNumber": ["5432"], "localPortNumber": ["0"]}
        given |= {name: [value] for name, value in parameters.items()}
        return self.call("StartSession", Target=BASTION, DocumentName=AWS_DOCUMENT, Parameters=given)

    def run(self, *arguments: str, **environment: str) -> Program:
        program = Program(list(arguments), **environment)
        self.programs.append(program)
        return program

    def plugin(self, response: str, **environment: str) -> Program:
        """The plugin, called with what the CLI passes on."""
        arguments = (response, "eu-west-1", "StartSession", "", json.dumps({"Target": BASTION}), "http://127.0.0.1:9")
        return self.run(sys.executable, str(SOURCE), *arguments, **environment)

    def tunnel(self, **parameters: str) -> "Tunnel":
        answer = self.start(**parameters)
        plugin = self.plugin(json.dumps(answer))
        port = int(plugin.wait_for(r"Port (\d+) opened for sessionId .+\.")[1])
        plugin.wait_for(r"Waiting for connections\.\.\.")
        return Tunnel(answer["SessionId"], plugin, port)

    def status(self, session_id: str) -> str:
        filters = [{"key": "SessionId", "value": session_id}]
        found = [self.call("DescribeSessions", State=state, Filters=filters) for state in ("Active", "History")]
        return str(next(record for answer in found for record in answer["Sessions"])["Status"])


@dataclass
class Tunnel:
    """A plugin that waits for connections."""

    session_id: str
    plugin: Program
    port: int

    def connect(self, line: str, *, receive_bytes: int = 0) -> socket.socket:
        """A connection on which a line was sent; the kernel may be told to keep little of what is not read."""
        connection = socket.socket()
        if receive_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.settimeout(WAITING_SECONDS)
        connection.connect(("127.0.0.1", self.port))
        connection.sendall(f"{line}\n".encode())
        return connection

    def is_open(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def world() -> Iterator[World]:
    started = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
    instances = {BASTION: Instance(instance_id=BASTION, state="running", running_since=started)}
    targets: dict[tuple[str, int], tuple[str, int]] = {}
    with (
        Pump() as pump,
        SessionManager(
            find_instance=instances.get,
            list_instances=lambda: list(instances.values()),
            targets=targets,
            caller={"AKIALOCALALICE000000": OWNER}.__getitem__,
            clock=lambda: datetime.now(UTC),
        ) as manager,
    ):
        targets[HOST, 5432] = pump.address
        world = World(manager, pump, instances)
        yield world
        for program in world.programs:
            program.kill()


def read(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size and (part := connection.recv(65536)):
        data += part
    return bytes(data)


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# What it says and how it is called


def test_the_version_is_no_number(world: World) -> None:
    """The CLI then passes the session as an argument and warns of nothing."""
    program = world.run(sys.executable, str(SOURCE), "--version")

    assert (0, ["local-stand-in 0.1"]) == (program.wait(), program.lines)


def test_it_says_what_the_real_plugin_says(world: World) -> None:
    """Scripts and people that know the real one find its lines, and one that says it is an emulation."""
    port = unused_port()
    tunnel = world.tunnel(localPortNumber=str(port))
    with tunnel.connect("echo"):
        tunnel.plugin.wait_for(r"Connection accepted for session \[.+\]")
    with tunnel.connect("echo") as second:
        read(second, 5)
    world.call("TerminateSession", SessionId=tunnel.session_id)
    tunnel.plugin.wait()

    assert [
        f"Starting session with SessionId: {tunnel.session_id}",
        "Local emulation: this tunnel ends at the embedded PostgreSQL.",
        f"Port {port} opened for sessionId {tunnel.session_id}.",
        "Waiting for connections...",
        f"Connection accepted for session [{tunnel.session_id}]",
        f"Exiting session with sessionId: {tunnel.session_id}.",
    ] == tunnel.plugin.lines


def test_the_session_may_come_in_the_environment(world: World) -> None:
    """The CLI hands it to newer plugins that way."""
    answer = json.dumps(world.start())
    plugin = world.plugin("AWS_SSM_START_SESSION_RESPONSE", AWS_SSM_START_SESSION_RESPONSE=answer)

    assert plugin.wait_for(r"Waiting for connections\.\.\.")


@pytest.mark.parametrize(
    "url",
    [
        "wss://ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/x?role=publish_subscribe",
        "ws://ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/x",
        "ws://127.0.0.1@203.0.113.1:80/v1/data-channel/x",
        "ws://127.0.0.1.example.com:80/v1/data-channel/x",
        "ws://203.0.113.1:80/127.0.0.1",
        "http://127.0.0.1:80/v1/data-channel/x",
    ],
)
def test_it_refuses_every_other_host(world: World, url: str) -> None:
    """A stand-in left on PATH must never carry anybody's token or data to a real service."""
    plugin = world.plugin(json.dumps({"SessionId": "alice-0", "TokenValue": "secret-token", "StreamUrl": url}))
    plugin.wait()

    assert 1 == len(plugin.lines)
    assert "connects to 127.0.0.1 only, not to " in plugin.lines[0]
    assert "secret-token" not in plugin.lines[0]


def test_a_wrong_token_ends_it(world: World) -> None:
    """A refused channel is said, not waited for."""
    plugin = world.plugin(json.dumps(world.start() | {"TokenValue": "guessed"}))

    assert 0 == plugin.wait()
    assert "Cannot perform start session: the service closed the channel" in plugin.lines[-1]


def test_a_port_in_use_ends_it(world: World) -> None:
    """The real one says so and exits with status 0; the session stays disconnected."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        answer = world.start(localPortNumber=str(other.getsockname()[1]))
        plugin = world.plugin(json.dumps(answer))

        assert 0 == plugin.wait()
        assert re.search("Cannot perform start session: .*address already in use", plugin.lines[-1])
        assert eventually(lambda: "Disconnected" == world.status(answer["SessionId"]))


# What it carries


def test_connections_run_in_parallel(world: World) -> None:
    """A pool of connections, each with its own answers."""
    tunnel = world.tunnel()

    def talk(number: int) -> bool:
        with tunnel.connect(f"echo {number}") as connection:
            lines = [f"{number}/{line}".encode() * 50 for line in range(20)]
            echoed = [read(connection, len(f"echo {number}\n"))]
            for line in lines:
                connection.sendall(line)
                echoed.append(read(connection, len(line)))
            return echoed == [f"echo {number}\n".encode(), *lines]

    with ThreadPoolExecutor(10) as pool:
        assert [True] * 20 == list(pool.map(talk, range(20)))


def test_a_large_download_arrives_whole(world: World) -> None:
    """Twenty megabytes, by their digest."""
    size = 20 * MEGABYTE
    with world.tunnel().connect(f"down {size}") as connection:
        data = read(connection, size)

    assert hashlib.md5(BLOCK * (size // len(BLOCK))).hexdigest() == hashlib.md5(data).hexdigest()


def test_a_large_upload_arrives_whole(world: World) -> None:
    """Five megabytes, by the digest that the other end took."""
    data = os.urandom(5 * MEGABYTE)
    with world.tunnel().connect(f"up {len(data)}") as connection:
        connection.sendall(data)

        assert hashlib.md5(data).hexdigest().encode() == read(connection, 32)


def test_large_transfers_run_both_ways_at_once(world: World) -> None:
    """Acknowledgements of one direction are not held up by the data of the other."""
    tunnel, data = world.tunnel(), os.urandom(5 * MEGABYTE)
    with tunnel.connect("echo") as connection, ThreadPoolExecutor(1) as pool:
        echoed = pool.submit(read, connection, 5 + len(data))
        connection.sendall(data)

        assert b"echo\n" + data == echoed.result(WAITING_SECONDS)


def test_a_small_query_does_not_wait_for_anything(world: World) -> None:
    """Each question and answer crosses the tunnel at once: delayed acknowledgements would add 40 ms to every query."""
    with world.tunnel().connect("echo") as connection:
        read(connection, 5)
        seconds = []
        for _ in range(20):
            started = time.monotonic()
            connection.sendall(b"select 1")
            read(connection, 8)
            seconds.append(time.monotonic() - started)

    assert 0.03 > statistics.median(seconds)


def test_a_client_that_reads_nothing_does_not_hold_up_another(world: World) -> None:
    """Up to four unread megabytes have no effect on other connections, as with the real plugin."""
    tunnel = world.tunnel()
    with tunnel.connect(f"down {4 * MEGABYTE}", receive_bytes=4096):
        assert world.pump.ended.acquire(timeout=WAITING_SECONDS)
        with tunnel.connect("echo") as second:
            assert b"echo\n" == read(second, 5)


def test_a_client_that_leaves_frees_its_connection(world: World) -> None:
    """Nothing stays open in the database for a program that has ended."""
    with world.tunnel().connect("echo") as connection:
        read(connection, 5)

    assert world.pump.ended.acquire(timeout=WAITING_SECONDS)


def test_a_killed_client_takes_nothing_else_with_it(world: World) -> None:
    """The database loses the connection in mid-result; the tunnel serves the next one."""
    tunnel = world.tunnel()
    with tunnel.connect(f"down {200 * MEGABYTE}") as victim:
        read(victim, MEGABYTE)
        victim.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    ended = world.pump.ended.acquire(timeout=WAITING_SECONDS)
    with tunnel.connect("echo") as survivor:
        assert b"echo\n" == read(survivor, 5)
    assert ended


def test_a_refused_target_is_said(world: World) -> None:
    """The local connection ends, the person reads why, and the port stays open."""
    tunnel = world.tunnel(host="other.example.com")
    with tunnel.connect("echo") as connection:
        assert b"" == connection.recv(1)
    assert tunnel.plugin.wait_for("Connection to destination port failed, check SSM Agent logs.")
    assert tunnel.is_open()


# How it ends


def test_a_terminated_session_ends_it(world: World) -> None:
    """Access that was revoked closes the port on the person's machine and the connections through it."""
    tunnel = world.tunnel()
    with tunnel.connect("echo") as connection:
        read(connection, 5)
        world.call("TerminateSession", SessionId=tunnel.session_id)

        assert b"" == connection.recv(1)
    assert 0 == tunnel.plugin.wait()
    assert not tunnel.is_open()
    assert "Terminated" == world.status(tunnel.session_id)


def test_a_terminated_session_ends_it_in_the_middle_of_a_download(world: World) -> None:
    """Data on its way does not keep a revoked tunnel open."""
    tunnel = world.tunnel()
    with tunnel.connect(f"down {200 * MEGABYTE}") as connection:
        read(connection, MEGABYTE)
        world.call("TerminateSession", SessionId=tunnel.session_id)
        with suppress(ConnectionError):
            read(connection, 200 * MEGABYTE)

        assert 0 == tunnel.plugin.wait()
        assert f"Exiting session with sessionId: {tunnel.session_id}." in tunnel.plugin.lines
        assert world.pump.ended.acquire(timeout=WAITING_SECONDS)


def test_a_stopped_bastion_ends_it(world: World) -> None:
    """No tunnel outlives its instance."""
    tunnel = world.tunnel()
    world.instances[BASTION] = Instance(instance_id=BASTION, state="stopping", running_since=None)

    assert 0 == tunnel.plugin.wait()
    assert f"Exiting session with sessionId: {tunnel.session_id}." in tunnel.plugin.lines


def test_the_end_of_the_service_ends_it(world: World) -> None:
    """Nobody is left with a port that leads nowhere."""
    tunnels = [world.tunnel(), world.tunnel()]
    world.manager.stop()

    assert [0, 0] == [tunnel.plugin.wait() for tunnel in tunnels]
    for tunnel in tunnels:
        assert f"Exiting session with sessionId: {tunnel.session_id}." in tunnel.plugin.lines


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_terminates_the_session(world: World, number: signal.Signals) -> None:
    """Ctrl-C tells the service, so that nobody takes the tunnel for one that is still used."""
    tunnel = world.tunnel()
    tunnel.plugin.process.send_signal(number)

    assert 0 == tunnel.plugin.wait()
    assert "Terminate signal received, exiting." in tunnel.plugin.lines
    assert "Terminated" == world.status(tunnel.session_id)


def test_a_signal_ends_it_although_a_client_reads_nothing(world: World) -> None:
    """Ctrl-C works in a tunnel that is stuck, and the service still hears of it."""
    tunnel = world.tunnel()
    with tunnel.connect(f"down {200 * MEGABYTE}") as stuck:
        read(stuck, 1)
        assert eventually(world.pump.is_stuck)
        tunnel.plugin.process.send_signal(signal.SIGINT)

        assert 0 == tunnel.plugin.wait()
        assert eventually(lambda: "Terminated" == world.status(tunnel.session_id))


def test_a_killed_plugin_leaves_a_disconnected_session(world: World) -> None:
    """A machine that dies sends no flag."""
    tunnel = world.tunnel()
    tunnel.plugin.kill()

    assert eventually(lambda: "Disconnected" == world.status(tunnel.session_id))


# The AWS CLI


@dataclass
class Shell:
    """What a person's shell holds: a configuration that names the endpoint, and a PATH."""

    world: World
    environment: dict[str, str]
    programs: Path

    def install_plugin(self) -> None:
        plugin = self.programs / "session-manager-plugin"
        plugin.write_text(f"#!{sys.executable}\n{SOURCE.read_text(encoding='utf-8')}", encoding="utf-8")
        plugin.chmod(0o755)

    def start_session(self, port: int, by: str = AWS_DOCUMENT) -> Program:
        """The delivered command, word for word."""
        document, parameters = DELIVERED[by]
        command = (
            f"aws ssm start-session --target {BASTION} --document-name {document} "
            f"{parameters.format(port=port)}--reason R-ABC123"
        )
        return self.world.run(sys.executable, str(AWS), *command.split()[1:], **self.environment)


DELIVERED = {
    AWS_DOCUMENT: (AWS_DOCUMENT, f"--parameters host={HOST},portNumber=5432,localPortNumber={{port}} "),
    "own document": ("drawbridge-example-orders-prod", ""),
    "own document, other port": ("drawbridge-example-orders-prod", "--parameters localPortNumber={port} "),
}
"""The document and the parameters of each kind of command that people get."""


@pytest.fixture
def shell(world: World, tmp_path: Path) -> Iterator[Shell]:
    with SessionManagerFront(world.manager) as front:
        (tmp_path / "config").write_text(
            "[default]\nregion = eu-west-1\nservices = local\n"
            "aws_access_key_id = AKIALOCALALICE000000\naws_secret_access_key = nothing\n"
            f"[services local]\nssm =\n  endpoint_url = {front.url}\n",
            encoding="utf-8",
        )
        environment = {
            "AWS_CONFIG_FILE": str(tmp_path / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
            "HOME": str(tmp_path),
            "PATH": str(tmp_path),
        }
        yield Shell(world, environment, tmp_path)


@pytest.mark.parametrize("by", DELIVERED)
def test_the_aws_cli_opens_a_tunnel_by_the_delivered_command(world: World, shell: Shell, by: str) -> None:
    """The command that people get works as it stands, and Ctrl-C ends command, plugin and session."""
    shell.install_plugin()
    port = unused_port()
    location = a_location(port=port if by == "own document" else 56789)
    content = session_document(location, host=HOST, port="5432")
    world.manager.documents.append(own_document("drawbridge-example-orders-prod", content))
    command = shell.start_session(port, by)
    session_id = command.wait_for(rf"Port {port} opened for sessionId (.+)\.")[1]
    command.wait_for(r"Waiting for connections\.\.\.")
    with Tunnel(session_id, command, port).connect("echo hello") as connection:
        echoed = read(connection, 11)
    [record] = world.call("DescribeSessions", State="Active")["Sessions"]
    command.interrupt()

    assert b"echo hello\n" == echoed
    assert (session_id, OWNER, "R-ABC123", BASTION) == tuple(
        record[name] for name in ("SessionId", "Owner", "Reason", "Target")
    )
    assert 0 == command.wait()
    assert "Terminated" == world.status(session_id)
    assert [] == [line for line in command.lines if "WARNING" in line]


def test_the_aws_cli_ends_with_a_terminated_session(world: World, shell: Shell) -> None:
    """The person's prompt comes back when their access ends."""
    shell.install_plugin()
    command = shell.start_session(0)
    session_id = command.wait_for(r"Port \d+ opened for sessionId (.+)\.")[1]
    world.call("TerminateSession", SessionId=session_id)

    assert 0 == command.wait()


def test_the_aws_cli_shows_a_refusal(world: World, shell: Shell) -> None:
    """A bastion that is down is named to the person by AWS's own error."""
    world.instances.clear()
    command = shell.start_session(0)

    assert 0 != command.wait()
    assert (
        f"An error occurred (TargetNotConnected) when calling the StartSession operation: {BASTION} is not connected."
        in "\n".join(command.lines)
    )


def test_the_aws_cli_terminates_what_it_cannot_serve(world: World, shell: Shell) -> None:
    """Without a plugin on PATH the CLI gives the session back."""
    command = shell.start_session(0)

    assert 0 != command.wait()
    assert "SessionManagerPlugin is not found" in "\n".join(command.lines)
    assert ["Terminated"] == [
        record["Status"] for record in world.call("DescribeSessions", State="History")["Sessions"]
    ]
