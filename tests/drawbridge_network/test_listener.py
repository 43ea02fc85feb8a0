"""Programs on this machine reach the database through the listener, and nobody else's do."""

import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from drawbridge.errors import PortInUseError, RefusedError
from drawbridge.listener import Listener
from local.iam_proxy import CertificateAuthority
from local.postgres import PostgresServer
from tests.drawbridge_network.world import DATABASE, USER, World, a_connection, ask, connect, make_world, sign
from tests.waiting import WAITING_SECONDS, eventually

MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def listener(server: PostgresServer) -> Iterator[Listener]:
    """For tests that change nothing."""
    with make_world(server) as world, world.listening() as listener:
        yield listener


@pytest.fixture
def own_listener(world: World) -> Iterator[Listener]:
    with world.listening() as listener:
        yield listener


def refusal(listener: Listener, **changes: Any) -> str:
    """What a program is told that is not let in."""
    with pytest.raises(psycopg.OperationalError) as caught:
        connect(listener, **changes).close()
    return str(caught.value)


def own_threads() -> set[threading.Thread]:
    """Of the client, by their names."""
    names = ("drawbridge", "session-manager-plugin")
    return {thread for thread in threading.enumerate() if thread.name.startswith(names)}


# Who comes in, and as whom


def test_a_program_without_a_password_reaches_the_database(listener: Listener) -> None:
    """All that it has is the port."""
    assert (USER, DATABASE) == (ask(listener, "SELECT current_user"), ask(listener, "SELECT current_database()"))


def test_the_unix_socket_leads_to_the_database(listener: Listener) -> None:
    """libpq finds it by directory and port."""
    assert 42 == ask(listener, host=str(listener.socket_directory))


def test_the_socket_is_for_its_user_alone(listener: Listener) -> None:
    """Nobody else can get to it."""
    assert listener.socket_directory is not None

    assert 0o40700 == listener.socket_directory.stat().st_mode
    assert [f".s.PGSQL.{listener.port}"] == [path.name for path in listener.socket_directory.iterdir()]


def test_tcp_is_on_loopback_only(listener: Listener) -> None:
    """No other machine reaches it."""
    with socket.socket() as probe:
        assert 0 != probe.connect_ex(("127.0.0.2", listener.port))


@pytest.mark.parametrize(
    "asked",
    [
        {"user": "postgres"},
        {"user": "alice", "dbname": "alice"},
        {"dbname": USER},
        {"password": "anything"},
        {"sslmode": "disable"},
        {"sslmode": "prefer"},
        {"gssencmode": "prefer"},
        {"max_protocol_version": "3.2"},
    ],
    ids=str,
)
def test_whatever_a_program_says_of_itself_it_is_the_grants_user(listener: Listener, asked: dict[str, str]) -> None:
    """There is one user and one database here; what tools fill in by themselves does no harm."""
    with connect(listener, **asked) as connection:
        row = connection.execute("SELECT session_user, current_database()").fetchone()

    assert (USER, DATABASE) == row


def test_a_program_that_wants_another_database_is_told_so(listener: Listener) -> None:
    """A migration must not run in the wrong one."""
    assert "leads to the database depotpostgres here, and to no other" in refusal(listener, dbname="orders")


def test_the_programs_own_settings_are_passed_on(listener: Listener) -> None:
    """Its name, its encoding and its options are those of the session."""
    query = "SELECT current_setting('application_name') || current_setting('work_mem')"

    assert "my tool7MB" == ask(listener, query, application_name="my tool", options="-c work_mem=7MB")


def test_a_program_that_insists_on_tls_is_refused(listener: Listener) -> None:
    """TLS begins behind the listener; half of it before would only pretend."""
    assert "server does not support SSL" in refusal(listener, sslmode="require")


@pytest.mark.parametrize(("uid", "whose"), [(os.getuid() + 1, f"user {os.getuid() + 1}"), (None, "could not be told")])
def test_another_users_program_is_refused(world: World, uid: int | None, whose: str) -> None:
    """Before a tunnel or a token is touched for it."""
    with world.tunnel() as tunnel, world.listener(tunnel, find_uid=lambda *_: uid) as listener:
        told = refusal(listener, dbname="orders")

        assert DATABASE not in told
        assert f"Drawbridge serves user {os.getuid()} alone here" in told
        assert whose in told
        assert 0 == world.backends()
        assert 42 == ask(listener, host=str(listener.socket_directory))


@pytest.mark.parametrize("password", [None, "", "guessed", "guessed" * 1000])
def test_where_nobody_says_whose_a_connection_is_a_secret_is_asked(world: World, password: str | None) -> None:
    """A password of this run alone."""
    with world.tunnel() as tunnel, world.listener(tunnel, find_uid=None) as listener:
        told = refusal(listener, password=password)

        assert "no password supplied" in told or "not the password that Drawbridge showed" in told
        assert (42, 42) == (ask(listener), ask(listener, host=str(listener.socket_directory)))


def test_the_secret_is_another_one_in_each_run(world: World) -> None:
    """What somebody once saw is worth nothing."""
    tunnel = world.tunnel()
    found = {world.listener(tunnel, find_uid=None).secret for _ in range(10)}

    assert 10 == len(found)
    assert all(secret and len(secret) >= 32 for secret in found)
    assert world.listener(tunnel, find_uid=lambda *_: 0).secret is None


@pytest.mark.parametrize(
    "junk",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\0" * 64,
        b"\xff" * 64,
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"\0" * 512,
        b"\0\0\0\x08\x04\xd2\x16\x2f" * 3,
        b"\0\0\x27\x11\0\x03\0\0" + b"user\0" * 3000,
        b"\0\0\0\x10\0\x03\0\0user\0ab\0",
        b"\0\0\0\x08\0\x02\0\0",
        b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02",
        b"\0\0",
        b"",
    ],
    ids=lambda junk: junk[:12].hex() or "nothing",
)
def test_junk_ends_its_own_connection_only(listener: Listener, junk: bytes) -> None:
    """Other connections, before and after, do not notice."""
    with connect(listener) as before:
        with socket.create_connection(("127.0.0.1", listener.port), WAITING_SECONDS) as knock, suppress(OSError):
            knock.sendall(junk)
            knock.shutdown(socket.SHUT_WR)
            while knock.recv(1000):
                pass

        assert (1, 42) == (before.execute("SELECT 1").fetchone()[0], ask(listener))  # type: ignore[index]


@pytest.mark.parametrize("first", [b"", b"\0", b"\0\0\x27\x10\0\x03\0\0"])
def test_who_says_nothing_is_not_waited_for(world: World, first: bytes) -> None:
    """A connection that does not start up is closed after some seconds."""
    with world.tunnel() as tunnel, world.listener(tunnel, startup_seconds=0.1) as listener:
        with socket.create_connection(("127.0.0.1", listener.port), WAITING_SECONDS) as knock:
            knock.sendall(first)

            assert b"" == knock.recv(1)
        assert 42 == ask(listener, connect_timeout=WAITING_SECONDS)


def test_a_protocol_of_another_age_is_named(listener: Listener) -> None:
    """As PostgreSQL does it: an error that an old client can read."""
    with socket.create_connection(("127.0.0.1", listener.port), WAITING_SECONDS) as knock:
        knock.sendall(b"\0\0\0\x08\0\x02\0\0")

        assert b"protocol 2.0" in knock.recv(1000)


# What is carried


def test_twenty_megabytes_come_whole(listener: Listener) -> None:
    """By their digest, which the server took."""
    query = "SELECT string_agg(md5(i::text), '' ORDER BY i) FROM generate_series(1, 655360) i"
    with connect(listener) as connection:
        [text] = connection.execute(query).fetchone() or [""]
        [digest] = connection.execute(f"SELECT md5(({query}))").fetchone() or [""]  # type: ignore[arg-type]

    assert 20 * MEGABYTE == len(text)
    assert digest == hashlib.md5(text.encode()).hexdigest()


def test_twenty_megabytes_go_whole(listener: Listener) -> None:
    """By the digest that the server takes."""
    text = os.urandom(10 * MEGABYTE).hex()
    with connect(listener) as connection:
        [digest] = connection.execute("SELECT md5(%s)", [text]).fetchone() or [""]

    assert hashlib.md5(text.encode()).hexdigest() == digest


def test_many_programs_at_once(listener: Listener) -> None:
    """Each has its own answers."""

    def talk(number: int) -> list[int]:
        with connect(listener) as connection:
            return [connection.execute("SELECT %s", [number + step]).fetchone()[0] for step in range(10)]  # type: ignore[index]

    with ThreadPoolExecutor(10) as pool:
        assert [[number + step for step in range(10)] for number in range(20)] == list(pool.map(talk, range(20)))


def test_a_query_is_cancelled(listener: Listener) -> None:
    """The request to cancel takes the same way, in a connection of its own."""
    with connect(listener) as connection, ThreadPoolExecutor(1) as pool:
        running = pool.submit(connection.execute, "SELECT pg_sleep(60)")
        assert eventually(lambda: connection.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE)
        with connect(listener, user="watcher") as watcher:
            active = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND usename = session_user"
            assert eventually(lambda: watcher.execute(active).fetchone() == (1,))
        connection.cancel_safe(timeout=WAITING_SECONDS)

        with pytest.raises(psycopg.errors.QueryCanceled):
            running.result(WAITING_SECONDS)
        assert (1,) == connection.execute("SELECT 1").fetchone()


def test_the_servers_own_end_of_a_session_reaches_the_program(world: World, own_listener: Listener) -> None:
    """Who is thrown out by a revocation reads why."""
    with connect(own_listener) as connection:
        with world.server.connect(autocommit=True) as rdsadmin:
            rdsadmin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [USER])

        with pytest.raises(psycopg.errors.AdminShutdown):
            connection.execute("SELECT 1")


def test_a_killed_program_leaves_nothing_in_the_database(world: World, own_listener: Listener) -> None:
    """In the middle of a long answer, too."""
    query = "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 1000000)) TO STDOUT"
    reading = (
        "import psycopg, sys\n"
        f"with psycopg.connect(host='127.0.0.1', port={own_listener.port}, user='{USER}', dbname='{DATABASE}') as c:\n"
        f"    with c.cursor().copy({query!r}) as copy:\n"
        "        copy.read(); print('reading', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", reading]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout
        assert "reading\n" == program.stdout.readline()
        assert 1 == world.backends()
        program.kill()

    assert eventually(lambda: 0 == world.backends())


# When something fails


def test_a_dropped_tunnel_is_opened_again_for_the_next_connection(world: World, own_listener: Listener) -> None:
    """The port stays where it is; the person reads what happened."""
    with connect(own_listener) as broken:
        world.break_tunnel()
        with pytest.raises(psycopg.OperationalError):
            broken.execute("SELECT 1")

    assert 42 == ask(own_listener)
    assert [
        "The tunnel to my-aurora-location dropped. It is opened again for the next connection.",
        "The tunnel to my-aurora-location is open again.",
    ] == world.said


def test_many_programs_after_a_drop_share_one_tunnel(world: World, own_listener: Listener) -> None:
    """A pool that reconnects all at once starts one session."""
    world.break_tunnel()
    with ThreadPoolExecutor(8) as pool:
        assert [42] * 8 == list(pool.map(lambda _: ask(own_listener), range(8)))

    assert 2 == [operation for operation, _ in world.front.calls].count("StartSession")


def test_a_tunnel_that_cannot_be_opened_again_is_named(world: World) -> None:
    """By the reason that the access has ended, if that is it."""

    def renew() -> Any:
        raise RefusedError("Your access to my-aurora-location ended at 14:05. Ask again with `drawbridge connect`.")

    with world.tunnel(renew=renew) as tunnel, world.listener(tunnel) as listener:
        world.break_tunnel()
        assert eventually(lambda: not tunnel.is_open())

        assert "Your access to my-aurora-location ended at 14:05." in refusal(listener)
        assert 1 == [operation for operation, _ in world.front.calls].count("StartSession")


def test_a_refused_login_is_told_in_the_databases_own_words(world: World, own_listener: Listener) -> None:
    """With the next step as the hint, and once to the person at the terminal."""
    world.may_connect[USER] = False
    told = [refusal(own_listener), refusal(own_listener)]

    assert f'PAM authentication failed for user "{USER}"' in told[0]
    assert "HINT:  The database depotpostgres refused the login" in told[0]
    assert "rds-db:connect to arn:aws:rds-db:" in told[0]
    assert 1 == len(world.said)


def test_a_login_refused_for_an_ended_access_says_so(world: World) -> None:
    """The database knows only that the user may not log in; who granted the access knows why."""

    def renew() -> Any:
        raise RefusedError("Your access to my-aurora-location ended at 14:05. Ask again with `drawbridge connect`.")

    with world.tunnel(renew=renew) as tunnel, world.listener(tunnel) as listener:
        world.may_connect[USER] = False

        assert "Your access to my-aurora-location ended at 14:05." in refusal(listener)


def test_a_login_is_possible_again_after_a_refusal(world: World, own_listener: Listener) -> None:
    """With a new token, since nobody knows what was wrong with the old one."""
    world.may_connect[USER] = False
    refusal(own_listener)
    world.may_connect[USER] = True

    assert 42 == ask(own_listener)


def test_an_error_of_the_database_is_passed_on(world: World) -> None:
    """It has its own words for what is wrong with the session."""
    with world.listening() as listener:
        assert 'invalid value for parameter "work_mem"' in refusal(listener, options="-c work_mem=never")


def test_another_certificate_is_refused_before_a_token_is_sent(world: World) -> None:
    """Whoever sits between bastion and database learns nothing."""
    impostor = world.directory / "impostor.pem"
    CertificateAuthority().write(impostor)
    with world.tunnel() as tunnel, world.listener(tunnel, bundle=impostor) as listener:
        told = refusal(listener)

    assert f"What answers as {world.connection.host} has no certificate of Amazon's for that name" in told
    assert "no token was sent" in told


def test_a_certificate_for_another_name_is_refused(world: World) -> None:
    """The name is the endpoint's, whatever way leads there."""
    other = a_connection(port=world.proxy.port, host="elsewhere.example.com")
    with world.tunnel() as tunnel, world.listener(tunnel, connection=other) as listener:
        assert "What answers as elsewhere.example.com has no certificate" in refusal(listener)


def test_a_bastion_that_does_not_reach_the_database_is_named(world: World) -> None:
    """The tunnel is open and leads nowhere."""
    world.manager.targets.clear()  # type: ignore[attr-defined]
    with world.listening() as listener:
        assert "The tunnel is open, but no database answered at its other end" in refusal(listener)


def test_a_database_that_wakes_up_is_waited_for(world: World, own_listener: Listener) -> None:
    """A cluster that paused itself takes connections and answers later."""
    world.proxy.pause()
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask, own_listener)
        assert not asking.done()
        world.proxy.resume()

        assert 42 == asking.result(WAITING_SECONDS)


def test_no_token_is_in_any_message(world: World, own_listener: Listener) -> None:
    """Nor in what the person at the terminal reads."""
    world.may_connect[USER] = False
    told = refusal(own_listener)

    assert [] == [text for text in (told, *world.said) if "X-Amz-" in text]


def test_a_token_is_kept_for_ten_minutes(world: World) -> None:
    """Of its fifteen; the database lets in by each."""
    made: list[str] = []

    def make() -> str:
        made.append(sign(world.connection, world.clock()))
        return made[-1]

    counts = []
    with world.listening(make_token=make) as listener:
        for minutes in (0, 5, 4, 2, 9, 1):
            world.clock.move(timedelta(minutes=minutes))
            assert 42 == ask(listener)
            counts.append(len(made))

    assert [1, 1, 1, 2, 2, 3] == counts


# Its own beginning and end


def test_a_port_in_use_is_said_before_anything_is_served(world: World) -> None:
    """With the next step, and nothing left behind."""
    with socket.create_server(("127.0.0.1", 0)) as other, world.tunnel() as tunnel:
        port = other.getsockname()[1]
        threads = own_threads()
        with pytest.raises(
            PortInUseError, match=f"Port {port} of this machine is in use. Take another with --localport"
        ):
            world.listener(tunnel, port=port).__enter__()

        assert threads == own_threads()


def test_a_named_port_is_the_one(world: World) -> None:
    """What a tool has in its settings stays right."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    with world.tunnel() as tunnel, world.listener(tunnel, port=port) as listener:
        assert (port, 42) == (listener.port, ask(listener))


def test_the_end_does_not_wait_for_a_login(world: World) -> None:
    """Ctrl-C while a database sleeps."""
    is_asked = threading.Event()

    def make() -> str:
        is_asked.set()
        return sign(world.connection, world.clock())

    with world.tunnel() as tunnel, ThreadPoolExecutor(1) as pool:
        with world.listener(tunnel, make_token=make) as listener:
            world.proxy.pause()
            waiting = pool.submit(ask, listener)
            assert is_asked.wait(WAITING_SECONDS)
            started_at = time.monotonic()
        assert 10 > time.monotonic() - started_at

        with pytest.raises(psycopg.OperationalError):
            waiting.result(WAITING_SECONDS)
        world.proxy.resume()


def test_nothing_is_left_after_the_end(world: World) -> None:
    """No port, socket, thread or connection, although a program still had one."""
    threads = own_threads()
    with world.tunnel() as tunnel:
        with world.listener(tunnel) as listener:
            held = connect(listener)
            directory = Path(str(listener.socket_directory))
        with pytest.raises(psycopg.OperationalError):
            held.execute("SELECT 1")
        with socket.socket() as probe:
            assert 0 != probe.connect_ex(("127.0.0.1", listener.port))
        assert not directory.exists()
        assert eventually(lambda: 0 == world.backends())
    held.close()

    assert eventually(lambda: threads == own_threads())
