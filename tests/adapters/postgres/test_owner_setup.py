"""What owners run by themselves, run as them: the way to close a database to PUBLIC, and the option of write access."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from chalicelib.domain.errors import DatabaseSetupError
from chalicelib.domain.locations import Location
from chalicelib.domain.orders import ProvisioningOrder
from chalicelib.postgres.database_admin import PostgresDatabaseAdmin
from chalicelib.postgres.owner_setup import isolation_setup, owner_setup
from local.postgres import create_database
from tests.adapters.postgres.cluster import SECONDS_TO_WAIT, WRITE, Cluster, an_order, may, the_end_of, wait_until

NAME = "archive\"; DROP ROLE 'auditor' $isolation$ -- {} %I"
"""A database may be called anything."""
LOGINS = (
    "SELECT array_agg(rolname::text ORDER BY 1) FROM pg_roles r WHERE rolcanlogin AND NOT rolsuper"
    " AND has_database_privilege(r.oid, %s, 'CONNECT')"
)


@pytest.fixture
def archive(cluster: Cluster) -> Iterator[str]:
    """A database that everybody may connect to. The librarian owns it, and reader and guest have business there."""
    with cluster.superuser() as rdsadmin:
        rdsadmin.execute('CREATE ROLE "re\'ad;er" LOGIN; CREATE ROLE guests; CREATE ROLE guest LOGIN IN ROLE guests')
        create_database(rdsadmin, NAME, "librarian")
    cluster.do("GRANT CONNECT ON DATABASE {} TO guests", NAME)
    yield NAME
    cluster.do("DROP DATABASE {}", NAME)
    with cluster.superuser() as rdsadmin:
        rdsadmin.execute('DROP ROLE librarian, "re\'ad;er", guests, guest')


def isolate(cluster: Cluster, database: str, *, user: str = "librarian") -> None:
    """Run the script as a terminal does: as one text, on a connection of its own."""
    with cluster.server.connect(database, user=user, autocommit=True) as connection:
        connection.execute(isolation_setup(database=database).encode())


def rights(cluster: Cluster, database: str) -> object:
    return cluster.ask("SELECT datacl::text FROM pg_database WHERE datname = %s", database)


def test_nobody_loses_the_way_in_but_people_of_other_locations(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder, archive: str
) -> None:
    """Whoever lived on PUBLIC can log in as before, the control plane too; a person's user cannot."""
    admin.provision(replace(order, location=replace(order.location, also_readable=frozenset({archive}))))
    before = set(cluster.ask(LOGINS, archive))
    isolate(cluster, archive)

    assert before - {order.facts.role} == set(cluster.ask(LOGINS, archive))
    assert {"re'ad;er", "guest", "librarian", "drawbridge", "application", "master", order.facts.role} <= before
    for login in ("re'ad;er", "guest", "librarian", "drawbridge"):
        cluster.server.connect(archive, user=login).close()
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        cluster.server.connect(archive, user=order.facts.role)
    assert cluster.ask("SELECT count(*) FROM pg_roles WHERE rolname = 'auditor'") == 1


def test_people_of_the_location_itself_stay_in(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder
) -> None:
    """They have the right from their group and never lived on PUBLIC."""
    cluster.do("GRANT CONNECT ON DATABASE {} TO PUBLIC", "orders")
    admin.provision(order)
    isolate(cluster, "orders", user="master")

    assert not cluster.ask("SELECT has_database_privilege('public', 'orders', 'CONNECT')")
    admin.try_login(order)


def test_who_has_the_right_already_is_given_nothing(cluster: Cluster, archive: str) -> None:
    """What a group admits goes with the group."""
    isolate(cluster, archive)

    assert not cluster.ask(
        "SELECT EXISTS (SELECT FROM pg_database d, aclexplode(datacl) a WHERE datname = %s"
        " AND a.grantee = 'guest'::regrole AND a.privilege_type = 'CONNECT')",
        archive,
    )


def test_who_comes_later_is_not_let_in(cluster: Cluster, archive: str) -> None:
    """The database is closed, and not only to those of today."""
    isolate(cluster, archive)
    cluster.do("CREATE ROLE {} LOGIN", "latecomer")
    try:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            cluster.server.connect(archive, user="latecomer")
    finally:
        cluster.do("DROP ROLE {}", "latecomer")


def test_running_it_again_changes_nothing(cluster: Cluster, archive: str) -> None:
    """Safe to repeat."""
    isolate(cluster, archive)
    once = rights(cluster, archive)
    isolate(cluster, archive)

    assert once == rights(cluster, archive)


def test_who_is_not_the_owner_changes_nothing(cluster: Cluster, archive: str) -> None:
    """PostgreSQL would only warn."""
    before = rights(cluster, archive)

    with pytest.raises(psycopg.errors.RaiseException, match="everybody could still connect"):
        isolate(cluster, archive, user="application")
    assert before == rights(cluster, archive)


def test_right_that_somebody_else_gave_to_everybody_stops_it(cluster: Cluster, archive: str) -> None:
    """The owner's REVOKE does not reach it, so all of it is undone."""
    cluster.do("GRANT CONNECT ON DATABASE {} TO guests WITH GRANT OPTION", archive)
    cluster.do("SET ROLE guests; GRANT CONNECT ON DATABASE {} TO PUBLIC", archive)
    before = rights(cluster, archive)

    with pytest.raises(psycopg.errors.RaiseException, match="nothing was changed"):
        isolate(cluster, archive)
    assert before == rights(cluster, archive)


def test_login_that_is_made_meanwhile_stops_it(cluster: Cluster, archive: str) -> None:
    """Then nobody can say whether the right ones may connect, so all of it is undone."""
    before = rights(cluster, archive)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'librarian' AND wait_event_type = 'Lock'"
    with ThreadPoolExecutor(1) as pool, cluster.server.connect("orders") as holder:
        holder.execute(SQL("GRANT CONNECT ON DATABASE {} TO auditor").format(Identifier(archive)))
        isolating = pool.submit(isolate, cluster, archive)
        wait_until(lambda: cluster.ask(waiting) == 1)
        cluster.do("CREATE ROLE {} LOGIN IN ROLE guests", "latecomer")
        holder.rollback()
        error = isolating.exception(SECONDS_TO_WAIT)
    cluster.do("DROP ROLE {}", "latecomer")

    assert isinstance(error, psycopg.errors.RaiseException)
    assert "other logins than before could connect" in str(error)
    assert before == rights(cluster, archive)


def test_refusal_of_an_open_sibling_names_the_way_out_and_it_works(
    cluster: Cluster, admin: PostgresDatabaseAdmin, order: ProvisioningOrder, archive: str
) -> None:
    """The owner runs what the message names, and the next request is granted."""
    with pytest.raises(DatabaseSetupError, match=f"location sql {order.facts.location} --isolation DATABASE"):
        admin.provision(order)
    isolate(cluster, archive)
    admin.provision(order)

    admin.try_login(order)


def test_option_of_write_access_is_only_a_comment(cluster: Cluster, location: Location) -> None:
    """With the option or without, the same statements are run."""
    texts = [owner_setup(database="orders", server_version=160_000, location=name) for name in (None, location.name)]
    plain, optional = ([line for line in text.splitlines() if not line.startswith("--")] for text in texts)

    assert plain == optional


def test_option_of_write_access_opens_public_and_keeps_revocation_whole(
    cluster: Cluster, admin: PostgresDatabaseAdmin, location: Location
) -> None:
    """Once the owner has taken the comment away, people create in public, and what they made goes to the attic."""
    order = an_order(cluster, location, level=WRITE)
    admin.provision(order)
    text = owner_setup(database="orders", server_version=cluster.version * 10_000, location=location.name)
    (grant,) = (line.removeprefix("-- ") for line in text.splitlines() if line.startswith("-- GRANT"))
    cluster.do("ALTER SCHEMA public OWNER TO {}", "master")
    with cluster.server.connect("orders", user="master", autocommit=True) as master:
        master.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        with cluster.log_in(order) as alice:
            assert not may(alice, "CREATE TABLE public.left_by_alice (id int)")
        master.execute(grant.encode())
    with cluster.log_in(order) as alice:
        alice.execute(
            "CREATE TABLE public.left_by_alice (id int);"
            "CREATE FUNCTION public.of_alice() RETURNS int LANGUAGE sql AS 'SELECT 1'"
        )
    receipt = admin.revoke(the_end_of(order))
    cluster.do("DROP TABLE public.left_by_alice; DROP FUNCTION public.of_alice()")

    assert ((), True) == (receipt.unchecked, receipt.is_dropped)
    assert {"public.left_by_alice", "public.of_alice()"} == {kept.name for kept in receipt.kept}
