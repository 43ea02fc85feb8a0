"""Taking access away while it is used, on the writer and on a real reader that follows it at its own pace."""

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from chalicelib.domain.errors import DatabaseUnavailableError, RevocationIncompleteError
from chalicelib.domain.instances import DatabaseInstances, Endpoint
from chalicelib.domain.locations import Location
from chalicelib.domain.orders import ProvisioningOrder
from chalicelib.postgres.database_admin import PostgresDatabaseAdmin
from tests.adapters.postgres import hammer
from tests.adapters.postgres.cluster import (
    REGION,
    SECONDS_TO_WAIT,
    Cluster,
    an_order,
    is_alive,
    the_end_of,
    wait_until,
)
from tests.adapters.postgres.hammer import Report
from tests.adapters.postgres.standby import Standby

STANDBY = "my-aurora-3"
PEOPLE, AT_ONCE, PROCESSES = 100, 10, 8
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s OR usesysid = %s"
# What Aurora tells about its own instances, on a server that is none: the readers are those that stream.
AURORA = """
    SET allow_system_table_mods = on;
    CREATE OR REPLACE FUNCTION pg_catalog.aurora_replica_status()
    RETURNS TABLE (server_id text, session_id text, last_update_timestamp timestamptz)
    LANGUAGE sql SECURITY DEFINER AS $$
        SELECT 'my-aurora-1', 'MASTER_SESSION_ID', now()
        UNION ALL SELECT 'my-aurora-deleted', 'a-session-of-old', now() - interval '6 minutes'
        UNION ALL SELECT application_name, 'a-session', now() FROM pg_stat_replication
    $$
"""

AURORA_HAS_NO_READER = AURORA.replace("'a-session', now()", "'a-session', now() - interval '1 hour'")


class Reader:
    """The standby, and the address under which people and the control plane reach it."""

    def __init__(self, cluster: Cluster, standby: Standby) -> None:
        self.standby = standby
        self.endpoint = Endpoint(host=f"{STANDBY}.abc123.{REGION}.rds.amazonaws.com", port=cluster.proxy.port)

    def ask(self, question: str, *values: Any) -> Any:
        with closing(self.standby.connect(autocommit=True)) as rdsadmin:
            row = rdsadmin.execute(question.encode(), values).fetchone()
        return row[0] if row else None

    @contextmanager
    def lagging(self) -> Iterator[Callable[[], None]]:
        """It stops following, until the function is called."""
        self.ask("SELECT pg_wal_replay_pause()")
        wait_until(lambda: "paused" == self.ask("SELECT pg_get_wal_replay_pause_state()"))
        resume = lambda: self.ask("SELECT pg_wal_replay_resume()") if self.is_paused() else None  # noqa: E731 - two uses
        try:
            yield resume
        finally:
            resume()

    def is_paused(self) -> bool:
        return bool(self.ask("SELECT pg_is_wal_replay_paused()"))


@contextmanager
def a_reader_of(cluster: Cluster) -> Iterator[Reader]:
    with Standby(cluster.server, STANDBY) as standby:
        reader = Reader(cluster, standby)
        cluster.proxy.add_server(reader.endpoint.host, standby)
        try:
            yield reader
        finally:
            cluster.proxy.remove_server(reader.endpoint.host)


@pytest.fixture(scope="module")
def reader(cluster: Cluster) -> Iterator[Reader]:
    with a_reader_of(cluster) as reader:
        yield reader


@pytest.fixture
def order(cluster: Cluster, location: Location, reader: Reader) -> ProvisioningOrder:
    """For a cluster with one reader that RDS lists."""
    return an_order(cluster, location, instances=DatabaseInstances(writer=cluster.writer, readers=(reader.endpoint,)))


def provision(admin: PostgresDatabaseAdmin, reader: Reader, order: ProvisioningOrder) -> int:
    """The user's oid, once the reader knows the user too."""
    admin.provision(order)
    question = "SELECT oid::int8 FROM pg_roles WHERE rolname = %s AND rolcanlogin"
    wait_until(lambda: reader.ask(question, order.facts.role) is not None)
    oid: int = reader.ask(question, order.facts.role)
    return oid


def test_session_on_a_reader_ends(
    cluster: Cluster, reader: Reader, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """The writer does not see it; the one who revokes goes there."""
    oid = provision(admin, reader, order)
    with closing(cluster.log_in(order, reader.endpoint)) as alice:
        assert is_alive(alice)
        receipt = admin.revoke(the_end_of(order))

        assert 0 == reader.ask(SESSIONS, order.facts.role, oid)
        assert receipt.proves_end
        assert not is_alive(alice)


def test_receipt_waits_for_a_reader_that_lags(
    cluster: Cluster, reader: Reader, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """A reader that has not heard of the parking lets people in; there is no receipt before it has."""
    provision(admin, reader, order)
    with reader.lagging() as resume, ThreadPoolExecutor(1) as pool:
        revoking = pool.submit(admin.revoke, the_end_of(order))
        wait_until(lambda: not cluster.ask("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", order.facts.role))
        with closing(cluster.log_in(order, reader.endpoint)) as alice:
            wait_until(lambda: not is_alive(alice))
        waited = not revoking.done()
        resume()
        receipt = revoking.result(SECONDS_TO_WAIT)

        assert waited
        assert receipt.is_dropped
        with pytest.raises(psycopg.OperationalError, match="authentication failed"):
            cluster.log_in(order, reader.endpoint)


def test_reader_that_lags_too_long_is_no_receipt(
    cluster: Cluster, reader: Reader, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """The complaint names the reader, and once it has caught up the next try succeeds."""
    provision(admin, reader, order)
    with (
        reader.lagging(),
        pytest.raises(RevocationIncompleteError, match=rf"on {STANDBY}: {order.facts.role} may still log in"),
    ):
        cluster.admin(pause=lambda _: None).revoke(the_end_of(order))

    assert admin.revoke(the_end_of(order)).is_dropped


def test_receipt_names_readers_that_nobody_listed(
    cluster: Cluster, reader: Reader, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """What streams from an ordinary PostgreSQL has no address that we could learn, so the receipt says what it did not see."""
    provision(admin, reader, order)
    with closing(cluster.log_in(order, reader.endpoint)):
        receipt = admin.revoke(the_end_of(replace(order, instances=DatabaseInstances(writer=cluster.writer))))

    assert receipt.is_dropped
    (sentence,) = receipt.unchecked
    assert "RDS does not list with it: 1." in sentence


@pytest.fixture
def aurora(cluster: Cluster) -> Iterator[None]:
    """The writer knows its readers, as Aurora does."""
    cluster.do(AURORA)
    yield
    cluster.do("SET allow_system_table_mods = on; DROP FUNCTION pg_catalog.aurora_replica_status()")


@pytest.mark.usefixtures("aurora")
def test_reader_that_appeared_after_the_listing_is_visited(
    cluster: Cluster, reader: Reader, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """RDS had not listed it yet and somebody is connected there already: Aurora knows it, so their session ends."""
    oid = provision(admin, reader, order)
    with closing(cluster.log_in(order, reader.endpoint)) as alice:
        receipt = admin.revoke(the_end_of(replace(order, instances=DatabaseInstances(writer=cluster.writer))))

        assert 0 == reader.ask(SESSIONS, order.facts.role, oid)
        assert () == receipt.unchecked
        assert not is_alive(alice)


@pytest.mark.usefixtures("aurora")
def test_reader_that_appeared_and_lags_is_waited_for(
    cluster: Cluster, reader: Reader, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """A reader that nobody listed counts as much as any other."""
    provision(admin, reader, order)
    unlisted = the_end_of(replace(order, instances=DatabaseInstances(writer=cluster.writer)))
    with reader.lagging(), pytest.raises(RevocationIncompleteError, match=f"on {STANDBY}"):
        cluster.admin(pause=lambda _: None).revoke(unlisted)

    assert admin.revoke(unlisted).is_dropped


@pytest.mark.usefixtures("aurora")
def test_reader_that_appears_and_takes_no_connection_is_no_receipt(
    cluster: Cluster, reader: Reader, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """Nothing is claimed of an instance that could not be looked at."""
    provision(admin, reader, order)
    unlisted = the_end_of(replace(order, instances=DatabaseInstances(writer=cluster.writer)))
    cluster.proxy.remove_server(reader.endpoint.host)
    try:
        with pytest.raises((DatabaseUnavailableError, RevocationIncompleteError), match=STANDBY):
            cluster.admin(pause=lambda _: None).revoke(unlisted)
    finally:
        cluster.proxy.add_server(reader.endpoint.host, reader.standby)

    assert admin.revoke(unlisted).is_dropped


def test_reader_that_appears_during_the_revocation_is_visited(
    cluster: Cluster, reader: Reader, admin: PostgresDatabaseAdmin, order: ProvisioningOrder, aurora: None
) -> None:
    """It is not known while sessions end elsewhere, and serves somebody by the time that they have."""
    oid = provision(admin, reader, order)
    cluster.do(AURORA_HAS_NO_READER)
    with closing(cluster.log_in(order, reader.endpoint)) as alice:
        is_connected = is_alive(alice)
        unlisted = the_end_of(replace(order, instances=DatabaseInstances(writer=cluster.writer)))
        receipt = cluster.admin(pause=lambda _: cluster.do(AURORA)).revoke(unlisted)

        assert is_connected
        assert receipt.is_dropped
        assert 0 == reader.ask(SESSIONS, order.facts.role, oid)
        assert not is_alive(alice)


class Hammers:
    """Processes that log in and query as people who lose their access."""

    def __init__(self, stack: ExitStack) -> None:
        command = [sys.executable, "-m", hammer.__name__]
        self._processes = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for _ in range(PROCESSES)
        ]
        for process in self._processes:
            stack.callback(process.kill)
        # Whatever happens: no answer is waited for longer than this.
        watchdog = threading.Timer(300, lambda: [process.kill() for process in self._processes])
        watchdog.start()
        stack.callback(watchdog.cancel)

    def start(self, doors: Callable[[int], dict[str, list[str]]]) -> None:
        """Returns when each of them has knocked at all of its doors; ``doors`` gives those of a process by its number."""
        for number, process in enumerate(self._processes):
            assert process.stdin
            process.stdin.write(json.dumps(doors(number)) + "\n")
            process.stdin.flush()
        for process in self._processes:
            assert process.stdout
            assert "ready\n" == process.stdout.readline()

    def stop(self) -> list[Report]:
        for process in self._processes:
            assert process.stdin
            process.stdin.write("{}\n")
            process.stdin.flush()
        reports = []
        for process in self._processes:
            assert process.stdout
            reports.append(Report(**json.loads(process.stdout.readline())))
            process.stdout.readline()
        return reports


def test_nobody_is_connected_after_a_receipt_however_hard_they_try(
    cluster: Cluster, reader: Reader, admin: PostgresDatabaseAdmin, location: Location
) -> None:
    """Eight processes log in and query as people, through the front door and past it, while a hundred lose their access."""
    seed = random.SystemRandom().randrange(1_000_000)
    print("seed", seed)
    chance = random.Random(seed)
    instances = DatabaseInstances(writer=cluster.writer, readers=(reader.endpoint,))
    crowded = replace(location, max_people=PEOPLE)
    orders = [an_order(cluster, crowded, person=f"person{n}", instances=instances) for n in range(PEOPLE)]
    for order in orders:
        admin.provision(order)
    with cluster.superuser() as rdsadmin:
        oids: dict[str, int] = dict(rdsadmin.execute("SELECT rolname::text, oid::int8 FROM pg_roles").fetchall())
    wait_until(lambda: reader.ask("SELECT count(*) FROM pg_roles WHERE rolname ~ '^jit_'") >= PEOPLE)
    chance.shuffle(orders)

    def doors(order: ProvisioningOrder, number: int) -> list[str]:
        if number % 4 == 0:
            return [cluster.door(order), cluster.door(order, reader.endpoint)]
        role, servers = order.facts.role, (cluster.server, reader.standby)
        return [f"host={server.socket_directory} port=5432 dbname=orders user={role}" for server in servers]

    def revoke(order: ProvisioningOrder) -> tuple[str, float, list[int], bool]:
        receipt = admin.revoke(the_end_of(order))
        read_at, role = time.monotonic(), order.facts.role
        left = [cluster.ask(SESSIONS, role, oids[role]), reader.ask(SESSIONS, role, oids[role])]
        return role, read_at, left, receipt.is_dropped

    revoked: list[tuple[str, float, list[int], bool]] = []
    reports: list[Report] = []
    with ExitStack() as stack, ThreadPoolExecutor(AT_ONCE) as pool:
        hammers = Hammers(stack)
        for first in range(0, PEOPLE, AT_ONCE):
            leaving = orders[first : first + AT_ONCE]
            hammers.start(lambda number, some=leaving: {order.facts.role: doors(order, number) for order in some})  # type: ignore[misc]  # the default holds this round's
            revoked += pool.map(revoke, leaving)
            reports += hammers.stop()

    read_at = {role: moment for role, moment, _, _ in revoked}
    print({name: sum(getattr(report, name) for report in reports) for name in ("logins", "queries", "refusals")})
    assert [(role, [0, 0], True) for role, _, _, _ in revoked] == [
        (role, left, gone) for role, _, left, gone in revoked
    ]
    assert [] == [role for report in reports for role in report.survivors]
    assert [] == [
        role
        for report in reports
        for last in (report.last_login, report.last_query)
        for role, began in last.items()
        if began > read_at[role]
    ]
    assert PEOPLE * PROCESSES < sum(report.logins for report in reports)
    assert PEOPLE < len([role for report in reports for role in report.last_query])
