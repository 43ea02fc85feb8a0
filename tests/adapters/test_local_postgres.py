"""The PostgreSQL that we start ourselves: it runs for whoever starts it, has the roles of RDS and leaves nothing behind."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local.postgres import (
    PostgresError,
    PostgresServer,
    copy_installation,
    create_database,
    create_rds_roles,
    find_bin_directory,
)
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
# PostgreSQL refuses to run as root, so root becomes nobody.
OWNER = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.geteuid()

DIE_WITHOUT_STOPPING = """
import signal, sys
from pathlib import Path
from local.postgres import PostgresServer
server = PostgresServer(Path(sys.argv[1]))
server.start()
print(server.directory, flush=True)
signal.pause()
"""

RUN_AS = """
import os, sys
from pathlib import Path
from local.postgres import PostgresServer
os.environ["HOME"] = "/"
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(int(sys.argv[3])); os.setuid(int(sys.argv[2]))
with PostgresServer(Path(sys.argv[1])) as server, server.connect() as connection:
    print(server.directory, os.stat(server.directory / "data").st_uid, connection.execute("SELECT 6 * 7").fetchone()[0])
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer(find_bin_directory(os.environ)) as server:
        with server.connect(autocommit=True) as rdsadmin:
            create_rds_roles(rdsadmin)
            create_database(rdsadmin, "orders", "orders_application")
            create_database(rdsadmin, "stock", "orders_application")
        yield server


@pytest.fixture
def rdsadmin(server: PostgresServer) -> Iterator[psycopg.Connection]:
    with server.connect(autocommit=True) as connection:
        yield connection


@pytest.fixture
def master(server: PostgresServer) -> Iterator[psycopg.Connection]:
    """The master user's work, undone afterwards."""
    with server.connect(user="master") as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every account can reach."""
    directory = Path(tempfile.mkdtemp(prefix="db-", dir="/tmp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def ask(connection: psycopg.Connection, question: str) -> list[tuple[Any, ...]]:
    return connection.execute(question.encode()).fetchall()


def is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def postmaster_of(server: PostgresServer) -> int:
    return int((server.directory / "data" / "postmaster.pid").read_text().split()[0])


def fake_installation(directory: Path, *, initdb: str, postgres: str) -> Path:
    """Programs that know their version, and otherwise do what the script says."""
    bin_directory = directory / "installation" / "bin"
    bin_directory.mkdir(parents=True)
    for name, script in (("initdb", initdb), ("postgres", postgres)):
        program = bin_directory / name
        version = f'[ "$1" = --version ] && {{ echo "{name} (PostgreSQL) 16.1"; exit; }}'
        program.write_text(f"#!/bin/sh\n{version}\n{script}\n")
        program.chmod(0o755)
    return bin_directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What is known of a server that was stopped while somebody used it. The first process is the postmaster."""

    server: PostgresServer
    directory: Path
    port: str
    processes: list[int]
    failure: str | None
    threads_before: int
    threads_after: int


@pytest.fixture(scope="module")
def ended() -> Ended:
    threads, server = threading.active_count(), PostgresServer(find_bin_directory(os.environ))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PGPORT", "6666")
        environment.setenv("PGDATA", "/nowhere")
        server.start()
    with closing(server.connect(autocommit=True)) as session:
        session.execute("CREATE ROLE of_the_first_run")
        port = ask(session, "SHOW port")[0][0]
        processes = [postmaster_of(server), *(row[0] for row in ask(session, "SELECT pid FROM pg_stat_activity"))]
        server.stop()
        server.stop()
    return Ended(
        server=server,
        directory=server.directory,
        port=port,
        processes=processes,
        failure=server.find_failure(),
        threads_before=threads,
        threads_after=threading.active_count(),
    )


# Where the programs come from


@pytest.mark.parametrize("major", [16, 18])
def test_the_wheel_brings_both_versions(major: int) -> None:
    """Whoever names a version gets that version."""
    bin_directory = find_bin_directory({}, major)

    assert f" {major}." in subprocess.check_output([bin_directory / "postgres", "--version"], text=True)


def test_without_a_wish_it_is_16() -> None:
    """The demo runs on one version for everybody."""
    assert find_bin_directory({}, 16) == find_bin_directory({})


def test_the_environment_names_another_postgresql(tmp_path: Path) -> None:
    """DRAWBRIDGE_PG_BIN wins over what is installed."""
    mine = fake_installation(tmp_path, initdb="exit 1", postgres="exit 1")

    assert mine == find_bin_directory({"DRAWBRIDGE_PG_BIN": str(mine)})


def test_the_environment_does_not_stand_in_for_another_version(tmp_path: Path) -> None:
    """A test that wants 18 does not run on the 16 of DRAWBRIDGE_PG_BIN."""
    mine = fake_installation(tmp_path, initdb="exit 1", postgres="exit 1")

    assert find_bin_directory({}, 18) == find_bin_directory({"DRAWBRIDGE_PG_BIN": str(mine)}, 18)


def test_a_wrong_directory_in_the_environment_is_named(tmp_path: Path) -> None:
    """A typo in DRAWBRIDGE_PG_BIN must not silently lead to another server."""
    with pytest.raises(PostgresError, match="Is DRAWBRIDGE_PG_BIN right") as caught:
        find_bin_directory({"DRAWBRIDGE_PG_BIN": str(tmp_path)})

    assert str(tmp_path) in str(caught.value)


def test_a_version_that_is_not_here_comes_with_the_remedy() -> None:
    """The error says what to install and what to set."""
    with pytest.raises(PostgresError, match=r"No PostgreSQL 9 here.*group `local`.*DRAWBRIDGE_PG_BIN"):
        find_bin_directory({}, 9)


# Running


def test_it_serves_the_superuser_of_rds(server: PostgresServer, rdsadmin: psycopg.Connection) -> None:
    """rdsadmin is the one superuser, as on RDS."""
    assert [("rdsadmin",)] == ask(rdsadmin, "SELECT rolname FROM pg_roles WHERE rolsuper")


def test_it_knows_its_version(server: PostgresServer, rdsadmin: psycopg.Connection) -> None:
    """The version told before the server runs is the one that runs."""
    assert rdsadmin.info.server_version // 10_000 == server.version


def test_it_listens_on_no_network(rdsadmin: psycopg.Connection) -> None:
    """The only way in is the socket."""
    assert [("",)] == ask(rdsadmin, "SHOW listen_addresses")


def test_other_accounts_cannot_open_the_socket(server: PostgresServer) -> None:
    """It trusts whoever connects, so nobody else on the machine may."""
    mode = (server.socket_directory / ".s.PGSQL.5432").stat().st_mode

    assert mode & 0o077 == 0


def test_the_socket_fits_into_its_address(server: PostgresServer) -> None:
    """Systems cut socket addresses at 104 or 107 bytes."""
    assert len(str(server.socket_directory / ".s.PGSQL.5432")) < 100


def test_the_data_is_closed_to_other_accounts(server: PostgresServer) -> None:
    """Only the directory itself is open, so that the other account may reach what is its own."""
    modes = [path.stat().st_mode & 0o777 for path in (server.directory, server.directory / "data")]

    assert [0o755, 0o700] == modes


def test_ctrl_c_in_the_terminal_does_not_reach_it(server: PostgresServer) -> None:
    """A terminal interrupts the process group in front; the server is in another and ends when we end it."""
    assert os.getpgid(0) != os.getpgid(postmaster_of(server))


def test_the_environment_of_the_caller_does_not_bend_it(ended: Ended) -> None:
    """A developer's PGPORT or PGDATA is meant for another server."""
    assert ended.port == "5432"


def test_stopping_leaves_nothing(ended: Ended) -> None:
    """No process, no directory, no thread outlives stop(), sessions or not; stopping again is fine."""
    assert [] == [process for process in ended.processes if is_alive(process)]
    assert not ended.directory.exists()
    assert ended.threads_before == ended.threads_after
    with pytest.raises(ProcessLookupError):
        os.killpg(ended.processes[0], 0)


def test_a_stopped_server_has_not_failed(ended: Ended) -> None:
    """Ending in order is nothing to report."""
    assert ended.failure is None


def test_a_stopped_server_may_start_again(ended: Ended) -> None:
    """Each start makes a fresh cluster."""
    with ended.server as server, server.connect() as connection:
        assert [] == ask(connection, "SELECT FROM pg_roles WHERE rolname = 'of_the_first_run'")


def test_it_ends_with_a_parent_that_was_killed() -> None:
    """Nobody can clean up after SIGKILL, so the server notices by itself and shuts down in order."""
    command = [sys.executable, "-c", DIE_WITHOUT_STOPPING, str(find_bin_directory(os.environ))]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        directory = Path(parent.stdout.readline().strip())
        was_running = (directory / "data" / "postmaster.pid").exists()
        parent.kill()
    try:
        assert was_running
        assert eventually(lambda: not (directory / "data" / "postmaster.pid").exists())
    finally:
        shutil.rmtree(directory)


def test_it_tells_that_it_died() -> None:
    """Whoever waits for people to use the server learns in a sentence that it is gone."""
    with PostgresServer(find_bin_directory(os.environ)) as server:
        healthy = server.find_failure()
        os.kill(postmaster_of(server), signal.SIGKILL)
        died = eventually(lambda: not server.is_running())
        failure = server.find_failure()

    assert healthy is None
    assert died
    assert failure is not None
    assert failure.startswith("PostgreSQL ended by itself with status -9.")
    assert "ready to accept connections" in failure
    assert not server.directory.exists()


def test_a_cluster_that_cannot_be_made_is_told_with_the_complaint(open_directory: Path) -> None:
    """The reason is initdb's own, and nothing is left."""
    server = PostgresServer(fake_installation(open_directory, initdb="echo no space >&2; exit 1", postgres=""))

    with pytest.raises(PostgresError, match="no space"):
        server.start()
    assert not server.directory.exists()


def test_a_server_that_ends_at_once_is_told_with_its_last_words(open_directory: Path) -> None:
    """The reason is in the server's log, which goes with the directory."""
    server = PostgresServer(
        fake_installation(open_directory, initdb="mkdir -m 700 data", postgres="echo no memory; exit 3")
    )

    with pytest.raises(PostgresError, match=r"status 3\..*no memory"):
        server.start()
    assert not server.directory.exists()


def test_an_ordinary_user_runs_it(open_directory: Path) -> None:
    """Nobody needs to be root, and the server then runs as who started it."""
    nobody = pwd.getpwnam("nobody")
    binaries = copy_installation(find_bin_directory(os.environ), open_directory)
    command = [sys.executable, "-c", RUN_AS, str(binaries), str(nobody.pw_uid), str(nobody.pw_gid)]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)

    assert (0, "") == (told.returncode, told.stderr)
    directory, owner, answer = told.stdout.split()
    assert (OWNER, 42) == (int(owner), int(answer))
    assert not Path(directory).exists()


def test_it_runs_as_who_starts_it_and_for_root_as_nobody(server: PostgresServer) -> None:
    """Data of another account could not be removed again."""
    assert OWNER == (server.directory / "data").stat().st_uid


def test_binaries_that_nobody_else_can_reach_run(open_directory: Path) -> None:
    """Root's own virtual environment is closed to nobody; the server gets a copy and leaves the original as it is."""
    binaries = copy_installation(find_bin_directory({}), open_directory / "closed")
    (open_directory / "closed").chmod(0o700)
    with PostgresServer(binaries) as server, server.connect() as connection:
        answer = ask(connection, "SELECT 42")

    assert [(42,)] == answer
    assert (open_directory / "closed").stat().st_mode & 0o777 == 0o700
    assert not server.directory.exists()


# The roles of RDS


def test_the_superuser_of_rds_hands_out_what_rds_lets_it(server: PostgresServer, rdsadmin: psycopg.Connection) -> None:
    """The list of each major version, each with the right to hand it on."""
    by_major = {
        14: {"pg_monitor", "pg_signal_backend", "rds_password", "rds_replication"},
        15: {"pg_checkpoint", "pg_read_all_data", "pg_write_all_data"},
        16: {"pg_create_subscription", "pg_use_reserved_connections", "rds_iam"},
        17: {"pg_maintain"},
    }
    expected = {(role, True) for major, roles in by_major.items() if major <= server.version for role in roles}
    held = ask(
        rdsadmin,
        "SELECT roleid::regrole::text, admin_option FROM pg_auth_members WHERE member = 'rds_superuser'::regrole",
    )

    assert expected == set(held)


def test_the_right_to_hand_out_rds_iam_is_no_membership(rdsadmin: psycopg.Connection) -> None:
    """Otherwise the master user could log in with IAM, and with nothing else."""
    assert [(False,)] == ask(rdsadmin, "SELECT pg_has_role('master', 'rds_iam', 'USAGE')")


def test_the_master_user_is_no_superuser(rdsadmin: psycopg.Connection) -> None:
    """It makes roles and databases; everything else it has from rds_superuser, which it cannot hand on."""
    rights = "rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolcanlogin"
    membership = "SELECT admin_option FROM pg_auth_members WHERE (roleid, member) = ('rds_superuser'::regrole, 'master'::regrole)"

    assert [(False, True, True, False, False, True)] == ask(
        rdsadmin, f"SELECT {rights} FROM pg_roles WHERE rolname = 'master'"
    )
    assert [(False,)] == ask(rdsadmin, membership)


@pytest.mark.parametrize("role", ["rds_superuser", "rds_iam", "rds_password", "rds_replication"])
def test_the_roles_of_rds_cannot_log_in(rdsadmin: psycopg.Connection, role: str) -> None:
    """They are groups."""
    assert [(False,)] == ask(rdsadmin, f"SELECT rolcanlogin FROM pg_roles WHERE rolname = '{role}'")


@pytest.mark.parametrize("role", ["rds_iam", "pg_monitor", "pg_read_all_data", "pg_signal_backend"])
def test_the_master_user_hands_out_roles(master: psycopg.Connection, role: str) -> None:
    """What the setup of a location needs from the master user."""
    master.execute(f"CREATE ROLE ana LOGIN; GRANT {role} TO ana".encode())

    assert [(True,)] == ask(master, f"SELECT pg_has_role('ana', '{role}', 'USAGE')")


def test_the_master_user_cannot_run_programs(master: psycopg.Connection) -> None:
    """Not everything that a superuser may is in rds_superuser."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        master.execute("COPY pg_database TO PROGRAM 'cat'")


def test_the_master_user_owns_the_databases_of_a_fresh_instance(rdsadmin: psycopg.Connection) -> None:
    """All but template0, as RDS leaves them."""
    owners = "SELECT datname FROM pg_database WHERE datdba = 'master'::regrole ORDER BY 1"

    assert [("postgres",), ("template1",)] == ask(rdsadmin, owners)


def test_a_database_belongs_to_its_application(server: PostgresServer, rdsadmin: psycopg.Connection) -> None:
    """Databases of one application share their owner, an ordinary login."""
    owners = "SELECT datname, datdba::regrole::text FROM pg_database WHERE datname IN ('orders', 'stock') ORDER BY 1"

    assert [("orders", "orders_application"), ("stock", "orders_application")] == ask(rdsadmin, owners)
    with server.connect("orders", user="orders_application") as application:
        assert [("orders_application",)] == ask(application, "SELECT current_user::text")
