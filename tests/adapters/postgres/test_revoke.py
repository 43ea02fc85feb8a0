"""Taking a person's user away: no session, no login, and a receipt that proves it."""

import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import count
from typing import Any

import psycopg
import pytest

from chalicelib.domain.errors import (
    AccessError,
    DatabaseUnavailableError,
    RevocationIncompleteError,
)
from chalicelib.domain.instances import DatabaseInstances, Endpoint
from chalicelib.domain.locations import Location
from chalicelib.domain.orders import ProvisioningOrder
from chalicelib.domain.receipts import Receipt
from chalicelib.postgres.database_admin import PostgresDatabaseAdmin
from tests.adapters.postgres.cluster import (
    NOW,
    READER,
    SECONDS_TO_WAIT,
    WRITER,
    Cluster,
    a_closed_port,
    an_order,
    is_alive,
    the_end_of,
    wait_until,
)


def test_receipt_proves_the_end(cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder) -> None:
    """Afterwards there is no user, and the receipt says when that was read."""
    admin.provision(order)

    receipt = admin.revoke(the_end_of(order))

    assert Receipt(role=order.facts.role, read_at=NOW, is_dropped=True) == receipt
    assert receipt.proves_end
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        cluster.log_in(order)


def test_open_sessions_end(cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder) -> None:
    """Whoever is connected is so no longer, and what others run goes on."""
    admin.provision(order)
    with closing(cluster.log_in(order)) as alice, closing(cluster.superuser()) as somebody_else:
        admin.revoke(the_end_of(order))

        assert not is_alive(alice)
        assert is_alive(somebody_else)


def test_session_in_the_guise_of_another_role_ends(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """SET ROLE changes what a session may do, not whose it is."""
    admin.provision(order)
    cluster.do("GRANT application TO {}", order.facts.role)
    with closing(cluster.log_in(order)) as alice:
        alice.execute("SET ROLE application")
        receipt = admin.revoke(the_end_of(order))

        assert receipt.proves_end
        assert not is_alive(alice)


def test_tidying_up_that_fails_once_is_done_all_the_same(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """No memory for a moment, or a statement that took too long once, is no reason to leave a user behind."""
    admin.provision(order)
    with closing(cluster.log_in(order)) as alice:
        alice.execute(f"CREATE SCHEMA {order.facts.role}_own")
    name = f"once_{order.facts.role[-20:]}"
    with closing(cluster.superuser()) as rdsadmin:
        rdsadmin.execute(
            f"CREATE SEQUENCE public.{name}; GRANT USAGE ON SEQUENCE public.{name} TO PUBLIC;"
            f"CREATE FUNCTION public.{name}() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF tg_tag = 'DROP OWNED' AND nextval('public.{name}') = 1 THEN"
            "  RAISE EXCEPTION 'out of memory' USING ERRCODE = '53200'; END IF; END $$;"
            f"CREATE EVENT TRIGGER {name} ON ddl_command_start EXECUTE FUNCTION public.{name}()".encode()
        )

    receipt = admin.revoke(the_end_of(order))

    cluster.do(f"DROP EVENT TRIGGER {name}")
    assert (True, ()) == (receipt.is_dropped, receipt.unchecked)


def test_running_statement_ends(cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder) -> None:
    """A long statement does not keep its rights until it is done."""
    admin.provision(order)
    with closing(cluster.log_in(order)) as alice, ThreadPoolExecutor(1) as pool:
        running = pool.submit(alice.execute, "SELECT pg_sleep(60)")
        sleepers = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND wait_event = 'PgSleep'"
        wait_until(lambda: cluster.ask(sleepers, order.facts.role) == 1)
        admin.revoke(the_end_of(order))

        assert isinstance(running.exception(SECONDS_TO_WAIT), psycopg.errors.AdminShutdown)


def test_logins_under_way_end_too(cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder) -> None:
    """Somebody who logs in again and again while access ends is out in the end."""
    admin.provision(order)
    is_over, sessions = threading.Event(), list[psycopg.Connection]()

    def log_in_until_over() -> None:
        while not is_over.is_set():
            try:
                sessions.append(cluster.server.connect("orders", user=order.facts.role, autocommit=True))
            except psycopg.OperationalError:
                is_over.wait(0.001)

    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            pool.submit(log_in_until_over)
        wait_until(lambda: bool(sessions))
        receipt = admin.revoke(the_end_of(order))
        is_over.set()

    assert receipt.proves_end
    assert [] == [session for session in sessions if is_alive(session)]
    for session in sessions:
        session.close()


@pytest.mark.parametrize(
    "in_the_way",
    [
        "SELECT pg_advisory_lock(hashtextextended('drawbridge:provision', 0))",
        "BEGIN; ALTER ROLE CURRENT_USER PASSWORD 'open-transaction'",
        "BEGIN; ALTER ROLE CURRENT_USER SET work_mem = '1MB'; CREATE SCHEMA never_committed",
        "BEGIN; LOCK TABLE pg_catalog.pg_locks IN ACCESS EXCLUSIVE MODE",
        "BEGIN; LOCK TABLE pg_catalog.pg_roles, pg_catalog.pg_group IN EXCLUSIVE MODE",
    ],
)
def test_nobody_can_lock_their_way_out_of_the_end(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder, in_the_way: str
) -> None:
    """Everybody may take locks, also the one that the control plane takes, and also on their own user."""
    admin.provision(order)
    with closing(cluster.log_in(order)) as alice:
        alice.execute(in_the_way.encode())
        began = time.monotonic()
        receipt = admin.revoke(the_end_of(order))

        assert receipt.is_dropped
        assert not is_alive(alice)
        assert time.monotonic() - began < 3


def test_rights_go_even_where_the_login_is_out_of_reach(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """A transaction that nobody of ours may end holds the login for a while; the rights and the sessions go at once."""
    admin.provision(order)
    with closing(cluster.log_in(order)) as alice, cluster.server.connect("orders") as rdsadmin:
        rdsadmin.execute(f"ALTER ROLE {order.facts.role} VALID UNTIL 'infinity'".encode())
        with pytest.raises(RevocationIncompleteError, match=r"may still log in.*lock timeout"):
            cluster.admin(pause=lambda _: None).revoke(the_end_of(order))

        assert not is_alive(alice)
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            cluster.log_in(order)
        rdsadmin.rollback()

    assert admin.revoke(the_end_of(order)).is_dropped


def test_lock_of_the_control_plane_is_nobody_elses(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """Somebody else who holds it, or waits for it in line, is disconnected and not waited for."""
    take = "SELECT pg_advisory_lock(hashtextextended('drawbridge:provision', 0))"
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with (
        closing(cluster.server.connect("orders", user="application", autocommit=True)) as holder,
        closing(cluster.server.connect("orders", user="application", autocommit=True)) as waiter,
        ThreadPoolExecutor(1) as pool,
    ):
        holder.execute(take.encode())
        in_line = pool.submit(waiter.execute, take.encode())
        wait_until(lambda: cluster.ask(waiting) == 1)
        admin.provision(order)

        in_line.exception(SECONDS_TO_WAIT)
        assert not is_alive(holder)
        wait_until(lambda: not is_alive(waiter))


@pytest.mark.parametrize("view", ["pg_locks", "pg_roles", "pg_group", "pg_prepared_xacts"])
def test_nobody_keeps_others_in_by_locking_a_catalog(
    cluster: Cluster, admin: PostgresDatabaseAdmin, location: Location, view: str
) -> None:
    """Whoever may write all data may lock PostgreSQL's own views, and the tables under them, for as long as they like."""
    alice, bob = (an_order(cluster, location, person=name) for name in ("alice", "bob"))
    for order in (alice, bob):
        admin.provision(order)
    mode = "ACCESS EXCLUSIVE" if view == "pg_locks" else "EXCLUSIVE"  # with more than that nobody can even log in
    with closing(cluster.log_in(bob)) as session:
        session.execute(f"BEGIN; LOCK TABLE pg_catalog.{view} IN {mode} MODE".encode())
        receipt = admin.revoke(the_end_of(alice))

        assert receipt.is_dropped
        assert not is_alive(session)


def test_lock_that_others_work_takes_on_a_catalog_costs_them_nothing(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """An owner may rebuild the indexes of catalogs; that is no reason to disconnect them."""
    admin.provision(order)
    cluster.do("GRANT pg_write_all_data TO {}", "application")
    with closing(cluster.server.connect("orders", user="application", autocommit=True)) as application:
        application.execute(b"BEGIN; LOCK TABLE pg_catalog.pg_tables IN SHARE MODE")
        receipt = admin.revoke(the_end_of(order))

        assert receipt.is_dropped
        assert is_alive(application)
    cluster.do("REVOKE pg_write_all_data FROM {}", "application")


def test_every_instance_is_visited(cluster: Cluster, order: ProvisioningOrder) -> None:
    """Readers hold sessions that the writer does not see."""
    visited = []

    def sign(endpoint: Endpoint, user: str) -> str:
        visited.append(endpoint.host)
        return cluster.sign(endpoint, user)

    cluster.admin().provision(order)
    instances = DatabaseInstances(writer=cluster.writer, readers=(cluster.reader,))
    receipt = cluster.admin(sign=sign).revoke(the_end_of(order, instances=instances))

    assert receipt.is_dropped
    assert [WRITER, READER] == visited


def test_unreachable_reader_is_no_receipt_but_the_writer_is_cleared(cluster: Cluster, order: ProvisioningOrder) -> None:
    """What can be ended is ended before anybody complains."""
    cluster.admin().provision(order)
    instances = replace(order.instances, readers=(Endpoint(host=READER, port=a_closed_port()),))
    with closing(cluster.log_in(order)) as alice:
        with pytest.raises(DatabaseUnavailableError, match="my-aurora-2"):
            cluster.admin(pause=lambda _: None).revoke(the_end_of(order, instances=instances))

        assert not is_alive(alice)
        with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
            cluster.log_in(order)


def test_unreachable_writer_is_no_receipt(cluster: Cluster, order: ProvisioningOrder) -> None:
    """Nothing was read, so nothing is claimed."""
    nowhere = DatabaseInstances(writer=Endpoint(host=WRITER, port=a_closed_port()))

    with pytest.raises(DatabaseUnavailableError):
        cluster.admin(pause=lambda _: None).revoke(the_end_of(order, instances=nowhere))


def test_user_that_is_gone_gets_a_receipt(admin: PostgresDatabaseAdmin, order: ProvisioningOrder) -> None:
    """Revoking twice, or what was never made, is no error."""
    assert admin.revoke(the_end_of(order)).is_dropped


def test_older_request_does_not_end_the_newer_one(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """After a renewal the end of the first request is nobody's end."""
    admin.provision(order)
    admin.provision(replace(order, facts=replace(order.facts, request_id="R-BBBBBB")))
    with closing(cluster.log_in(order)) as alice:
        receipt = admin.revoke(the_end_of(order))

        assert Receipt(role=order.facts.role, read_at=NOW, superseded_by="R-BBBBBB") == receipt
        assert is_alive(alice)
    admin.try_login(order)


def test_renewal_during_a_revocation_wins(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """A revocation that is overtaken stops where it is, and the new session lives."""
    renewed = replace(order, facts=replace(order.facts, request_id="R-BBBBBB"))
    sessions: list[psycopg.Connection] = []

    def renew(_: float) -> None:
        if not sessions:
            admin.provision(renewed)
            sessions.append(cluster.log_in(renewed))

    admin.provision(order)
    receipt = cluster.admin(pause=renew).revoke(the_end_of(order))

    assert "R-BBBBBB" == receipt.superseded_by
    assert is_alive(sessions[0])
    sessions[0].close()


class KilledError(Exception):
    """What the end of a process looks like from within."""


@pytest.mark.parametrize("moment", ["sign 1", "pause 1", "pause 2", "sign 2", "sign 3", "clock 1"])
def test_interrupted_revocation_is_completed_by_the_next(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder, moment: str
) -> None:
    """Before parking, while sessions end, between databases or before the receipt: the next one finds its way."""
    admin.provision(order)
    with cluster.log_in(order) as alice:
        alice.execute("CREATE SCHEMA things_of_alice; CREATE TABLE things_of_alice.notes (id int)")
    cluster.do("CREATE SCHEMA notes_of_alice AUTHORIZATION {}", order.facts.role, database="stock")
    calls = count(1)

    def interrupt(name: str, action: Callable[..., Any]) -> Callable[..., Any]:
        def call(*values: Any) -> Any:
            if moment.startswith(name) and moment == f"{name} {next(calls)}":
                raise KilledError
            return action(*values)

        return call

    interrupted = cluster.admin(
        sign=interrupt("sign", cluster.sign),
        pause=interrupt("pause", threading.Event().wait),
        clock=interrupt("clock", lambda: NOW),
    )
    instances = DatabaseInstances(writer=cluster.writer, readers=(cluster.reader,))
    with pytest.raises(KilledError):
        interrupted.revoke(the_end_of(order, instances=instances))

    assert admin.revoke(the_end_of(order, instances=instances)).is_dropped
    assert order.groups.attic == cluster.ask(
        "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'things_of_alice'"
    )
    cluster.do("DROP SCHEMA things_of_alice CASCADE")
    cluster.do("DROP SCHEMA notes_of_alice CASCADE", database="stock")


def test_connection_that_breaks_is_no_receipt(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """A database that goes away in the middle may be back for the next try, which completes the work."""
    admin.provision(order)

    def fail_over(_: float) -> None:
        cluster.ask("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'drawbridge'")

    with pytest.raises(DatabaseUnavailableError, match="terminating connection"):
        cluster.admin(pause=fail_over).revoke(the_end_of(order))

    assert admin.revoke(the_end_of(order)).is_dropped


# Secrets


def test_errors_hold_no_token(cluster: Cluster, order: ProvisioningOrder) -> None:
    """Whatever goes wrong, neither the text nor the trace of it holds a token."""
    tokens: list[str] = []

    def sign(endpoint: Endpoint, user: str) -> str:
        tokens.append(cluster.sign(endpoint, "somebody"))
        return tokens[-1]

    admin = cluster.admin(sign=sign, pause=lambda _: None)
    nowhere = replace(order, instances=DatabaseInstances(writer=Endpoint(host=WRITER, port=a_closed_port())))
    traces = []
    for act, given in [
        (admin.provision, order),
        (admin.provision, nowhere),
        (admin.try_login, order),
        (admin.try_login, nowhere),
        (admin.revoke, the_end_of(order)),
        (admin.revoke, the_end_of(nowhere)),
    ]:
        with pytest.raises(AccessError) as caught:
            act(given)  # type: ignore[operator]  # each act is paired with its own kind of order
        traces.append("".join(traceback.format_exception(caught.value)) + repr(caught.value))

    assert 10 < len(tokens)
    assert not [trace for trace in traces for token in tokens if token in trace or token.partition("?")[2] in trace]
    assert not [trace for trace in traces if "X-Amz" in trace]
