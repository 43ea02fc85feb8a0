"""The lines that people paste, run by the shells of this machine; and the password file, read by the real libpq."""

import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.domain.connections import (
    ConnectionDetails,
    local_token_command,
    local_token_lines,
    password_lines,
    psql_command,
    tunnel_command,
)
from chalicelib.domain.gui_settings import gui_settings, password_file_lines, service_name
from chalicelib.domain.locations import SessionDocument, TokenSource
from tests.factories import a_connection, a_grant
from tests.strategies import RULE, connections

SECONDS_TO_WAIT = 10
SHELLS = [shell for shell in ("sh", "bash", "dash", "zsh") if shutil.which(shell)]
TOKEN = "orders.example.com:5432/?Action=connect&DBUser=jit_a&X-Amz-Signature=0%2F1"  # made up
RECORD, ARGUMENT = "\x1e", "\0"
PROGRAMS = {
    "psql": 'printf "%s\\0" psql "$PGPASSWORD" "$@" >> "$RECORDS"; printf "\\036" >> "$RECORDS"',
    "aws": 'if [ "$1" = rds ]; then echo "token by $*"; else\n'
    'printf "%s\\0" aws "$@" >> "$RECORDS"; printf "\\036" >> "$RECORDS"; fi',
    "pbpaste": 'echo "$CLIPBOARD"',
    "wl-paste": 'echo "$CLIPBOARD"',
    "xclip": 'printf "%s" "$CLIPBOARD"',
}
"""What stands in for the programs: psql and the tunnel write down with what they were called."""


class Machine:
    """A person's machine: a home folder, a clipboard and programs that write down how they were called."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self._records = folder / "records"
        self._programs = folder / "programs"
        self.home.mkdir()
        self._programs.mkdir()
        for name, script in PROGRAMS.items():
            program = self._programs / name
            program.write_text(f"#!/bin/sh\n{script}\n")
            program.chmod(0o755)

    def run(self, shell: str, *lines: str) -> list[list[str]]:
        """How the programs were called when these lines were pasted, one after the other."""
        self._records.write_text("")
        subprocess.run(
            [shell, *(["-f"] if shell == "zsh" else []), "-c", "\n".join(lines)],
            check=True,
            timeout=SECONDS_TO_WAIT,
            env={
                "PATH": f"{self._programs}:{os.environ['PATH']}",
                "HOME": str(self.home),
                "RECORDS": str(self._records),
                "CLIPBOARD": TOKEN,
            },
        )
        records = self._records.read_text().removesuffix(RECORD).split(RECORD)
        return [record.removesuffix(ARGUMENT).split(ARGUMENT) for record in records]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return Machine(tmp_path_factory.mktemp("machine"))


def conninfo(details: ConnectionDetails, machine: Machine) -> str:
    """What psql must be called with."""
    facts = details.facts
    bundle = details.certificate_bundle.replace("$HOME", str(machine.home))
    return (
        f"host={details.writer.host} hostaddr=127.0.0.1 port={facts.port} dbname={facts.database} user={facts.role} "
        f"sslmode=verify-full sslrootcert={bundle}"
    )


def tunnel_words(details: ConnectionDetails) -> list[str]:
    """What aws must be called with."""
    facts = details.facts
    profile = ["--profile", facts.profile] if facts.profile else []
    document, parameters = f"drawbridge-{details.stage}-{facts.location}", []
    if facts.document is SessionDocument.AWS:
        document = "AWS-StartPortForwardingSessionToRemoteHost"
        place = f"host={details.writer.host},portNumber={details.writer.port}"
        parameters = ["--parameters", f"{place},localPortNumber={facts.port}"]
    elif facts.port != facts.document_port:
        parameters = ["--parameters", f"localPortNumber={facts.port}"]
    return [
        *("aws", "ssm", "start-session", *profile, "--region", facts.region, "--target", details.instance_id),
        *("--document-name", document, *parameters, "--reason", facts.request_id),
    ]


@pytest.mark.parametrize("shell", SHELLS)
@settings(RULE, max_examples=8)
@given(several=st.lists(connections, min_size=1, max_size=6))
def test_each_line_does_in_every_shell_what_it_says(
    machine: Machine, shell: str, several: list[ConnectionDetails]
) -> None:
    """Whatever the allow-lists let into the values, each arrives whole and nothing else happens."""
    lines: list[str] = []
    expected: list[list[str]] = []
    for details in several:
        lines += [tunnel_command(details), psql_command(details)]
        expected += [tunnel_words(details), ["psql", "", conninfo(details, machine)]]
        lines += [line for system, line in password_lines(details) if system != "PowerShell"]
        expected += [["psql", TOKEN, conninfo(details, machine)]] * 3
        lines.append(dict(local_token_lines(details))["macOS, Linux"])
        made = f"token by {local_token_command(details).removeprefix('aws ')}"
        expected.append(["psql", made, conninfo(details, machine)])

    assert expected == machine.run(shell, *lines)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("system", ["macOS", "Linux, Wayland", "Linux, X11"])
def test_libpq_finds_the_token_in_the_password_file(machine: Machine, shell: str, system: str) -> None:
    """Through the service of the settings, by the host's name; a token's own colon does not cut it short."""
    with _passwords() as (port, received):
        details = a_connection().on_port(port)
        machine.run(shell, dict(password_file_lines(details))[system])
        _connect(details, machine)

    assert [TOKEN] == received
    assert 0o600 == (machine.home / ".drawbridge.pgpass").stat().st_mode & 0o777


def test_libpq_finds_a_token_that_was_made_on_the_spot(machine: Machine) -> None:
    """Where tokens never cross Slack; for a database with a colon in its name, too."""
    with _passwords() as (port, received):
        details = a_connection(a_grant(token=TokenSource.LOCAL, database="or:ders")).on_port(port)
        machine.run("sh", dict(password_file_lines(details))["macOS, Linux"])
        _connect(details, machine)

    assert [f"token by {local_token_command(details).removeprefix('aws ')}"] == received


def _connect(details: ConnectionDetails, machine: Machine) -> None:
    """Connect by the block of ``pg_service.conf``, as somebody who has written it there; no SSL, as nobody here speaks it."""
    (block,) = [setting.lines for setting in gui_settings(details) if setting.name == "pg_service.conf"]
    services = machine.home / ".pg_service.conf"
    services.write_text("\n".join(block).replace("YOUR-HOME", str(machine.home)) + "\n")
    connect = f"import psycopg; psycopg.connect('service={service_name(details)} sslmode=disable gssencmode=disable')"
    subprocess.run(
        [sys.executable, "-c", connect],
        check=False,  # it is refused once it has sent its password
        capture_output=True,
        timeout=SECONDS_TO_WAIT,
        env={"PGSERVICEFILE": str(services), "PATH": os.environ["PATH"]},
    )


@contextmanager
def _passwords() -> Iterator[tuple[int, list[str]]]:
    """A server that asks one client for a plain password, keeps it and hangs up (PostgreSQL: Message Formats)."""
    received: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SECONDS_TO_WAIT)

        def serve() -> None:
            client, _ = server.accept()
            with client, client.makefile("rwb") as stream:
                client.settimeout(SECONDS_TO_WAIT)
                stream.read(struct.unpack("!I", stream.read(4))[0] - 4)
                stream.write(b"R" + struct.pack("!II", 8, 3))
                stream.flush()
                _, length = struct.unpack("!cI", stream.read(5))
                received.append(stream.read(length - 4).rstrip(b"\0").decode())

        thread = Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], received
        thread.join(SECONDS_TO_WAIT)
