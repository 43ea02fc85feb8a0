"""What the terminal client costs: from its start to the first answer, and what its listener takes of a tunnel's speed.

Run it with ``python -m benchmarks.client``; it needs psql and pgbench. The bastion runs and the access is held before anything
is timed. Everything is done in turn, by hand and by the client, in one run: ratios are what counts.
"""

import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from drawbridge.connection import Connection
from local.workspace import SHORT, Workspace

LOCATION, PERSON, ANSWER = "my-aurora-location", "alice", "42"
CONNECT = (sys.executable, "-m", "drawbridge", "connect", LOCATION, "--permission", "r", "--")
CONNECT += ("psql", "-XAtc", f"SELECT {ANSWER}")
ROUNDS, MEGABYTES, PGBENCH_SECONDS, CLIENTS = 5, 100, 3, (1, 4)
WAITING_SECONDS = 60.0
NEWEST = """
import json, sys
from drawbridge.api import Api, open_session

print(json.dumps(Api(sys.argv[1], session=open_session(None)).list_requests()[0].answer))
"""
HELD = """
import sys
from datetime import datetime
from pathlib import Path
from drawbridge.api import Api, open_session
from drawbridge.connection import Connection
from drawbridge.listener import Listener
from drawbridge.tokens import make_token
from drawbridge.tunnel import Tunnel

session = open_session(None)
connection = Connection.from_request(Api(sys.argv[1], session=session).watch(sys.argv[2]).answer)
tell = lambda text: print(text, file=sys.stderr)
make = lambda: make_token(session, connection)
with Tunnel(connection, session=session, tell=tell) as tunnel:
    with Listener(connection, port=None, tunnel=tunnel, make_token=make, bundle=Path(sys.argv[3]), tell=tell) as listener:
        print(tunnel.port, listener.port, listener.socket_directory, flush=True)
        sys.stdin.read()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """A workspace in which a person holds access, and that person's shell."""

    workspace: Workspace
    shell: Mapping[str, str]
    connection: Connection

    def run(self, *command: str, **more: str) -> str:
        """What a program of the shell prints."""
        return run({**self.shell, **more}, *command)

    def direct(self, port: int) -> dict[str, str]:
        """Libpq's settings for a tunnel, as a person is delivered them; the token as the AWS command makes it."""
        wanted = self.connection
        token = self.run(
            *("aws", "rds", "generate-db-auth-token", "--region", wanted.region, "--hostname", wanted.host),
            *("--port", str(wanted.port), "--username", wanted.user),
        )
        return self._libpq(wanted.host, port) | {
            "PGHOSTADDR": "127.0.0.1",
            "PGSSLMODE": "verify-full",
            "PGSSLROOTCERT": str(self.workspace.certificates),
            "PGPASSWORD": token.strip(),
        }

    def listened(self, host: str, port: int) -> dict[str, str]:
        """Libpq's settings for the listener."""
        return self._libpq(host, port)

    def _libpq(self, host: str, port: int) -> dict[str, str]:
        return {
            "PGHOST": host,
            "PGPORT": str(port),
            "PGDATABASE": self.connection.database,
            "PGUSER": self.connection.user,
        }


@contextmanager
def ground() -> Iterator[Ground]:
    """The bastion is running, and read access is held for an hour."""
    with Workspace(seconds=SHORT | {"ACCESS": 3600, "IDLE_GRACE": 3600}) as workspace:
        settings = workspace.shells.settings(PERSON)
        shell = {"HOME": str(workspace.directory), "PYTHONPATH": os.pathsep.join(sys.path), **settings}
        run(shell, *CONNECT)
        request = json.loads(run(shell, sys.executable, "-c", NEWEST, shell["DRAWBRIDGE_API"]))
        yield Ground(workspace=workspace, shell=shell, connection=Connection.from_request(request))


def run(shell: Mapping[str, str], *command: str) -> str:
    """What a program prints in a shell. Raises for one that fails."""
    done = subprocess.run(command, env=dict(shell), capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stdout} {done.stderr}")
    return done.stdout


# From the start to the first answer


def by_hand(here: Ground) -> float:
    """The delivered commands, one after the other: the tunnel, a token, psql."""
    wanted, port = here.connection, 56789
    started_at = time.monotonic()
    command = ["aws", "ssm", "start-session", "--region", wanted.region, "--target", wanted.instance_id]
    command += ["--document-name", wanted.document_name, "--parameters", f"localPortNumber={port}"]
    with subprocess.Popen(
        [*command, "--reason", wanted.request_id],
        env=dict(here.shell),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as tunnel:
        try:
            for line in tunnel.stdout or ():
                if line.startswith("Waiting for connections"):
                    break
            answer = here.run("psql", "-XAtc", f"SELECT {ANSWER}", **here.direct(port))
            taken = time.monotonic() - started_at
        finally:
            os.killpg(tunnel.pid, signal.SIGINT)
            tunnel.communicate(timeout=WAITING_SECONDS)
    require_answer(answer)
    return taken


def by_client(here: Ground) -> float:
    """One command, from its start to what psql prints; access is held already, as by hand."""
    started_at = time.monotonic()
    with subprocess.Popen(
        CONNECT,
        env=dict(here.shell),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as client:
        answer = client.stdout.readline() if client.stdout else ""
        taken = time.monotonic() - started_at
        _, said = client.communicate(timeout=WAITING_SECONDS)
    require_answer(answer, said)
    return taken


def require_answer(answer: str, said: str = "") -> None:
    """What did not work has no time."""
    if answer.strip() != ANSWER:
        raise RuntimeError(f"{answer!r} {said}")


# The listener against the bare tunnel


@contextmanager
def ways(here: Ground) -> Iterator[dict[str, dict[str, str]]]:
    """The settings of each way to the database; all of them lead through one tunnel, the listener being a process."""
    arguments = (here.shell["DRAWBRIDGE_API"], here.connection.request_id, str(here.workspace.certificates))
    with subprocess.Popen(
        [sys.executable, "-c", HELD, *arguments],
        env=dict(here.shell),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as held:
        tunnel, port, directory = (held.stdout.readline() if held.stdout else "").split()
        yield {
            "bare tunnel": here.direct(int(tunnel)),
            "listener, TCP": here.listened("127.0.0.1", int(port)),
            "listener, Unix socket": here.listened(directory, int(port)),
        }
        held.communicate("", timeout=WAITING_SECONDS)


def download(here: Ground, settings: Mapping[str, str]) -> float:
    """Megabytes per second of a table that psql throws away."""
    started_at = time.monotonic()
    here.run("psql", "-Xqc", "\\copy (SELECT text FROM shop.big) TO /dev/null", **settings)
    return MEGABYTES / (time.monotonic() - started_at)


def select_only(here: Ground, settings: Mapping[str, str], clients: int) -> float:
    """Transactions per second of pgbench, connecting not counted."""
    said = here.run("pgbench", "-n", "-S", "-M", "simple", "-c", str(clients), "-T", str(PGBENCH_SECONDS), **settings)
    found = re.search(r"tps = ([\d.]+)", said)
    if found is None:
        raise RuntimeError(said)
    return float(found[1])


def connecting(here: Ground, settings: Mapping[str, str]) -> float:
    """Milliseconds of one more connection and its first answer, as pgbench -C has them."""
    said = here.run("pgbench", "-n", "-S", "-C", "-c", "1", "-T", str(PGBENCH_SECONDS), **settings)
    found = re.search(r"latency average = ([\d.]+) ms", said)
    if found is None:
        raise RuntimeError(said)
    return float(found[1])


def prepare(here: Ground) -> None:
    """A table to download, and pgbench's own."""
    with here.workspace.database.connect(here.connection.database, autocommit=True) as rdsadmin:
        rows = MEGABYTES * 1_000_000 // (32 * 250 + 1)
        rdsadmin.execute("CREATE TABLE shop.big (text text)")
        rdsadmin.execute("ALTER TABLE shop.big ALTER text SET STORAGE PLAIN")  # nothing is spent on compression
        rdsadmin.execute(
            "INSERT INTO shop.big SELECT repeat(md5(i::text), 250) FROM generate_series(1, %s) AS i", [rows]
        )
        rdsadmin.execute("GRANT SELECT ON shop.big TO PUBLIC")
    socket = str(here.workspace.database.socket_directory)
    here.run("pgbench", "-i", "-q", "-h", socket, "-p", "5432", "-U", "rdsadmin", here.connection.database)
    with here.workspace.database.connect(here.connection.database, autocommit=True) as rdsadmin:
        rdsadmin.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC")


def in_turn(measures: Mapping[str, Callable[[], float]], rounds: int = ROUNDS) -> dict[str, float]:
    """The medians of so many rounds, in each of which everything comes once; the first round warms and does not count."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(rounds + 1):
        for name, measure in measures.items():
            value = measure()
            if number:
                found[name].append(value)
    return {name: statistics.median(values) for name, values in found.items()}


def print_row(name: str, values: Mapping[str, float], pattern: str) -> None:
    """Medians, and as multiples of the first."""
    first = next(iter(values.values()))
    cells = " | ".join(f"{pattern.format(value)} ({value / first:.2f})" for value in values.values())
    print(f"| {name} | {cells} |", flush=True)


def main() -> None:
    """Print both tables."""
    for program in ("psql", "pgbench"):
        if shutil.which(program) is None:
            sys.exit(f"{program} was not found. Install PostgreSQL's client programs.")
    with ExitStack() as stack:
        here = stack.enter_context(ground())
        starts = in_turn({"by hand": lambda: by_hand(here), "drawbridge connect": lambda: by_client(here)})
        print(f"Start → first answer, medians of {ROUNDS}, s (multiple)\n")
        print(f"| | {' | '.join(starts)} |\n|---|--:|--:|")
        print_row("the bastion runs, access is held", starts, "{:.2f}")
        prepare(here)
        found = stack.enter_context(ways(here))
        print(f"\nThrough one tunnel, medians of {ROUNDS} (multiple)\n\n| | {' | '.join(found)} |\n|---|--:|--:|--:|")
        rows: list[tuple[str, str, Callable[[Mapping[str, str]], float]]] = [
            (f"{MEGABYTES} MB down, MB/s", "{:.1f}", lambda settings: download(here, settings)),
            *((f"pgbench select-only, {clients} at once, tps", "{:.0f}", _bench(here, clients)) for clients in CLIENTS),
            ("a new connection and its query, ms", "{:.1f}", lambda settings: connecting(here, settings)),
        ]
        for name, pattern, measure in rows:
            measures = {way: _bind(measure, settings) for way, settings in found.items()}
            print_row(name, in_turn(measures), pattern)


def _bench(here: Ground, clients: int) -> Callable[[Mapping[str, str]], float]:
    return lambda settings: select_only(here, settings, clients)


def _bind(measure: Callable[[Mapping[str, str]], float], settings: Mapping[str, str]) -> Callable[[], float]:
    return lambda: measure(settings)


if __name__ == "__main__":
    main()
