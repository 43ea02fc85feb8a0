"""Many at once in one cluster, and people whose transactions would stand in the way of their end."""

import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.domain.locations import Location
from chalicelib.domain.orders import ProvisioningOrder
from chalicelib.postgres.database_admin import PostgresDatabaseAdmin
from local.postgres import PostgresServer, find_bin_directory
from tests.adapters.postgres.cluster import (
    DATABASES,
    SECONDS_TO_WAIT,
    Cluster,
    an_order,
    is_alive,
    running_cluster,
    the_end_of,
    wait_until,
)
from tests.adapters.postgres.standby import Standby

CONNECTIONS, ROUNDS, PEOPLE = 16, 20, 12
MADE_TWICE = {
    "memberships": "SELECT array_agg(x::text) FROM (SELECT member::regrole, roleid::regrole FROM pg_auth_members"
    " GROUP BY 1, 2 HAVING count(*) > 1) x",
    "rights on databases": "SELECT array_agg(x::text) FROM (SELECT d.datname, a.grantee, a.privilege_type"
    " FROM pg_database d, aclexplode(d.datacl) a GROUP BY 1, 2, 3 HAVING count(*) > 1) x",
    "rights on the function": "SELECT array_agg(x::text) FROM (SELECT p.oid, a.grantee FROM pg_proc p, aclexplode(p.proacl) a"
    " WHERE p.pronamespace = 'drawbridge'::regnamespace GROUP BY 1, 2 HAVING count(*) > 1) x",
    "functions": "SELECT array_agg(x::text) FROM (SELECT proname FROM pg_proc"
    " WHERE pronamespace = 'drawbridge'::regnamespace GROUP BY 1 HAVING count(*) > 1) x",
    "settings": "SELECT array_agg(x::text) FROM (SELECT s.setrole, c FROM pg_db_role_setting s, unnest(s.setconfig) c"
    " WHERE s.setdatabase = 0 GROUP BY 1, 2 HAVING count(*) > 1) x",
}
CATALOGS = (
    "SELECT (SELECT jsonb_agg(to_jsonb(r) ORDER BY rolname) FROM pg_roles r)::text"
    " || (SELECT jsonb_agg(to_jsonb(m) ORDER BY m::text) FROM pg_auth_members m)::text"
    " || (SELECT jsonb_agg(to_jsonb(d) ORDER BY d::text) FROM pg_shdescription d)::text"
    " || (SELECT jsonb_agg(to_jsonb(s) ORDER BY s::text) FROM pg_db_role_setting s)::text"
)


def at_two_databases(location: Location) -> list[Location]:
    """Two locations of one cluster: the lock of each holds for its own database, and their roles are everybody's."""
    return [
        replace(location, name=f"{location.name}-{database}", database=database, max_people=PEOPLE)
        for database in DATABASES
    ]


def test_nothing_is_made_twice_however_many_come_at_once(
    cluster: Cluster, admin: PostgresDatabaseAdmin, location: Location
) -> None:
    """Sixteen connections, twenty rounds, the same person twice and different ones, in two databases, while others leave."""
    seed = random.SystemRandom().randrange(1_000_000)
    print("seed", seed)
    chance = random.Random(seed)
    everybody = [
        an_order(cluster, there, person=f"person{number}")
        for there in at_two_databases(location)
        for number in range(PEOPLE)
    ]
    here: list[ProvisioningOrder] = []
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for _ in range(ROUNDS):
            chance.shuffle(everybody)
            leaving = chance.sample(here, min(4, len(here)))
            coming = [order for order in everybody if order not in leaving][: (CONNECTIONS - len(leaving)) // 2] * 2
            acts: list[Callable[[], Any]] = [lambda order=order: admin.provision(order) for order in coming]
            acts += [lambda order=order: admin.revoke(the_end_of(order)) for order in leaving]
            chance.shuffle(acts)
            list(pool.map(lambda act: act(), acts))
            here = [order for order in everybody if order in coming or (order in here and order not in leaving)]

    for order in here:
        admin.try_login(order)
    found = {
        (what, database): duplicates
        for what, question in MADE_TWICE.items()
        for database in DATABASES
        if (duplicates := cluster.ask(question, database=database))
    }
    people = "SELECT coalesce(array_agg(rolname::text), '{}') FROM pg_roles WHERE rolname ~ '^jit_'"
    assert {} == found
    assert {order.facts.role for order in here} == set(cluster.ask(people))


def test_older_request_changes_nothing_of_the_newer_one(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """Not one row of what the cluster knows of roles, and not the person's session."""
    admin.provision(order)
    admin.provision(replace(order, facts=replace(order.facts, request_id="R-BBBBBB")))
    with closing(cluster.log_in(order)) as alice:
        before = cluster.ask(CATALOGS)
        receipt = admin.revoke(the_end_of(order))

        assert "R-BBBBBB" == receipt.superseded_by
        assert before == cluster.ask(CATALOGS)
        assert is_alive(alice)


def test_grant_that_comes_while_the_role_is_handed_over_waits_and_stands(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """The handing over holds the lock, held up by somebody who reads; the new grant waits for it and is whole afterwards."""
    admin.provision(order)
    with cluster.log_in(order) as alice:
        alice.execute(f"CREATE SCHEMA {order.groups.read}; CREATE TABLE {order.groups.read}.notes (id int)".encode())
    renewed = replace(order, facts=replace(order.facts, request_id="R-BBBBBB"))
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'drawbridge' AND wait_event_type = 'Lock'"
    with cluster.server.connect("orders") as somebody, ThreadPoolExecutor(2) as pool:
        somebody.execute(f"LOCK TABLE {order.groups.read}.notes".encode())
        revoking = pool.submit(admin.revoke, the_end_of(order))
        wait_until(lambda: cluster.ask(waiting) == 1)
        granting = pool.submit(admin.provision, renewed)
        wait_until(lambda: cluster.ask(waiting) == 2)
        has_waited = not granting.done()
        somebody.rollback()
        granting.result(SECONDS_TO_WAIT)
        receipt = revoking.result(SECONDS_TO_WAIT)
    cluster.do("DROP SCHEMA {} CASCADE", order.groups.read)

    assert has_waited
    assert receipt.is_dropped or "R-BBBBBB" == receipt.superseded_by
    admin.try_login(renewed)


def test_session_idle_in_a_transaction_ends(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """What it had changed is undone."""
    admin.provision(order)
    with closing(cluster.log_in(order)) as alice:
        alice.execute("BEGIN; INSERT INTO shop.orders (state) VALUES ('not yet')")
        receipt = admin.revoke(the_end_of(order))

        assert receipt.is_dropped
        assert not is_alive(alice)
        assert 0 == cluster.ask("SELECT count(*) FROM shop.orders WHERE state = 'not yet'")


# Prepared transactions


@pytest.fixture(scope="module")
def two_phase() -> Iterator[Cluster]:
    """A cluster that lets transactions outlive their sessions, which is no default of PostgreSQL."""
    with (
        PostgresServer(find_bin_directory(os.environ)) as origin,
        Standby(origin, "becomes-a-writer", max_prepared_transactions="10") as server,
    ):
        server.promote()
        with running_cluster(server) as cluster:
            yield cluster


TAKE_OUR_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('drawbridge:provision', 0))"


@pytest.mark.parametrize(
    "prepared",
    [
        "INSERT INTO shop.orders (state) VALUES ('not yet')",
        "ALTER ROLE CURRENT_USER PASSWORD 'prepared'",
        "CREATE SCHEMA never_committed",
        "LOCK TABLE pg_catalog.pg_roles IN EXCLUSIVE MODE",
        TAKE_OUR_LOCK,
    ],
)
def test_prepared_transaction_is_rolled_back(two_phase: Cluster, location: Location, prepared: str) -> None:
    """It outlives the session and would hold the role, the control plane's lock or a change that somebody may yet commit."""
    order, admin = an_order(two_phase, location), two_phase.admin()
    admin.provision(order)
    with closing(two_phase.log_in(order)) as alice:
        alice.execute(f"BEGIN; {prepared}".encode())
        alice.execute(f"PREPARE TRANSACTION '{location.name}'".encode())
    receipt = admin.revoke(the_end_of(order))

    assert receipt.is_dropped
    assert () == receipt.unchecked
    assert 0 == two_phase.ask("SELECT count(*) FROM pg_prepared_xacts")
    assert 0 == two_phase.ask("SELECT count(*) FROM shop.orders WHERE state = 'not yet'")


@pytest.mark.parametrize("prepared", [TAKE_OUR_LOCK, "LOCK TABLE pg_catalog.pg_roles IN EXCLUSIVE MODE"])
def test_nobody_keeps_others_in_by_a_prepared_transaction(
    two_phase: Cluster, location: Location, prepared: str
) -> None:
    """Somebody who prepared one that locks the control plane out does not delay the end of another's access."""
    alice, bob = (an_order(two_phase, location, person=name) for name in ("alice", "bob"))
    admin = two_phase.admin()
    for order in (alice, bob):
        admin.provision(order)
    with closing(two_phase.log_in(alice)) as session:
        session.execute(f"BEGIN; {prepared}".encode())
        session.execute("PREPARE TRANSACTION 'in the way'")
    receipt = admin.revoke(the_end_of(bob))

    assert receipt.is_dropped
    assert admin.revoke(the_end_of(alice)).is_dropped


def test_prepared_transaction_of_somebody_else_stays(two_phase: Cluster, location: Location) -> None:
    """What an application prepared is none of our business."""
    order, admin = an_order(two_phase, location), two_phase.admin()
    admin.provision(order)
    with closing(two_phase.server.connect("orders", user="application", autocommit=True)) as application:
        application.execute("BEGIN; INSERT INTO shop.orders (state) VALUES ('prepared')")
        application.execute("PREPARE TRANSACTION 'of the application'")
        receipt = admin.revoke(the_end_of(order))
        application.execute("COMMIT PREPARED 'of the application'")

    assert receipt.is_dropped
    assert 1 == two_phase.ask("SELECT count(*) FROM shop.orders WHERE state = 'prepared'")


def test_prepared_transaction_that_is_out_of_reach_is_named(two_phase: Cluster, location: Location) -> None:
    """In a database that the control plane may not enter; then the role stays, without login, and the receipt says why."""
    order, admin = an_order(two_phase, location), two_phase.admin()
    admin.provision(order)
    with closing(two_phase.server.connect("postgres", autocommit=True)) as session:
        session.execute(f"SET ROLE {order.facts.role}".encode())
        session.execute("BEGIN; SELECT pg_advisory_xact_lock(1)")
        session.execute("PREPARE TRANSACTION 'far away'")
        receipt = admin.revoke(the_end_of(order))
        session.execute("RESET ROLE")
        session.execute("ROLLBACK PREPARED 'far away'")

    assert receipt.proves_end
    assert not receipt.is_dropped
    (sentence,) = receipt.unchecked
    assert "The prepared transaction 'far away' in postgres is left" in sentence
    assert admin.revoke(the_end_of(order)).is_dropped
