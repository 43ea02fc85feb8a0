"""A control plane that dies anywhere: nothing is ever half done, and the next run completes it.

What must hold of a person's user at every moment that a crash can leave behind:

* It does not exist at all, together with nothing of its location, or all of its making was committed.
* If it may log in, its comment names the owning request and it holds exactly rds_iam and the group of its level.
* If it may not log in, it is a member of rds_iam at most.
* The control plane is no member of anybody who owns things, and the attic may not create in the database.
"""

import multiprocessing
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from chalicelib.domain.orders import ProvisioningOrder
from chalicelib.postgres.database_admin import PostgresDatabaseAdmin
from chalicelib.postgres.statements import RoleFacts, role_facts
from local.postgres import PostgresServer
from tests.adapters.postgres.cluster import (
    NOW,
    SECONDS_TO_WAIT,
    WRITER,
    Cluster,
    a_location,
    an_order,
    numbers,
    the_end_of,
    wait_until,
)

READY_FOR_QUERY = b"Z"


class Relay:
    """Stands before a server and counts what it completes: logins and statements. It can strike right after one of them.

    The answer to that one is held back until the client is dead, so the client cannot have acted on it.
    """

    def __init__(self, server: PostgresServer, directory: Path) -> None:
        self.version, self.connect = server.version, server.connect
        self.socket_directory = directory
        self._behind = str(server.socket_directory / ".s.PGSQL.5432")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / ".s.PGSQL.5432"))
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept, name="relay")]
        self._threads[0].start()
        self.arm(0, lambda: None)

    def arm(self, moment: int, strike: Callable[[], object]) -> None:
        """Count from the beginning, and call ``strike`` once this many have been completed; 0 for never."""
        self.completed, self._moment, self._strike = 0, moment, strike

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        while self._threads:
            self._threads.pop().join(SECONDS_TO_WAIT)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._behind)
                for action in (_forward, self._answer):
                    thread = threading.Thread(target=action, args=(client, server), name="relay")
                    thread.start()
                    self._threads.append(thread)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError), server.makefile("rb") as stream:
            while head := stream.read(5):
                body = stream.read(int.from_bytes(head[1:]) - 4)
                if head[:1] == READY_FOR_QUERY:
                    self.completed += 1
                    if self.completed == self._moment:
                        self._strike()
                client.sendall(head + body)
        for end in (server, client):
            with suppress(OSError), end:
                end.shutdown(socket.SHUT_RDWR)


def _forward(client: socket.socket, server: socket.socket) -> None:
    with suppress(OSError):
        while data := client.recv(65_536):
            server.sendall(data)
    with suppress(OSError):  # however the client went
        server.shutdown(socket.SHUT_WR)


def act(verb: str, order: Any, token: str, bundle: str) -> None:
    """What the process does that dies; at the top of the module, so that it can be called in one of its own."""
    pause = threading.Event()
    admin = PostgresDatabaseAdmin(
        sign=lambda endpoint, user: token,
        certificate_bundle=bundle,
        hostaddr="127.0.0.1",
        clock=lambda: NOW,
        connect_seconds=10,
        pause=lambda seconds: pause.wait(seconds / 10),
    )
    getattr(admin, verb)(order)


class Crashing:
    """Runs a verb in a process of its own and kills it, with no chance to say goodbye, at the moment that is asked for."""

    def __init__(self, cluster: Cluster, relay: Relay) -> None:
        self._cluster = cluster
        self._relay = relay
        # Its processes are split off from one that has no threads and has loaded everything.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__])

    def run(self, verb: str, order: Any, *, dies_after: int = 0) -> int:
        """How many logins and statements were completed."""
        token = self._cluster.sign(self._cluster.writer, "drawbridge")
        process: BaseProcess = self._context.Process(target=act, args=(verb, order, token, str(self._cluster.bundle)))

        def kill() -> None:
            process.kill()
            connection.wait([process.sentinel], SECONDS_TO_WAIT)

        self._relay.arm(dies_after, kill)
        process.start()
        process.join(4 * SECONDS_TO_WAIT)
        assert process.exitcode == (-9 if dies_after else 0)
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'drawbridge'"
        wait_until(lambda: 0 == self._cluster.ask(sessions))
        return self._relay.completed


@pytest.fixture(scope="module")
def crashing(cluster: Cluster) -> Iterator[Crashing]:
    with tempfile.TemporaryDirectory(prefix="db-", dir="/tmp") as directory, ExitStack() as stack:
        relay = Relay(cluster.server, Path(directory))
        stack.callback(relay.stop)
        cluster.proxy.add_server(WRITER, relay)
        yield Crashing(cluster, relay)


def facts_of(cluster: Cluster, role: str) -> RoleFacts | None:
    with cluster.superuser() as rdsadmin, rdsadmin.cursor(row_factory=psycopg.rows.class_row(RoleFacts)) as cursor:
        found: RoleFacts | None = cursor.execute(role_facts([role])).fetchone()
    return found


def find_half_done(cluster: Cluster, order: ProvisioningOrder) -> list[str]:
    """What breaks the rules at the top of this file."""
    person, groups, broken = facts_of(cluster, order.facts.role), order.groups, []
    if person and person.can_log_in:
        if order.facts.request_id != person.owning_request:
            broken.append("may log in and names no owner")
        if {"rds_iam", groups.of_level(order.facts.level)} != set(person.memberships):
            broken.append(f"may log in with the memberships {person.memberships}")
    if person and not person.can_log_in and set(person.memberships) - {"rds_iam"}:
        broken.append(f"may not log in and has the memberships {person.memberships}")
    names = [groups.read, groups.write, groups.operate, groups.attic]
    made = [name for name in names if facts_of(cluster, name)]
    if made and made != names:
        broken.append(f"of the groups there are {made}")
    if person and not made:
        broken.append("has no groups")
    adopted = "pg_has_role('drawbridge', oid, 'USAGE')"
    if cluster.version >= 16:
        adopted += " OR pg_has_role('drawbridge', oid, 'SET')"
    question = f"SELECT array_agg(rolname::text) FROM pg_roles WHERE rolname = ANY(%s) AND ({adopted})"
    if found := cluster.ask(question, [order.facts.role, *names]):
        broken.append(f"drawbridge is a member of {found}")
    if groups.attic in made and cluster.ask("SELECT has_database_privilege(%s, 'orders', 'CREATE')", groups.attic):
        broken.append("the attic may create in the database")
    return broken


def a_new_order(cluster: Cluster) -> ProvisioningOrder:
    return an_order(cluster, a_location(f"crash-{next(numbers)}"))


@contextmanager
def belongings(cluster: Cluster, order: ProvisioningOrder) -> Iterator[None]:
    """Things that the person made, here and in the sibling, whose handing over takes many statements."""
    role, name = order.facts.role, f"of_alice_{next(numbers)}"
    for database in ("orders", "stock"):
        with cluster.superuser(database) as session:
            session.execute(f"CREATE SCHEMA {name} AUTHORIZATION {role}; SET ROLE {role}")
            session.execute(f"CREATE TABLE {name}.notes (id serial); GRANT SELECT ON {name}.notes TO auditor")
    yield
    for database in ("orders", "stock"):
        cluster.do("DROP SCHEMA {} CASCADE", name, database=database)


def test_provisioning_that_dies_anywhere_has_made_all_or_nothing(
    cluster: Cluster, crashing: Crashing, admin: PostgresDatabaseAdmin
) -> None:
    """After every single statement: what is there is whole, and the next run makes a user who can log in."""
    admin.provision(a_new_order(cluster))  # makes what all locations of a database share
    last = crashing.run("provision", a_new_order(cluster))
    half_done, outcomes = dict[int, list[str]](), []
    for moment in range(1, last + 1):
        order = a_new_order(cluster)
        crashing.run("provision", order, dies_after=moment)
        if found := find_half_done(cluster, order):
            half_done[moment] = found
        outcomes.append(facts_of(cluster, order.facts.role) is not None)
        admin.provision(order)
        admin.try_login(order)

    print(last, "moments")
    assert {} == half_done
    assert [False] * (last - 1) + [True] == outcomes


def test_revocation_that_dies_anywhere_is_completed_by_the_next(
    cluster: Cluster, crashing: Crashing, admin: PostgresDatabaseAdmin
) -> None:
    """After every single statement: the user is untouched, parked or gone, and the next run proves the end."""
    order = a_new_order(cluster)
    admin.provision(order)
    with belongings(cluster, order):
        last = crashing.run("revoke", the_end_of(order))
    half_done, outcomes = dict[int, list[str]](), []
    for moment in range(1, last + 1):
        admin.provision(order)
        with belongings(cluster, order):
            crashing.run("revoke", the_end_of(order), dies_after=moment)
            if found := find_half_done(cluster, order):
                half_done[moment] = found
            person = facts_of(cluster, order.facts.role)
            outcomes.append("gone" if person is None else "untouched" if person.can_log_in else "parked")
            if not admin.revoke(the_end_of(order)).is_dropped:
                half_done[moment] = [*half_done.get(moment, []), "not dropped by the next run"]

    print(last, "moments", outcomes)
    assert {} == half_done
    assert ["untouched", "parked", "gone"] == list(dict.fromkeys(outcomes))
    assert outcomes == sorted(outcomes, key=["untouched", "parked", "gone"].index)
